"""Expressions that mean the same with PyTorch and with gradmesh, one per line.

They are over `torch` (either library), `F` (its nn.functional) and tensors of the arrays of `arrays`.
"""

from __future__ import annotations

import numpy as np


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {
        "x": rng.standard_normal((2, 3)).astype(np.float32),
        "y": rng.standard_normal((2, 3)).astype(np.float32),
        "p": rng.uniform(0.1, 0.9, (2, 3)).astype(np.float32),
        "v": rng.standard_normal(3).astype(np.float32),
        "s": np.array(1.5, np.float32),
        "b": rng.standard_normal((4, 2, 3)).astype(np.float32),
        "sq": rng.standard_normal((3, 3)).astype(np.float32),
        "w": rng.standard_normal((5, 3)).astype(np.float32),
        "w1": rng.standard_normal(5).astype(np.float32),
        "d": rng.standard_normal((2, 3)),
        "im": rng.standard_normal((2, 3, 6, 6)).astype(np.float32),
        "k": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "k1": rng.standard_normal(4).astype(np.float32),
        "c": (rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3))).astype(np.complex64),
        "i": rng.integers(0, 5, (2, 3)),
        "j": rng.integers(1, 5, (2, 3)),
        "u": rng.integers(0, 200, (2, 3)).astype(np.uint8),
        "cls": rng.integers(0, 3, (2,)),
        "idx": np.array([[0, 1, 0], [1, 1, 0]]),
        "m": rng.random((2, 3)) < 0.5,
    }


NAMES = """
i << 2
2 << j
u >> 1
i >> j
torch.bitwise_left_shift(i, j)
torch.bitwise_right_shift(i, 1)
i.bitwise_left_shift(j)
torch.gcd(i, j)
torch.lcm(i, j)
i.gcd(j)
i.clone().lcm_(j)
torch.vander(v.detach())
torch.vander(v.detach(), 2, increasing=True)
torch.vander(torch.tensor([1, 2, 3]))
torch.bartlett_window(5)
torch.bartlett_window(5, False)
torch.blackman_window(6)
torch.hamming_window(6)
torch.hamming_window(5, True, 0.5, 0.4)
torch.hann_window(7, periodic=False, dtype=torch.float64)
torch.hann_window(1)
torch.kaiser_window(6)
torch.kaiser_window(6, True, 3.0)
torch.as_strided(x.detach(), (2, 2), (1, 2))
torch.as_strided(x.detach(), (2,), (2,), 1)
torch.as_strided_copy(x.detach(), (2,), (2,), 1)
x.detach()[1].as_strided((2,), (2,))
torch.as_strided_scatter(x.detach(), torch.ones(2), (2,), (2,), 1)
torch.asarray([1, 2])
torch.asarray(x.detach(), dtype=torch.float64)
torch.frombuffer(bytearray([1, 0, 2, 0]), dtype=torch.int16)
torch.frombuffer(bytearray([1, 0, 2, 0]), dtype=torch.uint8, count=2, offset=1)
torch.range(1, 4)
torch.range(1.0, 2.0, 0.5)
torch.range(4, 1, -1)
torch.abs_(x.detach().clone())
torch.exp_(x.clone())
torch.clamp_(x.clone(), -0.5, 0.5)
torch.selu_(x.clone())
torch.threshold_(x.clone(), 0.1, 7.0)
torch.detach(x)
torch.detach_copy(x.detach())
torch.view_as_real_copy(c)
torch.stft(im[0, 0], 4, 2, 3, v.detach().abs(), center=False, return_complex=True, align_to_window=True)
torch.stft(im[0, 0], 4, 2, 3, v.detach().abs(), center=False, return_complex=True, align_to_window=False)
torch.FloatTensor([1, 2])
torch.LongTensor([[1], [2]])
reversed(x)
x.detach().clone().greater_(y.detach())
x.clone().arctan2_(y)
sq.clone().addmm_(sq, w[:3])
torch.bilinear(x, y, torch.ones(4, 3, 3))
torch.cosine_similarity(x, y)
torch.embedding(w, i, 2)
torch.layer_norm(x, (3,))
torch.group_norm(b, 2)
torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False)
torch.instance_norm(b, None, None, None, None, True, 0.1, 1e-5, False)
torch.rms_norm(x, (3,))
torch.threshold(x, 0.2, 5.0)
torch.adaptive_max_pool1d(b, 2)[0]
torch.adaptive_max_pool1d(b, 2)[1]
torch.max_pool1d_with_indices(b, 2)[1]
torch.affine_grid_generator(torch.ones(2, 2, 3), (2, 1, 2, 3), False)
torch.grid_sampler(im, torch.zeros(2, 1, 1, 2), 0, 0, False)
torch.binary_cross_entropy_with_logits(x, p.detach())
torch.binary_cross_entropy_with_logits(x, p.detach(), None, p.detach(), 1)
torch.cosine_embedding_loss(x, y, torch.ones(2))
torch.hinge_embedding_loss(x, m * 2 - 1)
torch.kl_div(x, p, 2)
torch.margin_ranking_loss(x, y, m * 2 - 1, 0.1)
torch.poisson_nll_loss(x, p, True, True, 1e-8, 1)
torch.triplet_margin_loss(x, y, p)
torch.ctc_loss(b.log_softmax(2), torch.tensor([[1, 2], [2, 1]]), [4, 3], [2, 1])
"""

