"""Train a small network on scikit-learn's handwritten digits, in process or through a service.

    python examples/digits.py                                     # in this process
    GRADMESH_ADDRESS=127.0.0.1:50051 python examples/digits.py    # the same code, on a service

1797 real images of 8 x 8 pixels; a quarter of them is held out and never trained on.
"""

from __future__ import annotations

import sys

import gradmesh as gm
from gradmesh.nn import functional as F
import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

EPOCHS, BATCH, LEARNING_RATE, MOMENTUM = 25, 64, 0.1, 0.9


def main() -> int:
    """Train, print the accuracy on the held-out images; exit with 1 when it is not over 95 %."""
    gm.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = (images[order] / 16.0).astype(np.float32), labels[order].astype(np.int64)
    held_out = len(images) // 4
    test_x, test_y = gm.from_numpy(images[:held_out]), labels[:held_out]
    train_x, train_y = images[held_out:], labels[held_out:]

    # Three layers, initialised as PyTorch's nn.Linear does: uniform in ± 1 / sqrt(fan in).
    sizes = [64, 64, 32, 10]
    parameters = []
    for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
        bound = fan_in**-0.5
        parameters.append(((gm.rand(fan_out, fan_in) * 2 - 1) * bound).requires_grad_())
        parameters.append(((gm.rand(fan_out) * 2 - 1) * bound).requires_grad_())
    velocities = [gm.zeros_like(p) for p in parameters]

    def network(x: gm.Tensor) -> gm.Tensor:
        w1, b1, w2, b2, w3, b3 = parameters
        x = F.relu(F.linear(x, w1, b1))
        x = F.relu(F.linear(x, w2, b2))
        return F.linear(x, w3, b3)

    steps = len(train_x) // BATCH
    with tqdm(total=EPOCHS * steps, desc="training", unit="step", file=sys.stdout, mininterval=0.5) as bar:
        for epoch in range(EPOCHS):
            shuffled = np.random.default_rng(epoch).permutation(len(train_x))
            for step in range(steps):
                chosen = shuffled[step * BATCH : (step + 1) * BATCH]
                x, y = gm.from_numpy(train_x[chosen]), gm.from_numpy(train_y[chosen])
                loss = F.cross_entropy(network(x), y)
                gradients = gm.autograd.grad(loss, parameters)
                with gm.no_grad():
                    for p, v, g in zip(parameters, velocities, gradients, strict=True):
                        v.mul_(MOMENTUM).add_(g)
                        p.sub_(LEARNING_RATE * v)
                bar.update()
            bar.set_postfix(epoch=epoch + 1, loss=f"{loss.item():.4f}")

    with gm.no_grad():
        accuracy = float((network(test_x).argmax(dim=1).numpy() == test_y).mean())
    print(f"{accuracy:.1%} of {held_out} held-out images recognised")
    return 0 if accuracy > 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
