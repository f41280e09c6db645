"""Every layer is PyTorch's: its line, the names and shapes of its state, values and gradients from one state."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import gradmesh as gm

COUNTS = np.array([[0.0, 1, 2], [3, 1, 0]])
SIGNS = np.array([[1.0, -1, 1], [-1, -1, 1]])

# Expression of a module; shapes of its inputs, which require grad, or the inputs' content.
ROWS: list[tuple[str, tuple[Any, ...]]] = [
    ("Identity(3, a=2)", ((2, 3),)),
    ("Linear(3, 4)", ((2, 3),)),
    ("Linear(3, 4, bias=False)", ((2, 5, 3),)),
    ("Linear(3, 4, dtype=torch.float64)", ()),
    ("Bilinear(2, 3, 4)", ((5, 2), (5, 3))),
    ("Embedding(7, 3)", (np.array([[1, 2], [6, 1]]),)),
    ("Embedding(7, 3, padding_idx=-1)", (np.array([1, 6]),)),
    ("Embedding(7, 3, max_norm=0.5, norm_type=1.)", (np.array([1, 6, 1]),)),
    ("Embedding(7, 3, scale_grad_by_freq=True)", (np.array([1, 6, 1]),)),
    ("Embedding(7, 3, 1, 2., 1., True, True)", ()),
    ("Embedding.from_pretrained(torch.tensor([[1., 2.], [3., 4.]]), freeze=False)", (np.array([1, 0]),)),
    ("EmbeddingBag(7, 3)", (np.array([[1, 2], [6, 1]]),)),
    ("EmbeddingBag(7, 3, mode='sum', padding_idx=1, include_last_offset=True)",
     (np.array([1, 6, 2]), np.array([0, 2, 3]))),
    ("EmbeddingBag(7, 3, mode='max', max_norm=0.5, norm_type=1)", (np.array([1, 6, 2]), np.array([0, 2]))),
    ("EmbeddingBag.from_pretrained(torch.tensor([[1., 2.], [3., 4.]]), False, mode='sum')", (np.array([[1, 0]]),)),
    ("Conv1d(2, 4, 3)", ((1, 2, 7),)),
    ("Conv1d(2, 4, 3, padding='same', dilation=2)", ((1, 2, 7),)),
    ("Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False)", ((2, 2, 6, 7),)),
    ("Conv2d(2, 4, (3, 2), padding=(1, 2), padding_mode='circular')", ((2, 2, 6, 7),)),
    ("Conv2d(2, 4, 3, padding='same', padding_mode='reflect')", ((1, 2, 6, 7),)),
    ("Conv3d(2, 2, 2)", ((1, 2, 3, 3, 3),)),
    ("ConvTranspose1d(2, 4, 3, stride=2, output_padding=1)", ((1, 2, 4),)),
    ("ConvTranspose2d(2, 4, 3, padding=1, dilation=2)", ((1, 2, 4, 4),)),
    ("ConvTranspose3d(2, 2, 2)", ((1, 2, 2, 2, 2),)),
    ("BatchNorm1d(3)", ((4, 3),)),
    ("BatchNorm1d(3, affine=False)", ((4, 3, 2),)),
    ("BatchNorm1d(3, momentum=None, bias=False)", ((4, 3),)),
    ("BatchNorm2d(3, track_running_stats=False)", ((2, 3, 2, 2),)),
    ("BatchNorm3d(2)", ((2, 2, 2, 2, 2),)),
    ("InstanceNorm1d(3, affine=True)", ((2, 3, 4),)),
    ("InstanceNorm2d(3)", ((3, 4, 4),)),
    ("InstanceNorm3d(2)", ((1, 2, 2, 2, 2),)),
    ("InstanceNorm1d(3, track_running_stats=True)", ((2, 3, 4),)),
    ("InstanceNorm2d(3, affine=True, bias=False, track_running_stats=True, momentum=0.4)", ((2, 3, 4, 4),)),
    ("InstanceNorm1d(3, track_running_stats=True).eval()", ((2, 3, 4),)),
    ("LocalResponseNorm(2)", ((2, 5, 3),)),
    ("LocalResponseNorm(3, 0.1, 0.5, 2.)", ((2, 5, 3, 3),)),
    ("LayerNorm(3)", ((2, 3),)),
    ("LayerNorm((2, 3), bias=False)", ((4, 2, 3),)),
    ("LayerNorm(3, elementwise_affine=False)", ((2, 3),)),
    ("GroupNorm(2, 4)", ((2, 4, 3),)),
    ("GroupNorm(2, 4, affine=False)", ((2, 4, 3),)),
    ("RMSNorm(3)", ((2, 3),)),
    ("RMSNorm((2, 3), eps=0.1, elementwise_affine=False)", ((2, 3),)),
    *[(f"{name}()", ((2, 3),)) for name in (
        "ReLU ReLU6 Hardtanh LeakyReLU ELU CELU SELU SiLU Mish Hardswish Hardsigmoid Sigmoid Tanh LogSigmoid Softsign "
        "Tanhshrink GELU Softplus PReLU".split()
    )],
    ("ReLU(inplace=True)", ()),
    ("ReLU6(True)", ()),
    ("LeakyReLU(0.2, inplace=True)", ()),
    ("Hardtanh(-2, 2)", ((2, 3),)),
    ("Threshold(0.1, 20)", ((2, 3),)),
    ("GELU('tanh')", ((2, 3),)),
    ("Softplus(2, 5)", ((2, 3),)),
    ("PReLU(3, 0.1)", ((2, 3),)),
    ("RReLU(0.2, 0.6).eval()", ((2, 3),)),
    ("RReLU(0.25, 0.25, inplace=True)", ()),
    ("RReLU(0.25, 0.25)", ((2, 3),)),
    ("GLU()", ((2, 4),)),
    ("GLU(0)", ((2, 3),)),
    ("Hardshrink(0.3)", ((2, 3),)),
    ("Softshrink()", ((2, 3),)),
    ("Softmax2d()", ((2, 3, 2, 2),)),
    ("Softmax(dim=1)", ((2, 3),)),
    ("Softmin(dim=0)", ((2, 3),)),
    ("LogSoftmax(dim=-1)", ((2, 3),)),
    ("MaxPool1d(2)", ((1, 2, 6),)),
    ("MaxPool2d(3, stride=2, padding=1, ceil_mode=True)", ((1, 2, 6, 6),)),
    ("MaxPool2d((2, 3), return_indices=True)", ((1, 2, 6, 6),)),
    ("MaxPool3d(2)", ((1, 1, 4, 4, 4),)),
    ("AvgPool1d(2, stride=1)", ((1, 2, 6),)),
    ("AvgPool2d(2, padding=1, count_include_pad=False)", ((1, 2, 6, 6),)),
    ("AvgPool3d(2)", ((1, 1, 4, 4, 4),)),
    ("AdaptiveAvgPool1d(3)", ((1, 2, 7),)),
    ("AdaptiveAvgPool2d((2, None))", ((1, 2, 6, 4),)),
    ("AdaptiveAvgPool3d(1)", ((1, 1, 3, 2, 2),)),
    ("AdaptiveMaxPool1d(3)", ((1, 2, 7),)),
    ("AdaptiveMaxPool2d((2, None), return_indices=True)", ((1, 2, 6, 4),)),
    ("AdaptiveMaxPool3d(1)", ((1, 1, 3, 2, 2),)),
    ("MaxUnpool1d(2)", ((1, 1, 2), np.array([[[1, 2]]]))),
    ("MaxUnpool2d((2, 1), stride=2, padding=0)", ((1, 1, 1, 2), np.array([[[[2, 1]]]]))),
    ("MaxUnpool3d(2)", ((1, 1, 1, 1), np.array([[[[3]]]]))),
    ("FractionalMaxPool2d(2, 3, _random_samples=torch.full((1, 2, 2), 0.3))", ((1, 2, 6, 7),)),
    ("FractionalMaxPool2d((2, 3), output_ratio=0.5, return_indices=True, _random_samples=torch.full((1, 2, 2), 0.9))",
     ((1, 2, 6, 7),)),
    ("FractionalMaxPool3d(2, output_ratio=(0.5, 0.6, 0.7), _random_samples=torch.full((1, 1, 3), 0.4))",
     ((1, 5, 5, 5),)),
    ("LPPool1d(2, 3)", ((2, 2, 7),)),
    ("LPPool2d(3, (2, 3), stride=2, ceil_mode=True)", ((1, 2, 6, 7),)),
    ("LPPool3d(2.5, 2)", (np.arange(1.0, 65).reshape(1, 4, 4, 4),)),
    ("Dropout(0.3).eval()", ((2, 3),)),
    ("Dropout(0.0)", ((2, 3),)),
    ("Dropout1d(0.3).eval()", ((2, 3, 2),)),
    ("Dropout2d(0.3, inplace=True).eval()", ((2, 3, 2, 2),)),
    ("Dropout3d(0.3).eval()", ((3, 2, 2, 2),)),
    ("ConstantPad1d(2, 3.5)", ((1, 2, 4),)),
    ("ConstantPad2d((1, 2, 0, 1), 0.5)", ((1, 2, 4, 4),)),
    ("ConstantPad3d(1, 0.5)", ((1, 2, 2, 2, 2),)),
    ("ZeroPad1d(2)", ((1, 2, 4),)),
    ("ZeroPad2d((1, 2, 0, 1))", ((1, 2, 4, 4),)),
    ("ZeroPad3d(1)", ((1, 2, 2, 2, 2),)),
    ("ReflectionPad1d(2)", ((1, 2, 4),)),
    ("ReflectionPad2d(1)", ((1, 2, 4, 4),)),
    ("ReflectionPad3d(1)", ((1, 2, 2, 2, 2),)),
    ("ReplicationPad1d((1, 0))", ((1, 2, 4),)),
    ("ReplicationPad2d(1)", ((1, 2, 4, 4),)),
    ("ReplicationPad3d(1)", ((1, 2, 2, 2, 2),)),
    ("CircularPad1d(1)", ((1, 2, 4),)),
    ("CircularPad2d(1)", ((1, 2, 4, 4),)),
    ("CircularPad3d(1)", ((1, 2, 2, 2, 2),)),
    ("AlphaDropout(0.3).eval()", ((2, 3),)),
    ("FeatureAlphaDropout(0.3, inplace=True).eval()", ((2, 3, 2),)),
    ("Flatten()", ((2, 3, 4),)),
    ("Flatten(0, 1)", ((2, 3, 4),)),
    ("Unflatten(1, (2, 3))", ((4, 6),)),
    ("Unflatten(dim=0, unflattened_size=[3, -1])", ((6,),)),
    ("PixelShuffle(2)", ((1, 4, 2, 2),)),
    ("ChannelShuffle(2)", ((1, 6, 2, 2),)),
    ("Upsample(scale_factor=2)", ((1, 2, 3),)),
    ("Upsample((5, 4), mode='bicubic', align_corners=False)", ((1, 2, 3, 3),)),
    ("Upsample(scale_factor=(1.5, 2), mode='bilinear', recompute_scale_factor=True)", ((1, 2, 3, 3),)),
    ("UpsamplingNearest2d(size=5)", ((1, 2, 3, 3),)),
    ("UpsamplingBilinear2d(scale_factor=2)", ((1, 2, 3, 3),)),
    ("PixelUnshuffle(2)", ((1, 1, 4, 4),)),
    ("Unfold((2, 3))", ((1, 2, 4, 4),)),
    ("Fold((3, 3), 2)", ((1, 8, 4),)),
    ("CosineSimilarity(dim=0)", ((3, 2), (3, 2))),
    ("MSELoss()", ((2, 3), (2, 3))),
    ("L1Loss(reduction='sum')", ((2, 3), (2, 3))),
    ("SmoothL1Loss(beta=0.5)", ((2, 3), (2, 3))),
    ("HuberLoss(delta=0.5)", ((2, 3), (2, 3))),
    ("BCEWithLogitsLoss(pos_weight=torch.tensor([1., 2., 3.]))", ((2, 3), (2, 3))),
    ("KLDivLoss(reduction='batchmean', log_target=True)", ((2, 3), (2, 3))),
    ("NLLLoss()", ((2, 3), np.array([0, 2]))),
    ("CrossEntropyLoss(label_smoothing=0.1)", ((2, 3), np.array([0, 2]))),
    ("CrossEntropyLoss(weight=torch.tensor([1., 2., 3.]), ignore_index=1)", ((2, 3), np.array([0, 1]))),
    ("CosineSimilarity(dim=1, eps=0.5)", ((3, 2), (3, 2))),
    ("PairwiseDistance()", ((3, 2), (3, 2))),
    ("PairwiseDistance(p=1, eps=0.1, keepdim=True)", ((3, 2), (3, 2))),
    ("LinearCrossEntropyLoss(4, 3, bias=True, label_smoothing=0.1)", ((5, 4), np.array([0, 2, 1, 1, 0]))),
    ("LinearCrossEntropyLoss(4, 3, reduction='sum', weight=torch.tensor([1., 2., 3.]))", ((2, 4), np.array([0, 2]))),
    ("PoissonNLLLoss()", ((2, 3), COUNTS)),
    ("PoissonNLLLoss(full=True, reduction='none')", ((2, 3), COUNTS)),
    ("PoissonNLLLoss(log_input=False, eps=0.1, reduction='sum')", (COUNTS, COUNTS)),
    ("GaussianNLLLoss()", ((2, 3), (2, 3), COUNTS + 1)),
    ("GaussianNLLLoss(full=True, eps=2., reduction='sum')", ((2, 3), (2, 3), COUNTS + 1)),
    ("CTCLoss()", ((6, 2, 4), np.array([[1, 2, 3], [2, 2, 1]]), np.array([6, 5]), np.array([3, 2]))),
    ("CTCLoss(blank=3, reduction='sum', zero_infinity=True)",
     ((2, 1, 4), np.array([[1, 1]]), np.array([2]), np.array([2]))),
    ("BCELoss(weight=torch.tensor([1., 2., 3.]))", (np.full((2, 3), 0.3), np.array([[0.0, 1, 1], [1, 0, 0]]))),
    ("SoftMarginLoss()", ((2, 3), SIGNS)),
    ("HingeEmbeddingLoss(0.7, reduction='sum')", ((2, 3), SIGNS)),
    ("MultiLabelMarginLoss()", ((2, 3), np.array([[1, -1, 0], [2, 0, -1]]))),
    ("MultiLabelSoftMarginLoss(weight=torch.tensor([1., 2., 3.]), reduction='none')", ((2, 3), (SIGNS > 0) * 1.0)),
    ("MultiMarginLoss()", ((2, 3), np.array([0, 2]))),
    ("MultiMarginLoss(2, 0.5, torch.tensor([1., 2., 3.]), reduction='sum')", ((2, 3), np.array([0, 2]))),
    ("CosineEmbeddingLoss(0.1)", ((3, 4), (3, 4), np.array([1.0, -1, 1]))),
    ("MarginRankingLoss(0.3, reduction='none')", ((2, 3), (2, 3), SIGNS)),
    ("TripletMarginLoss(2., p=3, swap=True)", ((3, 4), (3, 4), (3, 4))),
    ("TripletMarginWithDistanceLoss(margin=3., swap=True)", ((3, 4), (3, 4), (3, 4))),
    ("TripletMarginWithDistanceLoss(distance_function=nn.CosineSimilarity(), reduction='sum')",
     ((3, 4), (3, 4), (3, 4))),
    ("AdaptiveLogSoftmaxWithLoss(16, 9, [2, 5], div_value=2.)", ((6, 16), np.array([0, 8, 3, 1, 4, 5]))),
    ("AdaptiveLogSoftmaxWithLoss(16, 9, [4], head_bias=True)", ((16,), np.array(6))),
    ("RNN(3, 4)", ((5, 2, 3),)),
    ("RNN(3, 4, num_layers=2, nonlinearity='relu', bias=False, batch_first=True)", ((2, 5, 3),)),
    ("GRU(3, 4, bidirectional=True)", ((5, 2, 3), (2, 2, 4))),
    ("GRU(3, 4)", ((5, 3),)),
    ("LSTM(3, 4, 2, bidirectional=True)", ((5, 2, 3),)),
    ("LSTM(3, 4, batch_first=True, dropout=0.0)", ((2, 5, 3),)),
    ("LSTM(3, 4, 2, proj_size=2, bidirectional=True)", ((5, 2, 3),)),
    ("LSTM(3, 4, proj_size=3, bias=False, batch_first=True)", ((5, 3),)),
    ("GRU(3, 4, 2, dropout=0.5).eval()", ((5, 2, 3),)),
    ("RNNBase('RNN_RELU', 3, 4, 2)", ()),
    ("RNNCellBase(3, 4, False, 2)", ()),
    ("RNNCell(3, 4)", ((2, 3),)),
    ("RNNCell(3, 4, nonlinearity='relu')", ((2, 3), (2, 4))),
    ("GRUCell(3, 4, bias=False)", ((2, 3), (2, 4))),
    ("LSTMCell(3, 4)", ((3,),)),
    ("MultiheadAttention(4, 2)", ((3, 2, 4), (5, 2, 4), (5, 2, 4))),
    ("MultiheadAttention(4, 2, bias=False, batch_first=True, kdim=3, vdim=2)", ((2, 3, 4), (2, 5, 3), (2, 5, 2))),
    ("TransformerEncoderLayer(4, 2, 8, dropout=0.0)", ((3, 2, 4),)),
    ("TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation='gelu', norm_first=True)", ((3, 2, 4),)),
    ("TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), 2)", ((3, 2, 4),)),
    ("MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True)", ((3, 2, 4), (5, 2, 4), (5, 2, 4))),
    ("MultiheadAttention(4, 2, bias=False, add_bias_kv=True, batch_first=True)", ((3, 4), (5, 4), (5, 4))),
    ("TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation=nn.SiLU(), bias=False)", ((3, 2, 4),)),
    ("TransformerDecoderLayer(4, 2, 8, dropout=0.0)", ((3, 2, 4), (5, 2, 4))),
    ("TransformerDecoderLayer(4, 2, 8, dropout=0.0, activation='gelu', norm_first=True, batch_first=True)",
     ((2, 3, 4), (2, 5, 4))),
    ("TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8, dropout=0.0), 2, nn.LayerNorm(4))", ((3, 4), (5, 4))),
    ("Transformer(4, 2, 1, 2, 8, dropout=0.0)", ((5, 2, 4), (3, 2, 4))),
    ("Transformer(4, 2, 1, 1, 8, dropout=0.0, norm_first=True, batch_first=True, bias=False)",
     ((2, 3, 4), (2, 5, 4))),
    ("Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2)))", ((2, 3),)),
    ("Sequential(OrderedDict(a=nn.Linear(3, 4), b=nn.Tanh()))", ((2, 3),)),
    ("ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU()])", ()),
    ("ModuleList()", ()),
    ("ModuleDict({'a': nn.Linear(2, 2), 'b': nn.ReLU()})", ()),
    ("ParameterList([torch.ones(2), torch.ones(3, 4)])", ()),
]  # fmt: skip


def make(expression: str, library: Any) -> Any:
    from collections import OrderedDict

    return eval(f"nn.{expression}", {"torch": library, "nn": library.nn, "OrderedDict": OrderedDict})


def flat(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [tensor for part in result for tensor in flat(part)]
    return [result]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize(("expression", "inputs"), ROWS, ids=[row[0] for row in ROWS])
def test_layer_is_pytorchs(expression: str, inputs: tuple[Any, ...]) -> None:
    torch = pytest.importorskip("torch")
    theirs, mine = make(expression, torch), make(expression, gm)
    assert repr(mine) == repr(theirs)
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    assert {name: (tuple(v.shape), v.np_dtype) for name, v in mine.state_dict().items()} == {
        name: (value.shape, value.dtype) for name, value in state.items()
    }
    assert [name for name, _ in mine.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    if not inputs:
        return
    mine.load_state_dict({name: gm.tensor(value) for name, value in state.items()})
    mine.double(), theirs.double()
    random = np.random.default_rng(0)
    arrays = [given if isinstance(given, np.ndarray) else random.normal(size=given) for given in inputs]
    leaves: list[list[Any]] = [[], []]
    results = []
    for library, module, held in ((torch, theirs, leaves[0]), (gm, mine, leaves[1])):
        for array, given in zip(arrays, inputs, strict=True):
            leaf = library.tensor(array)
            held.append(leaf if given is array else leaf.requires_grad_())
        found = [part for part in flat(module(*held)) if part is not None]
        total = sum((part * part).sum() for part in found if part.requires_grad)
        if not isinstance(total, int):
            total.backward()
        results.append([part.detach().numpy() for part in found])
        results[-1] += [given.grad.numpy() for given in held if given.grad is not None]
        results[-1] += [parameter.grad.numpy() for parameter in module.parameters()]
        results[-1] += [buffer.numpy() for buffer in module.buffers()]
    for want, got in zip(*results, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-12)


REFUSED = [
    "HuberLoss(delta='a')",
    "MultiMarginLoss(3)",
    "MultiMarginLoss(weight=torch.ones(1, 2))",
    "TripletMarginLoss(0.)",
    "TripletMarginWithDistanceLoss(margin=-1.)",
    "LinearCrossEntropyLoss(2, 3, label_smoothing=2.)",
    "LinearCrossEntropyLoss(2, 3, weight=torch.ones(2))",
    "FractionalMaxPool2d(2)",
    "FractionalMaxPool3d(0, 3)",
    "FractionalMaxPool2d(2, 3, 0.5)",
    "FractionalMaxPool2d(2, output_ratio=1.5)",
    "MaxUnpool2d(2)(torch.ones(1, 1, 1), torch.tensor([[[3]]]), output_size=(7, 7))",
    "Softmax2d()(torch.ones(2))",
    "AdaptiveLogSoftmaxWithLoss(4, 5, [])",
    "AdaptiveLogSoftmaxWithLoss(4, 5, [3, 2])",
    "AdaptiveLogSoftmaxWithLoss(4, 5, [5])",
    "AdaptiveLogSoftmaxWithLoss(4, 5, [2])(torch.ones(3, 4), torch.tensor([[1]]))",
    "AdaptiveLogSoftmaxWithLoss(4, 5, [2])(torch.ones(3, 4), torch.tensor([1]))",
    "AdaptiveLogSoftmaxWithLoss(4, 5, [2])(torch.ones(3, 4), torch.tensor(1))",
    "InstanceNorm1d(3, affine=True)(torch.ones(2, 4, 5))",
    "InstanceNorm1d(3)(torch.ones(2))",
    "LocalResponseNorm(3)(torch.ones(2))",
    "Embedding(3, 2, padding_idx=5)",
    "EmbeddingBag(3, 2, padding_idx=-4)",
    "Embedding(3, 2, _weight=torch.ones(2, 2))",
    "Embedding.from_pretrained(torch.ones(3))",
    "RNN(3, 4, dropout=True)",
    "RNN(3, 4, bias=1)",
    "RNN(0, 4)",
    "RNN(3, 4.5)",
    "RNN(3, 4, num_layers=0)",
    "RNN(3, 4, nonlinearity='gelu')",
    "LSTM(3, 4, proj_size=4)",
    "LSTM(3, 4, proj_size=-1)",
    "RNNBase('none', 3, 4)",
    "GRU(3, 4)(torch.ones(3))",
    "GRU(3, 4)(torch.ones(5, 2, 4))",
    "GRU(3, 4)(torch.ones(5, 2, 3).double())",
    "GRU(3, 4)(torch.ones(5, 2, 3), torch.ones(2, 4))",
    "GRU(3, 4)(torch.ones(5, 3), torch.ones(1, 1, 4))",
    "GRU(3, 4)(torch.ones(5, 2, 3), torch.ones(1, 2, 5))",
    "LSTM(3, 4)(torch.ones(5, 2, 3), (torch.ones(1, 2, 4), torch.ones(1, 4)))",
    "LSTM(3, 4)(torch.ones(5, 2, 3), (torch.ones(1, 2, 4), torch.ones(1, 2, 3)))",
    "RNNCell(3, 4)(torch.ones(1, 1, 3))",
    "RNNCell(3, 4, nonlinearity='gelu')(torch.ones(3))",
    "GRUCell(3, 4)(torch.ones(2, 3), torch.ones(1, 1, 1))",
    "GRUCell(3, 4)(torch.ones(2, 4))",
    "GRUCell(3, 4)(torch.ones(2, 3), torch.ones(3, 4))",
    "GRUCell(3, 4)(torch.ones(2, 3), torch.ones(2, 5))",
    "LSTMCell(3, 4)(torch.ones(2, 3), (torch.ones(2, 4), torch.ones(1, 1, 4)))",
    "MultiheadAttention(4, 3)",
    "MultiheadAttention(0, 3)",
    "MultiheadAttention(4, 2)(*[torch.ones(3, 4)] * 3, attn_mask=torch.ones(3, 3).long())",
    "MultiheadAttention(4, 2)(*[torch.ones(3, 4)] * 3, is_causal=True)",
    "Transformer(4, 2, 1, 1, 8)(torch.ones(5, 2, 4), torch.ones(5, 3, 4))",
    "Transformer(4, 2, 1, 1, 8)(torch.ones(5, 2, 3), torch.ones(5, 2, 4))",
    "TransformerEncoderLayer(4, 2, activation='tanh')",
    "Unflatten(0, 3)",
    "Unflatten(0, [1.5])",
    "AlphaDropout(2)",
    "init.orthogonal_(torch.ones(3))",
    "init.sparse_(torch.ones(3), 0.5)",
]


@pytest.mark.oracle
@pytest.mark.parametrize("expression", REFUSED)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_errors_are_pytorchs(expression: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as theirs:
        make(expression, torch)
    with pytest.raises(theirs.type) as ours:
        make(expression, gm)
    # Errors of ops say more behind the message.
    assert " ".join(str(ours.value).split()).startswith(" ".join(str(theirs.value).split()))


@pytest.mark.oracle
def test_attention_masks() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.MultiheadAttention(4, 2, batch_first=True)
    mine = gm.nn.MultiheadAttention(4, 2, batch_first=True)
    mine.load_state_dict({name: gm.tensor(value.numpy()) for name, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    masks = [
        {"attn_mask": np.triu(np.ones((3, 3), bool), 1)},
        {"attn_mask": np.random.default_rng(1).normal(size=(4, 3, 3)).astype(np.float32)},
        {"key_padding_mask": np.array([[False, False, True], [False, True, True]])},
        {"average_attn_weights": False},
        {"need_weights": False},
    ]
    for options in masks:
        results = []
        for library, module in ((torch, theirs), (gm, mine)):
            given = {k: library.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
            results.append(module(*[library.tensor(x)] * 3, **given))
        for want, got in zip(*results, strict=True):
            assert (got is None) == (want is None)
            if want is not None:
                np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-5, atol=1e-6)


# --- what is drawn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, -1])
def test_gumbel_softmax_chooses_with_the_probabilities(dim: int) -> None:
    gm.manual_seed(0)
    logits = gm.tensor([1.0, 0.0, -1.0, 0.5], requires_grad=True)
    many = logits.expand(20000, 4)
    many = many if dim == -1 else many.T
    hard = gm.nn.functional.gumbel_softmax(many, tau=0.7, hard=True, dim=dim)
    counts = hard.detach().numpy().sum(0 if dim == -1 else 1)
    assert set(np.unique(np.round(hard.detach().numpy(), 6))) == {0.0, 1.0}
    np.testing.assert_allclose(counts / 20000, np.asarray(logits.detach().softmax(0).numpy()), atol=0.01)
    # The gradient is that of the softmax, which is made again from the same draw.
    weights = gm.tensor(np.random.default_rng(0).normal(size=hard.shape).astype(np.float32))
    (hard * weights).sum().backward()
    gm.manual_seed(0)
    again = logits.detach().requires_grad_()
    many = again.expand(20000, 4)
    soft = gm.nn.functional.gumbel_softmax(many if dim == -1 else many.T, tau=0.7, dim=dim)
    (soft * weights).sum().backward()
    np.testing.assert_allclose(logits.grad.numpy(), again.grad.numpy(), rtol=1e-5)
    assert abs(logits.grad.numpy()).max() > 1


# A layer that draws, the dims of its input of -1, the mean of what it gives (not told for 0), and whether a channel's
# elements share their fate.
DRAWN = [
    ("Dropout(0.25)", 5, -1.0, False),
    ("Dropout1d(0.25)", 3, -1.0, True),
    ("Dropout2d(0.25)", 4, -1.0, True),
    ("Dropout3d(0.25)", 5, -1.0, True),
    ("RReLU(0.2, 0.6)", 3, -0.4, False),
    ("AlphaDropout(0.25)", 3, 0.0, False),
    ("FeatureAlphaDropout(0.25)", 3, 0.0, True),
]


@pytest.mark.parametrize(("expression", "rank", "mean", "alike"), DRAWN, ids=[row[0] for row in DRAWN])
def test_drawn_layers(expression: str, rank: int, mean: float, alike: bool) -> None:
    gm.manual_seed(0)
    layer = make(expression, gm)
    x = gm.full((60, 70, 3, 3, 3)[:rank], -1.0)
    drawn = layer(x).numpy()
    assert drawn.std() > 0.05
    assert mean == 0 or abs(drawn.mean() - mean) < 0.03
    channels = drawn.reshape(60, 70, -1)
    assert (channels == channels[..., :1]).all() == alike
    assert (layer.eval()(x).numpy() == layer(x).numpy()).all()


# --- what fills parameters -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fill", "low", "high", "std"),
    [
        (lambda t: gm.nn.init.uniform_(t, -2, 1), -2, 1, 3 / 12**0.5),
        (lambda t: gm.nn.init.normal_(t, 0, 0.5), -9, 9, 0.5),
        (lambda t: gm.nn.init.xavier_uniform_(t, 2.0), -2 * 0.012**0.5, 2 * 0.012**0.5, 2 * 0.004**0.5),
        (lambda t: gm.nn.init.xavier_normal_(t), -9, 9, (2 / 500) ** 0.5),
        (lambda t: gm.nn.init.kaiming_uniform_(t, a=5**0.5), -1 / 300**0.5, 1 / 300**0.5, 1 / 900**0.5),
        (lambda t: gm.nn.init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"), -9, 9, (2 / 200) ** 0.5),
        # A normal distribution cut at ±2 sigma has a standard deviation of 0.8796 sigma; above 1 sigma, of 0.4462.
        (lambda t: gm.nn.init.trunc_normal_(t, std=0.5, a=-1, b=1), -1, 1, 0.8796 * 0.5),
        (lambda t: gm.nn.init.trunc_normal_(t, mean=-3, std=1.0, a=-2, b=9), -2, 9, 0.4462),
        (lambda t: gm.nn.init.sparse_(t, 0.25, std=2), -40, 40, 2 * 0.75**0.5),
        (lambda t: gm.nn.init.orthogonal_(t, gain=3), -3, 3, 3 / 300**0.5),
    ],
)  # fmt: skip
def test_random_fill_has_the_stated_spread(fill: Any, low: float, high: float, std: float) -> None:
    gm.manual_seed(0)
    parameter = gm.nn.Parameter(gm.empty(200, 300))
    assert fill(parameter) is parameter
    assert parameter.is_leaf and parameter.requires_grad
    drawn = parameter.detach().numpy()
    assert low <= drawn.min() and drawn.max() <= high
    assert abs(drawn.std() / std - 1) < 0.02


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (3, 2, 4)])
def test_orthogonal_fill(shape: tuple[int, ...]) -> None:
    drawn = gm.nn.init.orthogonal_(gm.empty(*shape), gain=2).numpy().reshape(shape[0], -1)
    product = drawn @ drawn.T if shape[0] <= drawn.shape[1] else drawn.T @ drawn
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)


def test_sparse_fill_leaves_a_share_of_each_column() -> None:
    drawn = gm.nn.init.sparse_(gm.empty(10, 50), 0.25).numpy()
    assert set((drawn == 0).sum(0)) == {3}
    assert len({tuple(column) for column in (drawn == 0).T}) > 10


# --- files -----------------------------------------------------------------------------------------


def test_a_nest_survives_a_file() -> None:
    optimizer_like = {
        "state": {0: {"step": gm.tensor(3.0), "avg": gm.tensor([[1.0, 2.0]], dtype=gm.bfloat16)}},
        "groups": [{"lr": 0.1, "betas": (0.9, 0.999), "name": None, "flag": True, "params": [0]}],
        "z": gm.tensor([1 + 2j], dtype=gm.complex128),
        "p": gm.nn.Parameter(gm.ones(2)),
        "empty": gm.zeros(0, 3, dtype=gm.int8),
    }
    file = io.BytesIO()
    gm.save(optimizer_like, file)
    file.seek(0)
    found = gm.load(file)
    assert str(found) == str(optimizer_like)
    assert isinstance(found["p"], gm.nn.Parameter)
    assert isinstance(found["groups"][0]["betas"], tuple)
    file.seek(0)
    assert b"pickle" not in file.read()


@pytest.mark.oracle
def test_a_state_dict_is_a_file_others_read(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    mine = gm.nn.Sequential(gm.nn.Linear(2, 3), gm.nn.BatchNorm1d(3)).bfloat16()
    gm.save(mine.state_dict(), tmp_path / "mine.safetensors")
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).bfloat16()
    theirs.load_state_dict(load_file(tmp_path / "mine.safetensors"))
    assert str(theirs.state_dict()["0.weight"]) == str(mine.state_dict()["0.weight"])
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    back = gm.load(tmp_path / "theirs.safetensors")
    assert mine.load_state_dict(back) == ([], [])


def test_what_is_no_file_of_tensors_is_refused(tmp_path: Any) -> None:
    with pytest.raises(gm.errors.AttributeTypeError, match="state_dict"):
        gm.save(gm.nn.Linear(1, 1), tmp_path / "x")
    (tmp_path / "bad").write_bytes(b"\x80\x04pickle")
    with pytest.raises(gm.errors.InvalidRequestError, match="safetensors"):
        gm.load(tmp_path / "bad")
