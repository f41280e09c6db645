"""Recurrent networks: the cells, and layers of them over time. In shapes, L is the length, N the batch, H hidden_size.

A layer multiplies all of its input by the input weights at once, and then records one cell per time step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from gradmesh import _creation, _dtype
from gradmesh._functions import activation, binary, layers, layout, select, unary
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules._layer import Layer
from gradmesh.nn.parameter import Parameter
from gradmesh_engine.errors import ShapeError

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell"]

State = tuple[Tensor, ...]
# (input gates, hidden gates, state) -> the next state, whose first member is the output.
Cell = Callable[[Tensor, Tensor, State], State]


def _tanh_cell(given: Tensor, hidden: Tensor, state: State) -> State:
    return (unary.tanh(binary.add(given, hidden)),)


def _relu_cell(given: Tensor, hidden: Tensor, state: State) -> State:
    return (activation.relu(binary.add(given, hidden)),)


def _lstm_cell(given: Tensor, hidden: Tensor, state: State) -> State:
    enter, forget, fresh, leave = layout.chunk(binary.add(given, hidden), 4, -1)
    kept = binary.mul(unary.sigmoid(forget), state[1])
    cell = binary.add(kept, binary.mul(unary.sigmoid(enter), unary.tanh(fresh)))
    return binary.mul(unary.sigmoid(leave), unary.tanh(cell)), cell


def _gru_cell(given: Tensor, hidden: Tensor, state: State) -> State:
    reset_in, update_in, new_in = layout.chunk(given, 3, -1)
    reset_hidden, update_hidden, new_hidden = layout.chunk(hidden, 3, -1)
    reset = unary.sigmoid(binary.add(reset_in, reset_hidden))
    update = unary.sigmoid(binary.add(update_in, update_hidden))
    fresh = unary.tanh(binary.add(new_in, binary.mul(reset, new_hidden)))
    return (binary.add(binary.mul(binary.sub(state[0], fresh), update), fresh),)


_CELLS: dict[str, tuple[Cell, int]] = {
    "tanh": (_tanh_cell, 1),
    "relu": (_relu_cell, 1),
    "lstm": (_lstm_cell, 4),
    "gru": (_gru_cell, 3),
}


class _Recurrent(Layer):
    """What layers and cells share: weights drawn evenly from ±1 / sqrt(hidden_size). Abstract."""

    hidden_size: int

    def _weights(self, suffix: str, width: int, gates: int, bias: bool, made: dict[str, Any]) -> None:
        size = gates * self.hidden_size
        setattr(self, f"weight_ih{suffix}", Parameter(_creation.empty((size, width), **made)))
        setattr(self, f"weight_hh{suffix}", Parameter(_creation.empty((size, self.hidden_size), **made)))
        for name in (f"bias_ih{suffix}", f"bias_hh{suffix}"):
            self.register_parameter(name, Parameter(_creation.empty(size, **made)) if bias else None)

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)


class _Layers(_Recurrent):
    """Recurrent layers over time. Abstract."""

    mode: str
    states: ClassVar[int] = 1

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        device: object,
        dtype: _dtype.DTypeLike | None,
    ) -> None:
        super().__init__()
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        gates = _CELLS[mode][1]
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * (2 if bidirectional else 1)
            for suffix in self._suffixes(layer):
                self._weights(suffix, width, gates, bias, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: 2 if self.bidirectional else 1]

    def flatten_parameters(self) -> None:
        """Nothing: weights need no particular place in memory here."""

    def _run(self, input: Tensor, start: State | None) -> tuple[Tensor, list[Tensor]]:
        """The output (L, N, D H), and each state's last value (layers D, N, H), of an input (L, N, width)."""
        cell = _CELLS[self.mode][0]
        ways = 2 if self.bidirectional else 1
        if start is None:
            shape = (self.num_layers * ways, input.shape[1], self.hidden_size)
            start = (_creation.zeros(shape, dtype=input.dtype),) * self.states
        begin = [layout.unbind(part, 0) for part in start]
        last: list[list[Tensor]] = [[] for _ in range(self.states)]
        for layer in range(self.num_layers):
            if layer and self.dropout:
                input = activation.dropout(input, self.dropout, self.training)
            results = []
            for way, suffix in enumerate(self._suffixes(layer)):
                names = [f"{kind}{suffix}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
                from_input, from_hidden, bias_input, bias_hidden = [getattr(self, name) for name in names]
                gates = layout.unbind(layers.linear(input, from_input, bias_input), 0)
                state: State = tuple([part[layer * ways + way] for part in begin])
                steps = []
                for gate in reversed(gates) if way else gates:
                    state = cell(gate, layers.linear(state[0], from_hidden, bias_hidden), state)
                    steps.append(state[0])
                results.append(select.stack(steps[::-1] if way else steps, 0))
                for held, value in zip(last, state, strict=True):
                    held.append(value)
            input = results[0] if ways == 1 else select.cat(results, -1)
        return input, [select.stack(held, 0) for held in last]

    def _over(self, input: Tensor, start: State | None) -> tuple[Tensor, State]:
        if input.ndim not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.ndim}D instead")
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}",
                expected=str(self.input_size),
                got=str(input.shape[-1]),
            )
        single = input.ndim == 2
        if single:
            input = layout.unsqueeze(input, 1)
            start = None if start is None else tuple([layout.unsqueeze(part, 1) for part in start])
        elif self.batch_first:
            input = layout.transpose(input, 0, 1)
        output, last = self._run(input, start)
        if single:
            return output.squeeze(1), tuple([part.squeeze(1) for part in last])
        return layout.transpose(output, 0, 1) if self.batch_first else output, tuple(last)

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        parts = [str(self.input_size), str(self.hidden_size)]
        if self.num_layers != 1:
            parts.append(f"num_layers={self.num_layers}")
        if self.bias is not True:
            parts.append(f"bias={self.bias}")
        if self.batch_first is not False:
            parts.append(f"batch_first={self.batch_first}")
        if self.dropout != 0:
            parts.append(f"dropout={self.dropout}")
        if self.bidirectional is not False:
            parts.append(f"bidirectional={self.bidirectional}")
        return ", ".join(parts)