POINTWISE = """
-x
+x
abs(x)
x + y
x + 1
1 + x
x + 2.5
x - y
x - 1
2 - x
x * y
3 * x
x / y
x / 2
2 / x
7 // j
x % 2
7 % j
x ** 2
x ** 3
p ** 0.5
p ** y
2 ** x
i + 1.5
i + i
i / 2
i // j
i % j
i ** 2
2 ** j
u + 300
u < 300
u * -1
i + True
m + 1
m + m
x + s
s + i
s * d
d + x
x + d
c + x
c * 2
c / c
x * 1j
x.add(y, alpha=2)
torch.sub(x, y, alpha=0.5)
torch.add(x, 1)
torch.rsub(x, 3)
torch.true_divide(i, 2)
torch.div(x, y, rounding_mode="floor")
torch.div(x, y, rounding_mode="trunc")
torch.floor_divide(i, j)
torch.remainder(x, y)
torch.fmod(x, 0.7)
torch.neg(x)
torch.exp(x)
torch.exp2(x)
torch.expm1(x)
torch.log(p)
torch.log1p(p)
torch.log2(p)
torch.log10(p)
torch.sqrt(p)
torch.rsqrt(p)
torch.reciprocal(x)
torch.square(x)
torch.sin(x)
torch.cos(x)
torch.tan(x)
torch.asin(p)
torch.acos(p)
torch.atan(x)
torch.sinh(x)
torch.cosh(x)
torch.tanh(x)
torch.asinh(x)
torch.acosh(p + 1)
torch.atanh(p)
torch.sigmoid(x)
torch.relu(x)
torch.erf(x)
torch.erfc(x)
torch.abs(x)
torch.sign(x)
torch.sgn(x)
torch.floor(x)
torch.ceil(x)
torch.trunc(x)
torch.frac(x)
torch.round(x)
torch.round(x, decimals=1)
torch.isnan(x)
torch.isinf(x / 0)
torch.isfinite(x)
torch.atan2(x, y)
torch.hypot(x, y)
torch.logaddexp(x, y)
torch.xlogy(p, p)
torch.minimum(x, y)
torch.maximum(x, y)
torch.lerp(x, y, 0.25)
torch.lerp(x, y, p)
torch.addcmul(x, y, p, value=0.5)
torch.addcdiv(x, y, p, value=0.5)
torch.clamp(x, -0.5, 0.5)
torch.clamp(x, min=0)
torch.clamp(x, max=0.25)
torch.clamp(x, min=y)
torch.clamp(x, min=p - 1, max=p)
torch.clamp(i, 1, 3)
x.clamp_min(0.1)
x.clamp_max(0.1)
x.clip(0, 1)
x == y
x != 0
x < y
x <= 0.5
x > y
i >= 2
torch.logical_and(m, i)
torch.logical_or(m, m)
torch.logical_xor(m, i)
torch.logical_not(i)
m & ~m
i | 1
i ^ j
6 & j
torch.where(m, x, y)
torch.where(m, x, 0.0)
torch.where(m, 1, 0)
torch.where(x > 0, x, s)
x.where(m, y)
torch.isclose(x, x + 1e-7)
torch.angle(c)
torch.conj(c)
torch.real(c)
c.imag
c.abs()
torch.complex(x, y)
x.real
torch.exp(i)
x.half() + 1
x.bfloat16() * 2
x.exp().log().sin()
"""

