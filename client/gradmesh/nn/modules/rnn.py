"""Recurrent networks: the cells, and layers of them over time. In shapes, L is the length, N the batch, H hidden_size.

A layer multiplies all of its input by the input weights at once, and then records one cell per time step.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, overload

from gradmesh import _creation, _dtype
from gradmesh._functions import activation, binary, layers, layout, select, unary
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules._layer import Layer, made_bias
from gradmesh.nn.parameter import Parameter
from gradmesh.nn.utils.rnn import PackedSequence
from gradmesh_engine.errors import InvalidRequestError, ShapeError

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

State = tuple[Tensor, ...]
Pair = tuple[Tensor, Tensor]
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


# The cell of each mode, and how many gates it has.
_CELLS: Final[dict[str, tuple[Cell, int]]] = {
    "RNN_TANH": (_tanh_cell, 1),
    "RNN_RELU": (_relu_cell, 1),
    "LSTM": (_lstm_cell, 4),
    "GRU": (_gru_cell, 3),
}


class _Recurrent(Layer):
    """What layers and cells share: weights drawn evenly from ±1 / sqrt(hidden_size). Abstract."""

    hidden_size: int

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)


class RNNBase(_Recurrent):
    """Base of recurrent layers over time. Abstract.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        input_size: width of the input.
        hidden_size: H, width of the state.
        num_layers: how many layers, each of which takes the one below as input.
        bias: whether gates have biases.
        batch_first: whether N comes before L.
        dropout: between layers, in training.
        bidirectional: whether each layer goes both ways.
        proj_size: width that an LSTM's hidden state is mapped to, or 0.
        device: the CPU.
        dtype: of the weights.

    Raises ValueError or TypeError for an argument that is none of these.

    Example: `gm.nn.RNNBase("GRU", 2, 3).weight_ih_l0.shape` is `torch.Size([9, 2])`.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        _check(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout, self.proj_size = float(dropout), proj_size
        size = _CELLS[mode][1] * hidden_size
        self._names: list[list[str]] = []
        for layer in range(num_layers):
            width = input_size if layer == 0 else self._width * self._ways
            shapes = {"weight_ih": (size, width), "weight_hh": (size, self._width)}
            shapes |= {"bias_ih": (size,), "bias_hh": (size,)} if bias else {}  # type: ignore[dict-item]
            shapes |= {"weight_hr": (proj_size, hidden_size)} if proj_size else {}
            for suffix in ("", "_reverse")[: self._ways]:
                self._names.append([f"{name}_l{layer}{suffix}" for name in shapes])
                for name, shape in zip(self._names[-1], shapes.values(), strict=True):
                    setattr(self, name, Parameter(_creation.empty(shape, dtype=dtype, device=device)))
        self.reset_parameters()

    @property
    def _ways(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _width(self) -> int:
        """Of the output of one way."""
        return self.proj_size or self.hidden_size

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each layer and way."""
        return [[getattr(self, name) for name in names] for names in self._names]

    def flatten_parameters(self) -> None:
        """Nothing: weights need no particular place in memory here."""

    # --- one request --------------------------------------------------------------------------------

    def _over(self, input: Tensor | PackedSequence, start: State | None) -> tuple[Tensor | PackedSequence, State]:
        """Output and last states of padded or packed input. Raises ValueError, ShapeError, InvalidRequestError."""
        if isinstance(input, PackedSequence):
            sizes = input.batch_sizes.tolist()
            self._check_input(input.data, 2)
            begin = self._begin(input.data, sizes[0], start)
            if input.sorted_indices is not None and start is not None:
                begin = tuple([select.index_select(part, 1, input.sorted_indices) for part in begin])
            output, last = self._run(input.data, begin, sizes)
            if input.unsorted_indices is not None:
                last = tuple([select.index_select(part, 1, input.unsorted_indices) for part in last])
            return input._replace(data=output), last
        if input.ndim not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.ndim}D instead")
        single = input.ndim == 2
        if start is not None:
            self._check_ranks(start, 2 if single else 3)
        if single:
            input = layout.unsqueeze(input, 1)
            start = None if start is None else tuple([layout.unsqueeze(part, 1) for part in start])
        elif self.batch_first:
            input = layout.transpose(input, 0, 1)
        self._check_input(input, 3)
        output, last = self._run(input, self._begin(input, input.shape[1], start), None)
        if single:
            return output.squeeze(1), tuple([part.squeeze(1) for part in last])
        return layout.transpose(output, 0, 1) if self.batch_first else output, last

    def _check_input(self, input: Tensor, rank: int) -> None:
        weight = self.weight_ih_l0
        if input.dtype != weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        if input.ndim != rank:
            raise ShapeError(f"input must have {rank} dimensions, got {input.ndim}")
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )

    def _check_ranks(self, start: State, rank: int) -> None:
        if any(part.ndim != rank for part in start):
            batched = "batched 3-D" if rank == 3 else "unbatched 2-D"
            got = [f"{part.ndim}-D" for part in start]
            what = f"({', '.join(got)}) tensors" if len(got) > 1 else f"{got[0]} tensor"
            names = "hx and cx" if len(got) > 1 else "hx"
            raise ShapeError(f"For {batched} input, {names} should also be {rank}-D but got {what}")

    def _begin(self, input: Tensor, batch: int, start: State | None) -> State:
        """The states at the beginning, each (layers D, N, width): 0 unless given."""
        widths = [self._width] + [self.hidden_size] * (self.mode == "LSTM")
        shapes = [(self.num_layers * self._ways, batch, width) for width in widths]
        if start is None:
            return tuple([_creation.zeros(shape, dtype=input.dtype) for shape in shapes])
        for index, (part, shape) in enumerate(zip(start, shapes, strict=True)):
            if tuple(part.shape) != shape:
                what = f"hidden[{index}]" if len(shapes) > 1 else "hidden"
                raise ShapeError(f"Expected {what} size {shape}, got {list(part.shape)}")
        return start

    def _run(self, input: Tensor, begin: State, sizes: list[int] | None) -> tuple[Tensor, State]:
        """Output and last states of (L, N, width), or of (sum of sizes, width) where steps have different sizes."""
        first = [layout.unbind(part, 0) for part in begin]
        last: list[list[Tensor]] = [[] for _ in begin]
        for layer in range(self.num_layers):
            if layer and self.dropout:
                input = activation.dropout(input, self.dropout, self.training)
            results = []
            for way in range(self._ways):
                number = layer * self._ways + way
                weights = {name.split("_l")[0]: getattr(self, name) for name in self._names[number]}
                gates = layers.linear(input, weights["weight_ih"], weights.get("bias_ih"))
                steps = layout.unbind(gates, 0) if sizes is None else layout.split(gates, sizes, 0)
                outputs, state = self._steps(steps, tuple([part[number] for part in first]), weights, way == 1)
                results.append(select.stack(outputs, 0) if sizes is None else select.cat(outputs, 0))
                for held, value in zip(last, state, strict=True):
                    held.append(value)
            input = results[0] if len(results) == 1 else select.cat(results, -1)
        return input, tuple([select.stack(held, 0) for held in last])

    def _steps(
        self, gates: Sequence[Tensor], begin: State, weights: dict[str, Parameter], backward: bool
    ) -> tuple[list[Tensor], State]:
        """One layer one way: the outputs of all steps in the order of time, and the last state of each sequence.

        Later steps may be of fewer sequences, the first ones. Forward, states of sequences that end are laid aside;
        backward, sequences join with the state they begin with.
        """
        cell = _CELLS[self.mode][0]
        outputs: list[Tensor] = []
        ended: list[State] = []
        state = begin
        rows = begin[0].shape[0]
        if backward and gates[-1].shape[0] < rows:
            rows = gates[-1].shape[0]
            state = tuple([part[:rows] for part in begin])
        for gate in reversed(gates) if backward else gates:
            size = gate.shape[0]
            if size > rows:
                state = tuple([select.cat([p, q[rows:size]], 0) for p, q in zip(state, begin, strict=True)])
            elif size < rows:
                ended.append(tuple([part[size:] for part in state]))
                state = tuple([part[:size] for part in state])
            rows = size
            state = cell(gate, layers.linear(state[0], weights["weight_hh"], weights.get("bias_hh")), state)
            if "weight_hr" in weights:
                state = (layers.linear(state[0], weights["weight_hr"]), *state[1:])
            outputs.append(state[0])
        if ended:
            state = tuple([select.cat(parts, 0) for parts in zip(state, *reversed(ended), strict=True)])
        return outputs[::-1] if backward else outputs, state

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        parts = [str(self.input_size), str(self.hidden_size)]
        usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0}
        for name, value in {**usual, "bidirectional": False}.items():
            if getattr(self, name) != value:
                parts.append(f"{name}={getattr(self, name)}")
        return ", ".join(parts)


def _check(
    mode: str, input_size: object, hidden_size: object, layers: int, bias: object, batch_first: object,
    dropout: object, proj_size: int,
) -> None:  # fmt: skip
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if dropout > 0 and layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={layers}",
            stacklevel=4,
        )
    for name, value in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(value, int):
            raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:  # type: ignore[operator]
        raise ValueError("proj_size has to be smaller than hidden_size")
    if mode not in _CELLS:
        raise ValueError(f"Unrecognized RNN mode: {mode}")


class _OneState(RNNBase):
    """Layers whose state is their output. Abstract."""

    @overload
    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]: ...
    @overload
    def forward(self, input: PackedSequence, hx: Tensor | None = None) -> tuple[PackedSequence, Tensor]: ...
    def forward(self, input: Tensor | PackedSequence, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """The output of every step and the last hidden state; `hx` is the first, 0 unless given."""
        output, last = self._over(input, None if hx is None else (hx,))
        return output, last[0]


class RNN(_OneState):
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
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.nonlinearity = nonlinearity


class GRU(_OneState):
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
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): shapes as `RNN`, with two states.

    With `proj_size` the hidden state, and so the output, is mapped to that width (Sak et al. 2014).

    Example: `gm.nn.LSTM(2, 3)(gm.ones(5, 1, 2))[0].shape` is `torch.Size([5, 1, 3])`.
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
        proj_size: int = 0,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device,
            dtype,
        )  # fmt: skip

    @overload
    def forward(self, input: Tensor, hx: Pair | None = None) -> tuple[Tensor, Pair]: ...
    @overload
    def forward(self, input: PackedSequence, hx: Pair | None = None) -> tuple[PackedSequence, Pair]: ...
    def forward(self, input: Tensor | PackedSequence, hx: Pair | None = None) -> tuple[Any, Pair]:
        """The output of every step and the last (hidden, cell) states; `hx` is the first, 0 unless given."""
        output, last = self._over(input, hx)
        return output, (last[0], last[1])


class RNNCellBase(_Recurrent):
    """Base of single steps, with `num_chunks` gates. Abstract.

    Example: `gm.nn.RNNCellBase(2, 3, True, 4).weight_ih.shape` is `torch.Size([12, 2])`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        size = num_chunks * hidden_size
        self.weight_ih = Parameter(_creation.empty((size, input_size), dtype=dtype, device=device))
        self.weight_hh = Parameter(_creation.empty((size, hidden_size), dtype=dtype, device=device))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, made_bias(size, bias, dtype=dtype, device=device))
        self.reset_parameters()

    def _step(self, mode: str, input: Tensor, *state: Tensor | None) -> State:
        """The next states; those not given are 0. Raises ValueError, ShapeError."""
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        present = []
        for index, part in enumerate(state):
            if part is None:
                part = _creation.zeros((*input.shape[:-1], self.hidden_size), dtype=input.dtype)
            if part.ndim not in (1, 2):
                what = f"hx[{index}]" if len(state) > 1 else "hidden"
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {part.ndim}D instead")
            self._check_state(input, part, index)
            present.append(part)
        given = layers.linear(input, self.weight_ih, self.bias_ih)
        hidden = layers.linear(present[0], self.weight_hh, self.bias_hh)
        return _CELLS[mode][0](given, hidden, tuple(present))

    def _check_state(self, input: Tensor, part: Tensor, index: int) -> None:
        if input.shape[-1] != self.input_size:
            raise ShapeError(f"input has inconsistent input_size: got {input.shape[-1]} expected {self.input_size}")
        if input.shape[:-1] != part.shape[:-1]:
            raise ShapeError(
                f"Input batch size {input.shape[0]} doesn't match hidden{index} batch size {part.shape[0]}"
            )
        if part.shape[-1] != self.hidden_size:
            raise ShapeError(
                f"hidden{index} has inconsistent hidden_size: got {part.shape[-1]}, expected {self.hidden_size}"
            )

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        parts = [str(self.input_size), str(self.hidden_size)]
        if self.bias is not True:
            parts.append(f"bias={self.bias}")
        if self.__dict__.get("nonlinearity", "tanh") != "tanh":
            parts.append(f"nonlinearity={self.nonlinearity}")
        return ", ".join(parts)


class RNNCell(RNNCellBase):
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
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next hidden state; `hx` is the present one, 0 unless given."""
        if self.nonlinearity not in ("tanh", "relu"):
            raise InvalidRequestError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, hx)[0]


class GRUCell(RNNCellBase):
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
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next hidden state; `hx` is the present one, 0 unless given."""
        return self._step("GRU", input, hx)[0]


class LSTMCell(RNNCellBase):
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
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next (hidden, cell) states; `hx` is the present ones, 0 unless given."""
        hidden, cell = self._step("LSTM", input, *(hx or (None, None)))
        return hidden, cell
