"""Writes in place against PyTorch: values, versions, grad_fn names and gradients, through views and after them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmesh as gm

# Statements over `z`, a tensor [3, 4] that was computed from the leaf `w`, and other operands.
PROGRAMS = """
z.index_put_((i, j), v[:3])
z.index_put_((i, j), v[:3], accumulate=True)
z.index_put_((m,), s)
z[1:].index_put_((i[1:],), v)
z.t().index_put_((j,), z.t()[j] * 2)
z.put_(p, v)
z.put_(p, v, accumulate=True)
z[:, 1:].put_(p, v)
z.scatter_reduce_(0, k, u, "sum")
z.scatter_reduce_(0, k, u, "mean")
z.scatter_reduce_(0, k, u, "amax")
z.scatter_reduce_(0, k, u, "prod", include_self=False)
z[:2].scatter_reduce_(0, k.clamp(max=1), u, "amin")
z.index_reduce_(0, i, u, "mean")
z.index_reduce_(1, j, u.t()[:3, :3], "prod")
z.view(-1)[2:8].view(2, 3).index_reduce_(0, i[:2].clamp(max=1), u[:2, :3], "amax")
z.masked_fill_(m, 2.0)
z.masked_fill_(m, s)
z[1].masked_fill_(m[1], s)
z.masked_scatter_(m, u)
z.t().masked_scatter_(m.t(), u)
z.index_fill_(1, j, 3.0)
z.index_copy_(0, i, u)
z.index_add_(0, i, u, alpha=2)
z.scatter_(0, k, u)
z.scatter_(1, k[:, :2], 5.0)
z.scatter_add_(0, k, u)
z.copy_(u)
z.copy_(v)
z[0].copy_(s)
z.copy_(u.float())
z.copy_(k)
z.fill_(2.0)
z.fill_(s)
z[:, 1].fill_(s)
z.zero_()
z[0].zero_()
z.fill_diagonal_(7.0)
z.t().fill_diagonal_(7.0)
z.t().fill_diagonal_(7.0, wrap=True)
z.view(2, 2, 3)[:, :, :2].fill_diagonal_(1.0)
z.unsqueeze_(0)
z.unsqueeze_(0); z.squeeze_()
z.unsqueeze_(1); z.squeeze_(1)
z.unsqueeze_(1); z.squeeze_((0, 1))
z.t_()
z.transpose_(0, 1)
z.swapaxes_(0, -1)
z.swapdims_(0, 1); z.unsqueeze_(-1)
y = z[0]; y.unsqueeze_(0); y.mul_(2)
y = z[0]; z.t_(); z.mul_(2)
y = z[0]; z.t_(); y.mul_(2)
z.t_(); z[0] = 1.0
z.t_(); y = z[1:]; y.mul_(v[:3])
y = z.t(); y.t_(); y[0, 1] = s
z.diagonal().copy_(v[:3])
z.select(0, 1).index_fill_(0, j, 9.0)
z.narrow(1, 1, 2).masked_fill_(m[:, 1:3], s)
z.unbind(1); z[:, 0].mul_(2)
z[1:, ::2].copy_(u[1:, ::2]); z.view(-1)[3:7] = s
z[i] = u; z[i] *= 2
z[m] = s; z[m] += 1
""".strip().splitlines()


# A tensor of which there was a view before its dims changed: the gradient is PyTorch's, the name is not.
OTHER_NAMES = ("y = z[0]; z.t_(); z.mul_(2)", "y = z[0]; z.t_(); y.mul_(2)")


def _names(library: Any) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    leaves = {"w": (3, 4), "u": (3, 4), "v": (4,), "s": ()}
    names = {name: library.tensor(rng.uniform(0.5, 2, shape), requires_grad=True) for name, shape in leaves.items()}
    names["i"], names["j"] = library.tensor([2, 0, 1]), library.tensor([3, 0, 1])
    names["p"] = library.tensor([5, 0, 2, -1])
    names["k"] = library.tensor(rng.permuted(np.tile(np.arange(3)[:, None], (1, 4)), axis=0))
    names["m"] = library.tensor(rng.random((3, 4)) < 0.5)
    return names


def _run(library: Any, program: str) -> list[Any]:
    names = _names(library)
    names["z"] = z = names["w"] * 1
    exec(program, names)
    leaves = [names[name] for name in ("w", "u", "v", "s")]
    cotangent = library.tensor(np.random.default_rng(3).standard_normal(tuple(z.shape)))
    gradients = library.autograd.grad(z, leaves, cotangent, allow_unused=True)
    arrays = [np.zeros(()) if g is None else np.array(g.numpy()) for g in gradients]
    name = "" if program in OTHER_NAMES else type(z.grad_fn).__name__
    return [name, z._version, z.stride(), z.is_contiguous(), np.array(z.detach().numpy()), *arrays]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:index_reduce:UserWarning")
@pytest.mark.parametrize("program", PROGRAMS)
def test_writes_as_torch(program: str) -> None:
    torch = pytest.importorskip("torch")
    mine, other = _run(gm, program), _run(torch, program)
    assert mine[:4] == other[:4]
    for got, expected in zip(mine[4:], other[4:], strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "program",
    [
        "w.t_()",
        "w.index_put_((i,), s)",
        "w[0].unsqueeze_(0)",
        "z.expand(2, 3, 4).put_(p, v)",
        "u.fill_diagonal_(1.0)",
        "v.detach().fill_diagonal_(1.0)",
        "y = z * z; z.t_(); y.sum().backward()",
        "y = z.exp(); y.index_put_((i,), s); y.sum().backward()",
        "z.index_put_((i, i, i), s)",
        "z.scatter_reduce_(0, k, u, 'largest')",
        "z.put_(p, v[:2])",
        "z.put_(p + 20, v)",
    ],
)
def test_refused_as_by_torch(program: str) -> None:
    torch = pytest.importorskip("torch")
    for library in (torch, gm):
        names = _names(library)
        names["z"] = names["w"] * 1
        with pytest.raises((RuntimeError, IndexError)):
            exec(program + "; z.tolist()", names)