REDUCTIONS = """
x.sum()
x.sum(0)
x.sum(dim=(0, 1))
x.sum(dim=-1, keepdim=True)
i.sum()
m.sum()
x.sum(dtype=torch.float64)
x.mean()
x.mean(1)
x.mean((0, 1), keepdim=True)
x.prod()
x.prod(0)
x.prod(1, keepdim=True)
x.max()
x.min()
x.max(1).values
x.max(1).indices
x.min(0, keepdim=True)[0]
torch.max(x, y)
torch.min(x, other=y)
torch.max(i, 0)[1]
x.amax()
x.amax(0)
x.amin((0, 1))
torch.aminmax(x)[0]
x.argmax()
x.argmin(1)
x.argmax(0, keepdim=True)
x.var()
x.var(0)
x.var(1, unbiased=False)
x.var(dim=0, correction=0)
x.std()
x.std(1, keepdim=True)
torch.var_mean(x)[1]
torch.std_mean(x, 0)[0]
x.norm()
x.norm(1)
x.norm(dim=1)
x.norm(2, 0, True)
torch.norm(x, float("inf"))
x.logsumexp(0)
torch.logsumexp(x, (0, 1))
x.cumsum(0)
i.cumsum(1)
x.cumprod(1)
m.any()
m.any(1)
m.all()
x.all(0, keepdim=True)
torch.count_nonzero(i)
torch.count_nonzero(i, 0)
torch.trace(sq)
"""

PRODUCTS = """
sq @ sq
x @ v
v @ v
v @ sq
x.matmul(sq)
x.mm(sq)
x.mv(v)
v.dot(v)
torch.bmm(b, b.transpose(1, 2))
b @ sq
b @ v
torch.outer(v, w1)
torch.addmm(v, x, sq)
torch.addmm(x, x, sq, beta=0.5, alpha=2)
torch.baddbmm(x, b, sq.expand(4, 3, 3))
torch.einsum("ij,kj->ik", x, w)
torch.einsum("ij->j", x)
torch.einsum("bij,jk->bik", b, sq)
torch.tensordot(b, x, 2)
F.linear(x, w)
F.linear(x, w, w1)
F.linear(v, w, w1)
F.linear(b, w, w1)
F.linear(b, w)
F.bilinear(x, y, b.transpose(1, 2)[:, :, :1].expand(4, 3, 3), None)
"""

