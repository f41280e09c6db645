"""The op table. Importing this package declares every op."""

from gradmesh_engine.ops import activations as _activations  # noqa: F401
from gradmesh_engine.ops import attention as _attention  # noqa: F401
from gradmesh_engine.ops import bins as _bins  # noqa: F401
from gradmesh_engine.ops import composed as _composed  # noqa: F401
from gradmesh_engine.ops import contract as _contract  # noqa: F401
from gradmesh_engine.ops import conv as _conv  # noqa: F401
from gradmesh_engine.ops import copying as _copying  # noqa: F401
from gradmesh_engine.ops import creation as _creation  # noqa: F401
from gradmesh_engine.ops import ctc as _ctc  # noqa: F401
from gradmesh_engine.ops import decompositions as _decompositions  # noqa: F401
from gradmesh_engine.ops import eigen as _eigen  # noqa: F401
from gradmesh_engine.ops import embeddings as _embeddings  # noqa: F401
from gradmesh_engine.ops import filling as _filling  # noqa: F401
from gradmesh_engine.ops import fourier as _fourier  # noqa: F401
from gradmesh_engine.ops import grids as _grids  # noqa: F401
from gradmesh_engine.ops import indexing as _indexing  # noqa: F401
from gradmesh_engine.ops import integers as _integers  # noqa: F401
from gradmesh_engine.ops import joining as _joining  # noqa: F401
from gradmesh_engine.ops import lapack as _lapack  # noqa: F401
from gradmesh_engine.ops import layout as _layout  # noqa: F401
from gradmesh_engine.ops import limits as _limits  # noqa: F401
from gradmesh_engine.ops import linalg as _linalg  # noqa: F401
from gradmesh_engine.ops import losses as _losses  # noqa: F401
from gradmesh_engine.ops import margins as _margins  # noqa: F401
from gradmesh_engine.ops import markers as _markers  # noqa: F401
from gradmesh_engine.ops import normalize as _normalize  # noqa: F401
from gradmesh_engine.ops import numeric as _numeric  # noqa: F401
from gradmesh_engine.ops import picking as _picking  # noqa: F401
from gradmesh_engine.ops import pixels as _pixels  # noqa: F401
from gradmesh_engine.ops import pointwise as _pointwise  # noqa: F401
from gradmesh_engine.ops import pooling as _pooling  # noqa: F401
from gradmesh_engine.ops import products as _products  # noqa: F401
from gradmesh_engine.ops import random as _random  # noqa: F401
from gradmesh_engine.ops import reduce as _reduce  # noqa: F401
from gradmesh_engine.ops import regions as _regions  # noqa: F401
from gradmesh_engine.ops import resampling as _resampling  # noqa: F401
from gradmesh_engine.ops import running as _running  # noqa: F401
from gradmesh_engine.ops import scattering as _scattering  # noqa: F401
from gradmesh_engine.ops import selecting as _selecting  # noqa: F401
from gradmesh_engine.ops import several as _several  # noqa: F401
from gradmesh_engine.ops import shaping as _shaping  # noqa: F401
from gradmesh_engine.ops import smooth as _smooth  # noqa: F401
from gradmesh_engine.ops import solving as _solving  # noqa: F401
from gradmesh_engine.ops import sorting as _sorting  # noqa: F401
from gradmesh_engine.ops import special as _special_functions  # noqa: F401
from gradmesh_engine.ops import statistics as _statistics  # noqa: F401
from gradmesh_engine.ops import strided as _strided  # noqa: F401
from gradmesh_engine.ops import view_copies as _view_copies  # noqa: F401
from gradmesh_engine.ops import windows as _windows  # noqa: F401
from gradmesh_engine.ops.base import (
    TABLE,
    Attr,
    Composite,
    Factor,
    Op,
    Order,
    Primitive,
    Scratch,
    Site,
    lookup,
    primitive_of,
)

__all__ = [
    "TABLE",
    "Attr",
    "Composite",
    "Factor",
    "Op",
    "Order",
    "Primitive",
    "Scratch",
    "Site",
    "lookup",
    "primitive_of",
]
