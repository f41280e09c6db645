"""finfo and iinfo are PyTorch's."""

import pytest

import gradmesh as gm


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int64"])
def test_limits_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    kind = "finfo" if "float" in name else "iinfo"
    theirs, mine = getattr(torch, kind)(getattr(torch, name)), getattr(gm, kind)(getattr(gm, name))
    assert repr(mine) == repr(theirs)
    for attribute in ("bits", "max", "min", "dtype", *(("eps", "tiny", "resolution") if kind == "finfo" else ())):
        assert getattr(mine, attribute) == getattr(theirs, attribute)
    with pytest.raises(TypeError):
        getattr(gm, "iinfo" if kind == "finfo" else "finfo")(getattr(gm, name))