LAYOUT = """
torch.unravel_index(i, (2, 4))[0]
torch.unravel_index(i, (2, 4))[1]
torch.unravel_index(u, (3, 70))[1]
torch.tril_indices(3, 4, 1)
torch.triu_indices(4, 3, -1)
torch.triu_indices(4, 3, 2, dtype=torch.int32)
torch.bincount(cls)
torch.bincount(cls, minlength=5)
torch.bincount(cls, d[:, 0].detach())
x.view(-1)
x.view(3, 2)
x.view((3, -1))
x.reshape(6)
x.T.reshape(6)
x.reshape(1, 2, 3)
x.view_as(x.T.contiguous())
x.flatten()
b.flatten(1)
x.T.flatten()
x.unflatten(1, (3, 1))
x.ravel()
x.t()
x.T
b.mT
x.H
x.transpose(0, 1)
b.permute(2, 0, 1)
b.permute((1, 2, 0))
b.movedim(0, -1)
x.swapaxes(0, 1)
x.unsqueeze(0)
x.unsqueeze(-1).squeeze()
x.unsqueeze(1).squeeze(1)
x.unsqueeze(1).squeeze((0, 1))
v.expand(2, 3)
v.expand(2, -1)
v.expand_as(x)
torch.broadcast_to(v, (2, 3))
torch.broadcast_tensors(v, x)[0]
x.repeat(2, 1)
x.repeat(2, 1, 2)
x.tile(2)
torch.repeat_interleave(x, 2)
torch.repeat_interleave(x, 2, dim=1)
x.flip(0)
x.flip(0, 1)
x.fliplr()
x.roll(1)
x.roll((1, 1), (0, 1))
torch.rot90(x)
x.narrow(1, 0, 2)
x.select(0, 1)
x[0]
x[:, 1]
x[..., 1:]
x[None]
x[0, 1]
x[:, ::2]
x[idx[0]]
x[m]
x[m] * 2
x[i > 2]
x.diagonal()
sq.diagonal(1)
torch.diag(v)
torch.diag(sq)
torch.diag_embed(v)
sq.triu()
sq.triu(1)
sq.tril(-1)
x.split(1)[0]
x.split([1, 2], 1)[1]
x.chunk(2, 1)[0]
torch.tensor_split(x, 2, 1)[1]
x.unbind()[1]
x.T.contiguous()
x.contiguous()
x.clone()
torch.cat([x, y])
torch.cat([x, y], 1)
torch.cat((x, i))
torch.stack([x, y], -1)
torch.hstack([x, y])
torch.vstack([v, v])
torch.dstack([x, y])
x.gather(0, idx)
x.index_select(1, cls)
x.take_along_dim(idx, 0)
torch.scatter(x, 0, idx, y)
x.scatter(0, idx, 1.0)
x.scatter_add(0, idx, y)
x.index_add(0, idx[0, :2], y)
x.index_copy(0, idx[0, :2], y)
x.index_fill(1, cls, 2.0)
x.masked_fill(m, 0)
x.masked_fill(m, s)
torch.masked_select(x, m)
torch.nonzero(m)
torch.nonzero(i, as_tuple=True)[1]
torch.where(m)[0]
torch.unique(i)
"""

CASTS = """
x.double()
x.to(torch.float64)
x.to("cpu", torch.float16)
x.to(d)
x.to(torch.float32)
x.type(torch.int64)
x.type("torch.DoubleTensor")
x.type_as(d)
x.half()
x.bfloat16()
x.int()
x.long()
x.bool()
i.float()
u.short()
x.to(torch.complex64)
c.to(torch.complex128)
x.new_zeros(2)
i.new_ones((2, 2))
x.new_full((2,), 3)
i.new_tensor([1.5])
torch.zeros_like(i)
torch.ones_like(x, dtype=torch.int8)
torch.full_like(x, 2)
"""

