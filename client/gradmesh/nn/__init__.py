"""Networks: modules, parameters, layers and losses; the functions behind them are in `nn.functional`."""

# ruff: noqa: F403
from gradmesh.nn import functional, init, utils
from gradmesh.nn import parameter as _parameter
from gradmesh.nn.modules import activation as _activation
from gradmesh.nn.modules import adaptive as _adaptive
from gradmesh.nn.modules import attention as _attention
from gradmesh.nn.modules import container as _container
from gradmesh.nn.modules import conv as _conv
from gradmesh.nn.modules import distance as _distance
from gradmesh.nn.modules import dropout as _dropout
from gradmesh.nn.modules import embedding as _embedding
from gradmesh.nn.modules import lazy as _lazy
from gradmesh.nn.modules import linear as _linear
from gradmesh.nn.modules import loss as _loss
from gradmesh.nn.modules import margin as _margin
from gradmesh.nn.modules import norm as _norm
from gradmesh.nn.modules import pooling as _pooling
from gradmesh.nn.modules import rnn as _rnn
from gradmesh.nn.modules import shaping as _shaping
from gradmesh.nn.modules import transformer as _transformer
from gradmesh.nn.modules.activation import *
from gradmesh.nn.modules.adaptive import *
from gradmesh.nn.modules.attention import *
from gradmesh.nn.modules.container import *
from gradmesh.nn.modules.conv import *
from gradmesh.nn.modules.distance import *
from gradmesh.nn.modules.dropout import *
from gradmesh.nn.modules.embedding import *
from gradmesh.nn.modules.lazy import *
from gradmesh.nn.modules.linear import *
from gradmesh.nn.modules.loss import *
from gradmesh.nn.modules.margin import *
from gradmesh.nn.modules.module import Module
from gradmesh.nn.modules.norm import *
from gradmesh.nn.modules.pooling import *
from gradmesh.nn.modules.rnn import *
from gradmesh.nn.modules.shaping import *
from gradmesh.nn.modules.transformer import *
from gradmesh.nn.parameter import *

__all__ = ["Module", "functional", "init", "utils"]
__all__ += _activation.__all__
__all__ += _adaptive.__all__
__all__ += _attention.__all__
__all__ += _container.__all__
__all__ += _conv.__all__
__all__ += _distance.__all__
__all__ += _dropout.__all__
__all__ += _embedding.__all__
__all__ += _lazy.__all__
__all__ += _linear.__all__
__all__ += _loss.__all__
__all__ += _margin.__all__
__all__ += _norm.__all__
__all__ += _parameter.__all__
__all__ += _pooling.__all__
__all__ += _rnn.__all__
__all__ += _shaping.__all__
__all__ += _transformer.__all__
