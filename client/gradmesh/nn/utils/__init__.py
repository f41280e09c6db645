"""What is done with the parameters of modules, and with sequences of different lengths."""

# ruff: noqa: F403
from gradmesh.nn.utils import clip_grad as _clip_grad
from gradmesh.nn.utils import convert_parameters as _convert_parameters
from gradmesh.nn.utils import fusion as _fusion
from gradmesh.nn.utils import parametrizations, parametrize, rnn
from gradmesh.nn.utils import weight_hooks as _weight_hooks
from gradmesh.nn.utils.clip_grad import *
from gradmesh.nn.utils.convert_parameters import *
from gradmesh.nn.utils.fusion import *
from gradmesh.nn.utils.weight_hooks import *

__all__ = ["parametrizations", "parametrize", "rnn"]
__all__ += _clip_grad.__all__
__all__ += _convert_parameters.__all__
__all__ += _fusion.__all__
__all__ += _weight_hooks.__all__