NN = """
F.relu(x)
F.leaky_relu(x)
F.leaky_relu(x, 0.2)
F.prelu(x, p[0, :1])
F.elu(x)
F.celu(x, 0.7)
F.selu(x)
F.hardtanh(x)
F.relu6(x * 5)
F.threshold(x, 0.1, 0.5)
F.gelu(x)
F.gelu(x, approximate="tanh")
F.silu(x)
F.mish(x)
F.softplus(x)
F.softplus(x, beta=2, threshold=1)
F.logsigmoid(x)
F.softsign(x)
F.tanhshrink(x)
F.hardsigmoid(x)
F.hardswish(x)
F.softmax(x, 1)
F.softmax(x, dim=0, dtype=torch.float64)
F.log_softmax(x, -1)
F.softmin(x, 1)
x.softmax(0)
torch.log_softmax(x, 1)
F.dropout(x, 0.5, training=False)
F.dropout(x, 1.0)
F.mse_loss(x, y)
F.mse_loss(x, y, reduction="sum")
F.mse_loss(x, y, reduction="none")
F.l1_loss(x, y)
F.smooth_l1_loss(x, y)
F.smooth_l1_loss(x, y, beta=0.5, reduction="none")
F.huber_loss(x, y, delta=0.5)
F.binary_cross_entropy(p, p.detach())
F.binary_cross_entropy(p, m.float(), weight=i.float(), reduction="sum")
F.binary_cross_entropy_with_logits(x, m.float())
F.binary_cross_entropy_with_logits(x, p, weight=i.float(), pos_weight=v.detach().abs())
F.kl_div(x, p.detach())
F.kl_div(x, p.detach(), reduction="batchmean")
F.kl_div(x, y.detach(), reduction="sum", log_target=True)
F.nll_loss(F.log_softmax(x, 1), cls)
F.nll_loss(x, cls, reduction="none")
F.nll_loss(x, cls, weight=v.detach().abs(), reduction="sum")
F.nll_loss(x, cls, ignore_index=int(cls[0]))
F.cross_entropy(x, cls)
F.cross_entropy(x, cls, weight=v.detach().abs())
F.cross_entropy(x, cls, reduction="none")
F.cross_entropy(x, cls, label_smoothing=0.1)
F.cross_entropy(x, torch.softmax(y.detach(), 1))
F.cross_entropy(v, cls[0])
F.cross_entropy(im, i[:, :1, None].expand(2, 6, 6) % 3)
F.layer_norm(x, (3,))
F.layer_norm(x, (3,), v, p[0])
F.layer_norm(b, (2, 3))
F.batch_norm(x, None, None, training=True)
F.batch_norm(im, None, None, p[0], v, training=True)
F.batch_norm(im, v.detach(), p[0].detach(), p[1], v)
F.group_norm(im, 3)
F.group_norm(im, 1, p[0], v)
F.instance_norm(im)
F.normalize(x)
F.normalize(x, p=1, dim=0)
F.cosine_similarity(x, y)
F.embedding(idx, w)
F.embedding(idx, w, padding_idx=1)
F.one_hot(cls, 4)
F.one_hot(cls)
F.pad(x, (1, 2))
F.pad(x, (1, 0, 0, 1), value=2.5)
F.pad(x, (-1, 1))
F.pad(im, (1, 1, 2, 0), mode="reflect")
F.pad(im, (1, 1, 2, 0), mode="replicate")
F.pad(im, (1, 1, 2, 0), mode="circular")
F.conv2d(im, k)
F.conv2d(im, k, k1, stride=2, padding=1)
F.conv2d(im, k, padding="same")
F.conv2d(im, k[:, :1].repeat(3, 1, 1, 1), groups=3, dilation=2)
F.conv2d(im[0], k)
F.conv1d(b, sq[:, :2, None], padding=1)
F.max_pool2d(im, 2)
F.max_pool2d(im, 3, stride=2, padding=1)
F.max_pool2d(im, 3, stride=2, ceil_mode=True)
F.avg_pool2d(im, 2)
F.avg_pool2d(im, 3, stride=1, padding=1, count_include_pad=False)
F.adaptive_avg_pool2d(im, 1)
F.adaptive_avg_pool2d(im, (2, 3))
F.rms_norm(x, (3,), v)
F.conv3d(im[None], k[None, :1, :, :2, :2].expand(2, 2, 3, 2, 2))
F.conv_transpose1d(b, sq[:2, :, None], stride=2)
F.conv_transpose2d(im, k.transpose(0, 1), stride=2, padding=1, output_padding=1)
F.max_pool1d(b, 2)
F.max_pool2d(im, 2, return_indices=True)[1]
F.max_pool2d(im, 2, return_indices=True)[0]
F.max_pool3d(im, 2)
F.avg_pool1d(b, 2)
F.avg_pool3d(im, 2)
F.adaptive_avg_pool1d(b, 2)
F.unfold(im, 2, stride=2)
F.fold(im.reshape(2, 12, 9), (6, 6), 2, stride=2)
F.lp_pool2d(im, 2, 2)
F.lp_pool2d(im, 3, (2, 3), stride=2, ceil_mode=True)
F.lp_pool2d(im, float("inf"), 2)
F.lp_pool1d(im[0], float("-inf"), 2)
F.lp_pool3d(im * im + 0.1, 1.5, (1, 2, 2))
F.conv_tbc(im[0], torch.ones(2, im.shape[-1], 3), torch.ones(3), 1)
F.native_channel_shuffle(im.detach().reshape(2, 12, 3, 3), 2)
F.leaky_relu_(x * 1, 0.3)
F.elu_(x * 1, 0.5)
F.celu_(x * 1, 0.5)
F.selu_(x * 1)
F.hardtanh_(x * 1, -0.5, 0.2)
F.threshold_(x * 1, 0.1, 5)
F.rrelu_(x * 1, 0.2, 0.4)
F.pixel_shuffle(im.repeat(1, 4, 1, 1), 2)
F.pixel_unshuffle(im, 2)
x.unfold(1, 2, 1)
x.masked_scatter(m, y)
F.scaled_dot_product_attention(b, b, b)
F.scaled_dot_product_attention(b, b, b, is_causal=True)
"""

