"""Many gradients under way at once over one connection: descents from many starting points, each a task of its own.

    gradmesh serve &
    python examples/many_gradients.py 127.0.0.1:50051

Every task records and awaits its own steps in order; the tasks go on side by side.
"""

from __future__ import annotations

import asyncio
import sys
import time

import gradmesh as gm
import numpy as np

STARTS, STEPS, RATE = 24, 60, 0.012
# The four minima of Himmelblau's function, all 0.
MINIMA = np.array([[3.0, 2.0], [-2.805118, 3.131312], [-3.779310, -3.283186], [3.584428, -1.848126]])


def himmelblau(point: gm.Tensor) -> gm.Tensor:
    """(x² + y - 11)² + (x + y² - 7)² at a point [x, y]."""
    x, y = point[0], point[1]
    return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


async def descend(session: gm.aio.AsyncSession, start: np.ndarray) -> np.ndarray:
    """Where gradient descent from `start` ends."""
    point = gm.tensor(start, requires_grad=True)
    for _ in range(STEPS):
        (slope,) = await session.grad(himmelblau(point), point)
        with gm.no_grad():
            point -= RATE * slope
    await session.evaluate(point)
    return point.numpy(force=True)


async def main(address: str) -> int:
    """Descend from everywhere; exit with 1 when one does not arrive."""
    starts = np.random.default_rng(0).uniform(-4, 4, (STARTS, 2))
    begin = time.perf_counter()
    async with gm.aio.connect(address, timeout=60) as session:
        ends = np.array(await asyncio.gather(*[descend(session, start) for start in starts]))
    seconds = time.perf_counter() - begin
    counted = gm.stats()
    distances = np.linalg.norm(ends[:, None] - MINIMA, axis=2)
    for minimum, found in zip(MINIMA, np.bincount(distances.argmin(axis=1), minlength=4), strict=True):
        print(f"({minimum[0]:6.3f}, {minimum[1]:6.3f}): {found} of {STARTS} starts")
    print(f"{counted.requests} requests, {counted.hits} of known plans, in {seconds:.1f} s")
    return int(distances.min(axis=1).max() > 1e-2)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
