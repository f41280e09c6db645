"""The gradient of a 1,000,000 x 64 logistic regression, split over the workers of a service, twice.

    gradmesh serve --workers 2 &
    python examples/logistic.py 127.0.0.1:50051

The data (256 MB) is uploaded once and known by its digest from then on: the second call sends the
parameters alone. The same gradient is then computed in process and must agree to the last bit.
"""

from __future__ import annotations

import sys
import time

import gradmesh as gm
from gradmesh.nn import functional as F
import numpy as np

ROWS, COLUMNS = 1_000_000, 64


def main(address: str) -> int:
    """Run on the service at `address`; exit with 1 when a promise was not kept."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((ROWS, COLUMNS), dtype=np.float32)
    truth = rng.standard_normal(COLUMNS, dtype=np.float32)
    labels = (data @ truth + rng.standard_normal(ROWS, dtype=np.float32) > 0).astype(np.float32)
    x, y = gm.from_numpy(data), gm.from_numpy(labels)
    start = 0.1 * truth

    def gradient() -> tuple[float, np.ndarray]:
        w = gm.tensor(start, requires_grad=True)
        b = gm.zeros((), requires_grad=True)
        loss = F.binary_cross_entropy_with_logits(x @ w + b, y)
        by_w, by_b = gm.autograd.grad(loss, [w, b])
        return loss.item(), np.append(by_w.numpy(), by_b.item())

    found = []
    with gm.connect(address):
        w = gm.tensor(start, requires_grad=True)
        print(gm.explain(F.binary_cross_entropy_with_logits(x @ w + gm.zeros((), requires_grad=True), y)))
        for call in ("first call", "second call"):
            before = gm.stats()
            begin = time.perf_counter()
            found.append(gradient())
            seconds = time.perf_counter() - begin
            after = gm.stats()
            sent = after.bytes_sent - before.bytes_sent
            print(f"{call}: loss {found[-1][0]:.6f}, {seconds:.3f} s, {sent:,} bytes sent")

    gradient()  # plan and warm up, as the service has
    begin = time.perf_counter()
    found.append(gradient())
    print(f"in process: loss {found[-1][0]:.6f}, {time.perf_counter() - begin:.3f} s")

    same = all(loss == found[0][0] and np.array_equal(g, found[0][1]) for loss, g in found)
    print("the three results agree to the last bit" if same else "THE RESULTS DIFFER")
    light = sent < 64 * 1024
    print("the second call sent no data" if light else "THE SECOND CALL SENT DATA")
    return 0 if same and light else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"))