TABLES = {"pointwise": POINTWISE, "reductions": REDUCTIONS, "products": PRODUCTS, "layout": LAYOUT}
TABLES |= {"casts": CASTS, "nn": NN, "names": NAMES}
ROWS = [line for table in TABLES.values() for line in table.strip().splitlines()]

# What PyTorch composes of several recorded functions and gradmesh records as one, or the other way round, and
# functions whose grad_fn has a number of its own for numbers as operands, or in place.
COARSE = frozenset(
    """
torch.stft(im[0, 0], 4, 2, 3, v.detach().abs(), center=False, return_complex=True, align_to_window=True)
torch.stft(im[0, 0], 4, 2, 3, v.detach().abs(), center=False, return_complex=True, align_to_window=False)
torch.hinge_embedding_loss(x, m * 2 - 1)
torch.margin_ranking_loss(x, y, m * 2 - 1, 0.1)
torch.selu_(x.clone())
torch.threshold_(x.clone(), 0.1, 7.0)
torch.view_as_real_copy(c)
torch.bilinear(x, y, torch.ones(4, 3, 3))
torch.cosine_similarity(x, y)
torch.rms_norm(x, (3,))
torch.adaptive_max_pool1d(b, 2)[0]
torch.cosine_embedding_loss(x, y, torch.ones(2))
torch.triplet_margin_loss(x, y, p)
torch.ctc_loss(b.log_softmax(2), torch.tensor([[1, 2], [2, 1]]), [4, 3], [2, 1])
2 ** x
torch.round(x, decimals=1)
x.clamp_min(0.1)
x.clamp_max(0.1)
x.index_fill(1, cls, 2.0)
F.normalize(x)
F.lp_pool1d(im[0], float("-inf"), 2)
F.conv_tbc(im[0], torch.ones(2, im.shape[-1], 3), torch.ones(3), 1)
F.leaky_relu_(x * 1, 0.3)
F.elu_(x * 1, 0.5)
F.celu_(x * 1, 0.5)
F.selu_(x * 1)
F.threshold_(x * 1, 0.1, 5)
F.rrelu_(x * 1, 0.2, 0.4)
F.normalize(x, p=1, dim=0)
x.add(y, alpha=2)
torch.sub(x, y, alpha=0.5)
torch.real(c)
c.imag
torch.aminmax(x)[0]
v @ sq
b @ sq
b @ v
torch.outer(v, w1)
torch.einsum("ij,kj->ik", x, w)
torch.einsum("ij->j", x)
torch.einsum("bij,jk->bik", b, sq)
torch.tensordot(b, x, 2)
F.linear(b, w)
F.bilinear(x, y, b.transpose(1, 2)[:, :, :1].expand(4, 3, 3), None)
x.T.reshape(6)
x.T.flatten()
torch.repeat_interleave(x, 2)
torch.repeat_interleave(x, 2, dim=1)
torch.vstack([v, v])
torch.dstack([x, y])
x.take_along_dim(idx, 0)
torch.masked_select(x, m)
F.prelu(x, p[0, :1])
F.cross_entropy(x, cls, label_smoothing=0.1)
F.cross_entropy(x, torch.softmax(y.detach(), 1))
F.cross_entropy(im, i[:, :1, None].expand(2, 6, 6) % 3)
F.instance_norm(im)
F.conv2d(im[0], k)
F.rms_norm(x, (3,), v)
F.max_pool1d(b, 2)
F.avg_pool1d(b, 2)
F.adaptive_avg_pool1d(b, 2)
F.cosine_similarity(x, y)
F.pad(im, (1, 1, 2, 0), mode="circular")
F.scaled_dot_product_attention(b, b, b)
F.scaled_dot_product_attention(b, b, b, is_causal=True)
""".strip().splitlines()
)

