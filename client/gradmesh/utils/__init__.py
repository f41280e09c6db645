"""What PyTorch keeps under `torch.utils` and gradients are used with."""

from gradmesh.utils import checkpoint

__all__ = ["checkpoint"]
