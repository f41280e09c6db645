"""Functions of neural networks, under PyTorch's names and signatures.

In shapes, N is the batch, C channels or classes, H and W height and width, … any dims.
"""

from __future__ import annotations