# z is x * 1, written to.
IN_PLACE = """
z.add_(y)
z.add_(1)
z.sub_(y, alpha=2)
z.mul_(y)
z.div_(2)
z.pow_(2)
z.exp_()
z.sigmoid_()
z.relu_()
z.tanh_()
z.neg_()
z.clamp_(-0.5, 0.5)
z.masked_fill_(m, 0)
z.scatter_add_(0, idx, y)
z.index_add_(0, idx[0, :2], y)
z.copy_(y)
z.copy_(v)
z.copy_(i)
z.fill_(2)
z.zero_()
z.triu_()
z.lerp_(y, 0.5)
z.addcmul_(x, y)
z.cumsum_(0)
z.add_(i)
z[0].mul_(2)
z.as_strided((2, 2), (3, 1), 1).mul_(3)
z[1].as_strided((2,), (2,)).zero_()
z.t().add_(1)
z.view(-1)[1:3].zero_()
"""

# What both refuse, and the class of PyTorch's error.
REFUSED = """
torch.exp(2) | TypeError
torch.add(x, "a") | TypeError
x + "a" | TypeError
x.sum(dim=5) | IndexError
x.view(5) | RuntimeError
x.T.view(6) | RuntimeError
x @ x | RuntimeError
x + w | RuntimeError
x.reshape(-1, -1) | RuntimeError
torch.cat([]) | (RuntimeError, ValueError)
torch.cat(x, "a") | TypeError
i ** -1 | RuntimeError
m - m | RuntimeError
-m | RuntimeError
~x | (TypeError, RuntimeError)
i.mean() | RuntimeError
x.add_(b) | RuntimeError
i.add_(1.5) | RuntimeError
i.requires_grad_() | RuntimeError
torch.add(i, 1, alpha=2.5) | RuntimeError
x.narrow(1, 0, 9) | RuntimeError
x.squeeze(4) | IndexError
b.t() | RuntimeError
x.permute(0, 0) | RuntimeError
torch.clamp(x) | RuntimeError
F.dropout(x, 2.0) | ValueError
F.mse_loss(x, y, reduction="most") | ValueError
F.batch_norm(x, None, None) | RuntimeError
F.cross_entropy(x, v) | (RuntimeError, ValueError)
divmod(x, 2) | TypeError
torch.stft(im[0, 0], 4, return_complex=True, align_to_window=True) | RuntimeError
torch.istft(torch.ones(3, 4) * 1j, 4, 4, window=torch.zeros(4)).tolist() | RuntimeError
torch.istft(torch.ones(3, 4) * 1j, 4, 4, window=torch.hann_window(4), center=False).tolist() | RuntimeError
torch.istft(torch.ones(3, 4) * 1j, 4, 5) | RuntimeError
torch.istft(torch.ones(3, 4), 4) | RuntimeError
x.imag | RuntimeError
"""