class RNN(_Layers):
    """h′ = tanh(W x + b + U h + c), or with relu: (L, N, input_size) is (L, N, D H) and the last (layers D, N, H).

    D is 2 if bidirectional, else 1; N comes first if `batch_first`, and may be left out.

    Example: `gm.nn.RNN(2, 3)(gm.ones(5, 1, 2))[0].shape` is `torch.Size([5, 1, 3])`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(
            nonlinearity, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype
        )
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The output of every step and the last hidden state; `hx` is the first, 0 unless given."""
        output, last = self._over(input, None if hx is None else (hx,))
        return output, last[0]


class GRU(_Layers):
    """Gated recurrent units (Cho et al. 2014): shapes as `RNN`.

    Example: `gm.nn.GRU(2, 3)(gm.ones(5, 1, 2))[0].shape` is `torch.Size([5, 1, 3])`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__(
            "gru", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype
        )

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The output of every step and the last hidden state; `hx` is the first, 0 unless given."""
        output, last = self._over(input, None if hx is None else (hx,))
        return output, last[0]


class LSTM(_Layers):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): shapes as `RNN`, with two states.

    Example: `gm.nn.LSTM(2, 3)(gm.ones(5, 1, 2))[0].shape` is `torch.Size([5, 1, 3])`.
    """

    states = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__(
            "lstm", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype
        )

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The output of every step and the last (hidden, cell) states; `hx` is the first, 0 unless given."""
        output, last = self._over(input, hx)
        return output, (last[0], last[1])


class _Cell(_Recurrent):
    """One step. Abstract."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        bias: bool,
        device: object,
        dtype: _dtype.DTypeLike | None,
    ) -> None:
        super().__init__()
        self.mode, self.input_size, self.hidden_size, self.bias = mode, input_size, hidden_size, bias
        self._weights("", input_size, _CELLS[mode][1], bias, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def _step(self, input: Tensor, state: State | None, states: int) -> State:
        if state is None:
            state = (_creation.zeros((*input.shape[:-1], self.hidden_size), dtype=input.dtype),) * states
        given = layers.linear(input, self.weight_ih, self.bias_ih)
        return _CELLS[self.mode][0](given, layers.linear(state[0], self.weight_hh, self.bias_hh), state)

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        parts = [str(self.input_size), str(self.hidden_size)]
        if self.bias is not True:
            parts.append(f"bias={self.bias}")
        if self.mode == "relu":
            parts.append("nonlinearity=relu")
        return ", ".join(parts)


class RNNCell(_Cell):
    """One step of `RNN`: (N, input_size) and (N, H) is (N, H); N may be left out.

    Example: `gm.nn.RNNCell(2, 3)(gm.ones(1, 2)).shape` is `torch.Size([1, 3])`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__(nonlinearity, input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next hidden state; `hx` is the present one, 0 unless given."""
        return self._step(input, None if hx is None else (hx,), 1)[0]


class GRUCell(_Cell):
    """One step of `GRU`: (N, input_size) and (N, H) is (N, H); N may be left out.

    Example: `gm.nn.GRUCell(2, 3)(gm.ones(1, 2)).shape` is `torch.Size([1, 3])`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__("gru", input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next hidden state; `hx` is the present one, 0 unless given."""
        return self._step(input, None if hx is None else (hx,), 1)[0]


class LSTMCell(_Cell):
    """One step of `LSTM`: (N, input_size) and twice (N, H) is twice (N, H); N may be left out.

    Example: `gm.nn.LSTMCell(2, 3)(gm.ones(1, 2))[0].shape` is `torch.Size([1, 3])`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__("lstm", input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next (hidden, cell) states; `hx` is the present ones, 0 unless given."""
        hidden, cell = self._step(input, hx, 2)
        return hidden, cell
