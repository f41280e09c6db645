"""States, their hooks and containers: programs whose output is PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gradmesh as gm


def hooks(library: Any, show: Callable[..., None]) -> None:
    """Hooks before and after a state is taken and loaded."""
    nn = library.nn

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.count = 3
            self.weight = nn.Parameter(library.ones(2))

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    def net() -> Any:
        return nn.Sequential(nn.Linear(1, 2), nn.Sequential(Counting(), nn.ReLU()))

    first = net()
    first[1].register_state_dict_pre_hook(lambda module, prefix, keep: show("before", len(module), prefix, keep))
    removed = first.register_state_dict_pre_hook(lambda *args: show("removed"))
    removed.remove()

    def add(module: Any, state: Any, prefix: str, metadata: Any) -> None:
        show("after", prefix, list(state))
        state[prefix + "more"] = library.tensor([5.0])

    first[1].register_state_dict_post_hook(add)
    state = first.state_dict()
    show(list(state), state["1.more"], state["1.0._extra_state"])

    second = net()
    second[1][0].count = 7
    with pytest.raises(RuntimeError, match="Unexpected key"):
        second.load_state_dict(state)

    def rename(module: Any, state: Any, prefix: str, metadata: Any, strict: bool, *lists: Any) -> None:
        show("loading", prefix, sorted(state), strict, lists)
        state.pop(prefix + "more", None)

    second[1].register_load_state_dict_pre_hook(rename)
    second[1].register_load_state_dict_post_hook(lambda module, keys: show("loaded", type(module).__name__, keys))
    show(second.load_state_dict(state), second[1][0].count)
    del state["1.0.weight"], state["0.bias"]
    show(
        second.load_state_dict(
            {**state, "x": 1, "0.y.z": 2, "1.1.w": 3, "1.0._extra_state": {"count": 1}}, strict=False
        )
    )
    second.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    show(second.load_state_dict(state), second[1][0].count)


def places(library: Any, show: Callable[..., None]) -> None:
    """Modules put in place of others."""
    nn = library.nn
    net = nn.Sequential(nn.Linear(1, 2), nn.Sequential(nn.ReLU()))
    net.set_submodule("1.0", nn.Tanh())
    net.set_submodule("1.new", nn.SELU())
    show(net)
    for call in (
        lambda: net.set_submodule("", nn.Tanh()),
        lambda: net.set_submodule("1.x", nn.Tanh(), strict=True),
        lambda: net.set_submodule("0.weight", nn.Tanh()),
        lambda: net.set_submodule("y.x", nn.Tanh()),
    ):
        with pytest.raises(Exception) as raised:
            call()
        show(isinstance(raised.value, AttributeError), isinstance(raised.value, ValueError), str(raised.value))


def containers(library: Any, show: Callable[..., None]) -> None:
    """What lists and dicts of modules and parameters do."""
    nn = library.nn
    chain = nn.Sequential(nn.ReLU(), nn.Tanh())
    show(chain + nn.Sequential(nn.SELU()), chain * 2, 2 * chain)
    chain += nn.Sequential(nn.SELU())
    chain *= 2
    show(chain, chain[0] is chain[3])
    for factor in (0, 1.5):
        with pytest.raises((TypeError, ValueError)):
            chain * factor
    held = nn.ParameterDict({"a": library.ones(1), "b": library.zeros(2)})
    show(held, list(reversed(held)), held.get("c", 3), held.get("a"), held.setdefault("c", library.ones(3)))
    show(held.pop("a"), held.popitem(), held, held.copy(), held.fromkeys(["x", "y"], library.ones(1)))
    more = held | nn.ParameterDict({"b": library.ones(4), "d": library.ones(5)})
    more |= nn.ParameterDict({"e": library.ones(1)})
    show(more, [name for name, _ in more.named_parameters()], type(more).__name__)
    more.clear()
    show(more, len(more), list(more.parameters()))
    with pytest.raises(KeyError):
        more.popitem()
    slope = nn.PReLU(2, 0.5)
    with library.no_grad():
        slope.weight.fill_(3.0)
    slope.reset_parameters()
    show(slope.weight)


def optimizers(library: Any, show: Callable[..., None]) -> None:
    """Hooks before and after an optimizer's state is taken and loaded."""
    weight = library.nn.Parameter(library.ones(2))
    first = library.optim.SGD([weight], lr=0.5, momentum=0.5)
    weight.grad = library.ones(2)
    first.step()
    first.register_state_dict_pre_hook(lambda optimizer: show("before", optimizer is first))
    first.register_state_dict_post_hook(lambda optimizer, state: show("after", sorted(state)))
    first.register_state_dict_post_hook(lambda optimizer, state: {**state, "note": 1}, prepend=True)
    state = first.state_dict()
    show(sorted(state), state["state"][0]["momentum_buffer"])
    second = library.optim.SGD([weight], lr=0.1, momentum=0.5)

    def slower(optimizer: Any, state: Any) -> Any:
        state["param_groups"] = [{**group, "lr": group["lr"] / 2} for group in state["param_groups"]]
        return state

    second.register_load_state_dict_pre_hook(slower)
    second.register_load_state_dict_post_hook(lambda optimizer: show("loaded", optimizer.param_groups[0]["lr"]))
    second.load_state_dict(state)
    show(state["param_groups"][0]["lr"], second.param_groups[0]["lr"])
    plateau = library.optim.lr_scheduler.ReduceLROnPlateau(second, patience=0, cooldown=2)
    for figure in (1.0, 2.0, 3.0, 0.5, 0.6):
        plateau.step(figure)
        show(plateau.in_cooldown, second.param_groups[0]["lr"])


@pytest.mark.oracle
@pytest.mark.parametrize("program", [hooks, places, containers, optimizers])
def test_program_is_pytorchs(program: Any) -> None:
    torch = pytest.importorskip("torch")
    shown: list[list[str]] = [[], []]
    for library, lines in zip((torch, gm), shown, strict=True):

        def show(*parts: Any, lines: list[str] = lines) -> None:
            lines.append(" ".join(str(part) for part in parts))

        program(library, show)
    assert shown[1] == shown[0]
