"""Programs about numbers and arrays, each with what PyTorch 2.13 prints for it; see test_programs.py.

`torch` names the library under test and `fails(call, n)` prints the first n characters of the error a
call raises. Addresses are left out.
"""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


program(
    "numpy_interplay",
    """
import numpy as np
x = torch.tensor([[1., 2.], [3., 4.]])
a = np.asarray(x)
print(type(a).__name__, a.dtype, a.shape, a.sum())
print(np.array(x, dtype=np.float64).dtype, np.sum(x.numpy()), x.numpy().T.tolist())
t = torch.from_numpy(np.arange(4, dtype=np.int32))
print(t, torch.tensor(np.float64(2.5)), torch.tensor(np.arange(3)), torch.as_tensor(np.ones(2, np.float32)))
print(x * np.float32(2), x + np.float64(1), np.int64(3) + torch.tensor([1, 2]))
print((x * np.float64(0.5)).dtype, (torch.tensor([1]) * np.float64(0.5)).dtype, (torch.tensor([1]) + np.int32(1)).dtype)
print(torch.tensor([np.float32(1.5), 2]), torch.tensor([[np.int64(1)], [2]]))
print(x[np.array([1, 0])], x[np.array([True, False])], x[np.int64(1), np.int64(0)])
print(float(x[0, 1]), int(x[1, 1]), complex(x[0, 0]), bool(x[0, 0] > 5), round(float(torch.tensor(2.567)), 1))
w = torch.ones(2, requires_grad=True)
fails(lambda: np.asarray(w))
print(np.asarray(w.detach()), w.detach().numpy().mean())
print(np.allclose(x.exp().log().numpy(), x.numpy()), torch.tensor(x.numpy().copy()).equal(x))
print(torch.tensor([1, 2]).numpy().dtype, torch.tensor([True]).numpy().dtype, torch.tensor([1j]).numpy().dtype)
print(list(map(float, x.flatten())), sum(x.flatten()), max(x.flatten()))
""",
    """
ndarray float32 (2, 2) 10.0
float64 10.0 [[1.0, 3.0], [2.0, 4.0]]
tensor([0, 1, 2, 3], dtype=torch.int32) tensor(2.5000, dtype=torch.float64) tensor([0, 1, 2]) tensor([1., 1.])
tensor([[2., 4.],
        [6., 8.]]) tensor([[2., 3.],
        [4., 5.]]) tensor([4, 5])
torch.float32 torch.float32 torch.int64
tensor([1.5000, 2.0000]) tensor([[1],
        [2]])
tensor([[3., 4.],
        [1., 2.]]) tensor([[1., 2.]]) tensor(3.)
2.0 4 (1+0j) False 2.6
raises Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.
[1. 1.] 1.0
True True
int64 bool complex64
[1.0, 2.0, 3.0, 4.0] tensor(10.) tensor(4.)
""",
)


program(
    "limits_of_types",
    """
for d in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
    f = torch.finfo(d)
    print(f.bits, f.eps, f.max, f.min, f.dtype)
    print(f.tiny, f.smallest_normal, f.resolution)
for d in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
    i = torch.iinfo(d)
    print(i.bits, i.min, i.max, i.dtype)
print(str(torch.finfo(torch.float32))[:60])
print(torch.iinfo(torch.int8))
print(torch.finfo().dtype, torch.get_default_dtype())
fails(lambda: torch.finfo(torch.int32), 78)
fails(lambda: torch.iinfo(torch.float32), 71)
print(torch.tensor(200, dtype=torch.uint8) + torch.tensor(100, dtype=torch.uint8))
print(torch.tensor([127], dtype=torch.int8) + 1, -torch.tensor([-128], dtype=torch.int8))
print(torch.tensor(1.) + torch.finfo(torch.float32).eps == 1, torch.tensor(65504.).half() * 2)
print(torch.promote_types(torch.int32, torch.float16))
print(torch.result_type(torch.tensor([1]), 2.5))
print(torch.can_cast(torch.float32, torch.int32))
print(torch.float32.is_floating_point, torch.complex64.is_complex, torch.int8.itemsize)
""",
    """
16 0.0009765625 65504.0 -65504.0 float16
6.103515625e-05 6.103515625e-05 0.001
16 0.0078125 3.3895313892515355e+38 -3.3895313892515355e+38 bfloat16
1.1754943508222875e-38 1.1754943508222875e-38 0.01
32 1.1920928955078125e-07 3.4028234663852886e+38 -3.4028234663852886e+38 float32
1.1754943508222875e-38 1.1754943508222875e-38 1e-06
64 2.220446049250313e-16 1.7976931348623157e+308 -1.7976931348623157e+308 float64
2.2250738585072014e-308 2.2250738585072014e-308 1e-15
8 0 255 uint8
8 -128 127 int8
16 -32768 32767 int16
32 -2147483648 2147483647 int32
64 -9223372036854775808 9223372036854775807 int64
finfo(resolution=1e-06, min=-3.40282e+38, max=3.40282e+38, e
iinfo(min=-128, max=127, dtype=int8)
float32 torch.float32
raises torch.finfo() requires a floating point input type. Use torch.iinfo to handle
raises torch.iinfo() requires an integer input type. Use torch.finfo to handle
tensor(44, dtype=torch.uint8)
tensor([-128], dtype=torch.int8) tensor([-128], dtype=torch.int8)
tensor(False) tensor(inf, dtype=torch.float16)
torch.float16
torch.float32
False
True True 1
""",
)


program(
    "division_and_rounding",
    """
a = torch.tensor([7, -7, 7, -7])
b = torch.tensor([2, 2, -2, -2])
print(a / b)
print(a // b)
print(a % b)
print(torch.fmod(a, b))
print(torch.div(a, b, rounding_mode='trunc'))
x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
print(x.round())
print(x.floor())
print(x.ceil())
print(x.trunc())
print(x.frac())
print(torch.tensor([1.2345, 6.7891]).round(decimals=2))
print(x % 2)
print(x // 2)
fails(lambda: (a // 0).tolist(), 17)
print(torch.tensor([1., 0., -1.]) / 0)
print(x.sign())
print(x.neg())
print(x.abs())
print(torch.tensor([5, 3]) ** 2)
print(2 ** torch.tensor([3, -1.]))
fails(lambda: torch.tensor([2]) ** -1)
print(torch.tensor([2.5]).to(torch.int32), torch.tensor([-1.7]).long(), torch.tensor([0.1, 0.]).bool())
print(~torch.tensor([True, False]), ~torch.tensor([5]), torch.tensor([6]) & 3, torch.tensor([6]) ^ 3)
y = torch.tensor([1.7, -1.2], requires_grad=True)
(y.round() + y.floor() * 2 + y % 1 + torch.fmod(y, 1)).sum().backward()
print(y.grad)
print(torch.logspace(0, 3, 4))
print(torch.linspace(0, 1, 5))
print(torch.arange(1, 2, 0.25))
print(torch.arange(5, 0, -2))
""",
    """
tensor([ 3.5000, -3.5000, -3.5000,  3.5000])
tensor([ 3, -4, -4,  3])
tensor([ 1,  1, -1, -1])
tensor([ 1, -1,  1, -1])
tensor([ 3, -3, -3,  3])
tensor([-2., -2., -0.,  0.,  2.,  2.])
tensor([-3., -2., -1.,  0.,  1.,  2.])
tensor([-2., -1., -0.,  1.,  2.,  3.])
tensor([-2., -1., -0.,  0.,  1.,  2.])
tensor([-0.5000, -0.5000, -0.5000,  0.5000,  0.5000,  0.5000])
tensor([1.2300, 6.7900])
tensor([1.5000, 0.5000, 1.5000, 0.5000, 1.5000, 0.5000])
tensor([-2., -1., -1.,  0.,  0.,  1.])
raises ZeroDivisionError
tensor([inf, nan, -inf])
tensor([-1., -1., -1.,  1.,  1.,  1.])
tensor([ 2.5000,  1.5000,  0.5000, -0.5000, -1.5000, -2.5000])
tensor([2.5000, 1.5000, 0.5000, 0.5000, 1.5000, 2.5000])
tensor([25,  9])
tensor([8.0000, 0.5000])
raises Integers to negative integer powers are not allowed.
tensor([2], dtype=torch.int32) tensor([-1]) tensor([ True, False])
tensor([False,  True]) tensor([-6]) tensor([2]) tensor([5])
tensor([2., 2.])
tensor([   1.,   10.,  100., 1000.])
tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
tensor([1.0000, 1.2500, 1.5000, 1.7500])
tensor([5, 3, 1])
""",
)


program(
    "solving",
    """
A = torch.tensor([[4., 1.], [2., 3.]], dtype=torch.float64, requires_grad=True)
b = torch.tensor([1., 2.], dtype=torch.float64, requires_grad=True)
x = torch.linalg.solve(A, b)
print(x)
x.sum().backward()
print(A.grad, b.grad)
A.grad = None
d = torch.linalg.det(A)
d.backward()
print(d, A.grad, torch.allclose(A.grad, d * torch.linalg.inv(A).T))
q, r = torch.linalg.qr(A)
print(torch.allclose(q @ r, A), torch.allclose(q.T @ q, torch.eye(2, dtype=torch.float64)), r[1, 0])
s = torch.linalg.svdvals(A)
print(s)
print(torch.linalg.matrix_norm(A))
print(torch.linalg.cond(A))
sign, log = torch.linalg.slogdet(A)
print(sign)
print(log)
S = A.detach() @ A.detach().T
L = torch.linalg.cholesky(S)
print(L, torch.allclose(L @ L.T, S))
values, vectors = torch.linalg.eigh(S)
print(values, torch.allclose(vectors @ torch.diag(values) @ vectors.T, S))
fails(lambda: torch.linalg.inv(torch.zeros(2, 2)).tolist(), 60)
fails(lambda: torch.linalg.cholesky(-torch.eye(2)).tolist(), 60)
fails(lambda: torch.linalg.solve(torch.ones(2, 3), torch.ones(2)), 60)
print(torch.linalg.matrix_rank(torch.ones(3, 3)), torch.trace(A), torch.linalg.matrix_power(A, 3))
print(torch.linalg.lstsq(torch.tensor([[1., 0.], [1., 1.], [1., 2.]]), torch.tensor([[1.], [3.], [5.]])).solution)
""",
    """
tensor([0.1000, 0.6000], dtype=torch.float64, grad_fn=<LinalgSolveExBackward0>)
tensor([[-0.0100, -0.0600],
        [-0.0300, -0.1800]], dtype=torch.float64) tensor([0.1000, 0.3000], dtype=torch.float64)
tensor(10., dtype=torch.float64, grad_fn=<LinalgDetBackward0>) tensor([[ 3., -2.],
        [-1.,  4.]], dtype=torch.float64) True
True True tensor(0., dtype=torch.float64, grad_fn=<SelectBackward0>)
tensor([5.1167, 1.9544], dtype=torch.float64, grad_fn=<LinalgSvdBackward0>)
tensor(5.4772, dtype=torch.float64, grad_fn=<LinalgVectorNormBackward0>)
tensor(2.6180, dtype=torch.float64, grad_fn=<SqueezeBackward1>)
tensor(1., dtype=torch.float64, grad_fn=<LinalgSlogdetBackward0>)
tensor(2.3026, dtype=torch.float64, grad_fn=<LinalgSlogdetBackward0>)
tensor([[4.1231, 0.0000],
        [2.6679, 2.4254]], dtype=torch.float64) True
tensor([ 3.8197, 26.1803], dtype=torch.float64) True
raises linalg.inv: The diagonal element 1 is zero, the inversion co
raises linalg.cholesky: The factorization could not be completed be
raises linalg.solve: A must be batches of square matrices, but they
tensor(1) tensor(7., dtype=torch.float64, grad_fn=<TraceBackward0>) tensor([[86., 39.],
        [78., 47.]], dtype=torch.float64, grad_fn=<MmBackward0>)
tensor([[1.0000],
        [2.0000]])
""",
)


program(
    "spectra",
    """
x = torch.tensor([1., 2., 0., -1.], dtype=torch.float64, requires_grad=True)
f = torch.fft.fft(x)
print(f.detach(), f.dtype)
back = torch.fft.ifft(f).real
print(torch.allclose(back, x))
(back * torch.arange(4)).sum().backward()
print(x.grad)
x.grad = None
r = torch.fft.rfft(x)
(r.abs() ** 2).sum().backward()
print(r.shape, x.grad)
print(torch.fft.irfft(r.detach(), n=4))
print(torch.fft.fftfreq(4))
print(torch.fft.rfftfreq(4))
print(torch.fft.fftshift(torch.arange(5)), torch.fft.fft2(torch.eye(2)))
z = torch.tensor([3 + 4j, 1j], requires_grad=True)
print(z.abs())
print(z.angle())
print(z.real)
print(z.conj())
print(torch.view_as_real(z))
z.abs().sum().backward()
print(z.grad)
print(torch.polar(torch.tensor(2.), torch.tensor(0.)), torch.complex(torch.tensor(1.), torch.tensor(-1.)))
""",
    """
tensor([2.+0.j, 1.-3.j, 0.+0.j, 1.+3.j], dtype=torch.complex128) torch.complex128
True
tensor([0., 1., 2., 3.], dtype=torch.float64)
torch.Size([3]) tensor([ 6., 10.,  2., -2.], dtype=torch.float64)
tensor([ 1.,  2.,  0., -1.], dtype=torch.float64)
tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
tensor([0.0000, 0.2500, 0.5000])
tensor([3, 4, 0, 1, 2]) tensor([[2.+0.j, 0.+0.j],
        [0.+0.j, 2.+0.j]])
tensor([5., 1.], grad_fn=<AbsBackward0>)
tensor([0.9273, 1.5708], grad_fn=<AngleBackward0>)
tensor([3., 0.], grad_fn=<SelectBackward0>)
tensor([3.-4.j, 0.-1.j], grad_fn=<ConjBackward0>)
tensor([[3., 4.],
        [0., 1.]], grad_fn=<ViewAsRealBackward0>)
tensor([0.6000+0.8000j, 0.0000+1.0000j])
tensor(2.+0.j) tensor(1.-1.j)
""",
)


program(
    "sorting",
    """
x = torch.tensor([[3., 1., 2.], [0., 5., 4.]], requires_grad=True)
v, i = x.sort(1)
print(v, i)
(v * torch.tensor([1., 10., 100.])).sum().backward()
print(x.grad)
x.grad = None
t = x.topk(2, dim=1)
print(t)
(t.values ** 2).sum().backward()
print(x.grad)
x.grad = None
k = torch.kthvalue(x, 2, dim=1)
print(k.values, k.indices)
m = x.median(dim=1)
(m.values.sum() + x.median()).backward()
print(m.indices, x.grad)
print(torch.tensor([3, 1, 2]).argsort(descending=True), x.argmax(), x.argmin(1), x.amax(0))
print(torch.tensor([2, 1, 2, 3, 1]).unique(return_counts=True), torch.tensor([1, 1, 2, 2, 1]).unique_consecutive())
print(torch.searchsorted(torch.tensor([1., 3., 5.]), torch.tensor([0., 3., 6.])))
print(torch.bucketize(torch.tensor([2.]), torch.tensor([1., 3.])))
print(torch.bincount(torch.tensor([0, 1, 1, 3])), torch.histc(torch.tensor([1., 2., 1.]), 4, 0, 3))
x.grad = None
x.amax(dim=(0, 1)).backward()
torch.tensor([1., 1.], requires_grad=True).amax()
y = torch.tensor([2., 2., 1.], requires_grad=True)
y.max().backward()
print(y.grad)
y.grad = None
y.amax().backward()
print(y.grad)
print(torch.msort(torch.tensor([3, 1])))
print(torch.quantile(torch.tensor([1., 2., 4.]), torch.tensor([0.25, 0.5])))
print(x.std())
print(x.var(1, correction=0))
fails(lambda: x.topk(4))
""",
    """
tensor([[1., 2., 3.],
        [0., 4., 5.]], grad_fn=<SortBackward0>) tensor([[1, 2, 0],
        [0, 2, 1]])
tensor([[100.,   1.,  10.],
        [  1., 100.,  10.]])
torch.return_types.topk(
values=tensor([[3., 2.],
        [5., 4.]], grad_fn=<TopkBackward0>),
indices=tensor([[0, 2],
        [1, 2]]))
tensor([[ 6.,  0.,  4.],
        [ 0., 10.,  8.]])
tensor([2., 4.], grad_fn=<KthvalueBackward0>) tensor([2, 2])
tensor([2, 2]) tensor([[0., 0., 2.],
        [0., 0., 1.]])
tensor([0, 2, 1]) tensor(4) tensor([1, 0]) tensor([3., 5., 4.], grad_fn=<AmaxBackward0>)
(tensor([1, 2, 3]), tensor([2, 2, 1])) tensor([1, 2, 1])
tensor([0, 1, 3])
tensor([1])
tensor([1, 2, 0, 1]) tensor([0., 2., 1., 0.])
tensor([0.5000, 0.5000, 0.0000])
tensor([0.5000, 0.5000, 0.0000])
tensor([1, 3])
tensor([1.5000, 2.0000])
tensor(1.8708, grad_fn=<StdBackward0>)
tensor([0.6667, 4.6667], grad_fn=<VarBackward0>)
raises selected index k out of range
""",
)


program(
    "masks",
    """
x = torch.tensor([[1., -2., 3.], [-4., 5., -6.]], requires_grad=True)
m = x > 0
print(m, m.sum(), m.any(1), m.all(0), m.nonzero(), m.dtype)
p = x.masked_select(m)
print(p)
f = x.masked_fill(~m, float('-inf')).softmax(1)
print(f)
(p.sum() + (f * torch.arange(3.)).sum()).backward()
print(x.grad)
x.grad = None
w = torch.where(m, x ** 2, x * 10)
print(w)
w.sum().backward()
print(x.grad)
y = torch.zeros(2, 3).masked_scatter(m, torch.tensor([7., 8., 9.]))
print(y, torch.where(torch.tensor([True, False]), 1, 2), torch.where(m, x.detach(), 0.))
print(torch.nonzero(m, as_tuple=True), torch.count_nonzero(x), torch.isfinite(f / 0))
print(x.detach().tril(), torch.triu(torch.ones(3, 3, dtype=torch.bool), 1))
print(torch.nan_to_num(torch.tensor([float('nan'), float('inf')])))
print(torch.isclose(torch.tensor([1.]), torch.tensor([1. + 1e-6])))
print(torch.nanmean(torch.tensor([1., float('nan'), 3.])), torch.logical_xor(m[0], m[1]))
fails(lambda: x.masked_fill(m, torch.ones(2)))
fails(lambda: torch.masked_select(x, torch.ones(2, 3)))
""",
    """
tensor([[ True, False,  True],
        [False,  True, False]]) tensor(3) tensor([True, True]) tensor([False, False, False]) tensor([[0, 0],
        [0, 2],
        [1, 1]]) torch.bool
tensor([1., 3., 5.], grad_fn=<MaskedSelectBackward0>)
tensor([[0.1192, 0.0000, 0.8808],
        [0.0000, 1.0000, 0.0000]], grad_fn=<SoftmaxBackward0>)
tensor([[0.7900, 0.0000, 1.2100],
        [0.0000, 1.0000, 0.0000]])
tensor([[  1., -20.,   9.],
        [-40.,  25., -60.]], grad_fn=<WhereBackward0>)
tensor([[ 2., 10.,  6.],
        [10., 10., 10.]])
tensor([[7., 0., 8.],
        [0., 9., 0.]]) tensor([1, 2]) tensor([[1., 0., 3.],
        [0., 5., 0.]])
(tensor([0, 0, 1]), tensor([0, 2, 1])) tensor(6) tensor([[False, False, False],
        [False, False, False]])
tensor([[ 1.,  0.,  0.],
        [-4.,  5.,  0.]]) tensor([[False,  True,  True],
        [False, False,  True],
        [False, False, False]])
tensor([0.0000e+00, 3.4028e+38])
tensor([True])
tensor(2.) tensor([True, True, True])
raises masked_fill_ only supports a 0-dimensional value tensor, but got tensor with 1 dimension(s
raises masked_select: expected BoolTensor for mask
""",
)


program(
    "einstein",
    """
a = torch.arange(6.).reshape(2, 3).requires_grad_()
b = torch.arange(12.).reshape(3, 4).requires_grad_()
c = torch.einsum('ij,jk->ik', a, b)
print(c)
c.sum().backward()
print(a.grad, b.grad)
print(torch.einsum('ii', torch.ones(3, 3)))
print(torch.einsum('ij->ji', a).shape)
print(torch.einsum('ij->', a))
print(torch.einsum('ij,ij->i', a, a))
print(torch.einsum('bij,bjk->bik', torch.ones(2, 1, 3), torch.ones(2, 3, 1)), torch.einsum('...i,...i', a, a))
print(torch.einsum('i,j', torch.tensor([1., 2.]), torch.tensor([3., 4.])))
print(torch.einsum('ii->i', torch.diag(torch.tensor([5., 6.]))))
print(torch.tensordot(a, b, dims=1).shape, torch.outer(a[0], a[1]), torch.kron(torch.eye(2), torch.tensor([[1., 2.]])))
print(torch.bmm(torch.ones(2, 2, 3), torch.ones(2, 3, 1)).shape)
print(a @ b[:, 0])
print(torch.addmm(torch.ones(2, 4), a, b, beta=2, alpha=0.5))
fails(lambda: a @ a)
fails(lambda: a @ b.t())
""",
    """
tensor([[20., 23., 26., 29.],
        [56., 68., 80., 92.]], grad_fn=<ViewBackward0>)
tensor([[ 6., 22., 38.],
        [ 6., 22., 38.]]) tensor([[3., 3., 3., 3.],
        [5., 5., 5., 5.],
        [7., 7., 7., 7.]])
tensor(3.)
torch.Size([3, 2])
tensor(15., grad_fn=<SumBackward1>)
tensor([ 5., 50.], grad_fn=<ViewBackward0>)
tensor([[[3.]],

        [[3.]]]) tensor([ 5., 50.], grad_fn=<ViewBackward0>)
tensor([[3., 4.],
        [6., 8.]])
tensor([5., 6.])
torch.Size([2, 4]) tensor([[ 0.,  0.,  0.],
        [ 3.,  4.,  5.],
        [ 6.,  8., 10.]], grad_fn=<MulBackward0>) tensor([[1., 2., 0., 0.],
        [0., 0., 1., 2.]])
torch.Size([2, 2, 1])
tensor([20., 56.], grad_fn=<MvBackward0>)
tensor([[12.0000, 13.5000, 15.0000, 16.5000],
        [30.0000, 36.0000, 42.0000, 48.0000]], grad_fn=<AddmmBackward0>)
raises mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)
raises mat1 and mat2 shapes cannot be multiplied (2x3 and 4x3)
""",
)


program(
    "running",
    """
x = torch.tensor([2., 0., 3., 4.], requires_grad=True)
print(x.cumsum(0))
print(x.cumprod(0))
print(x.cummax(0))
print(x.cummin(0).values)
print(x.logcumsumexp(0))
x.cumprod(0).sum().backward()
print(x.grad)
x.grad = None
(x.cumsum(0) * torch.arange(4.)).sum().backward()
print(x.grad)
x.grad = None
x.cummax(0).values.sum().backward()
print(x.grad)
x.grad = None
x.prod().backward()
print(x.grad)
x.grad = None
(x.diff() ** 2).sum().backward()
print(x.grad)
print(torch.trapezoid(x))
print(torch.cumulative_trapezoid(x))
print(torch.gradient(x)[0])
print(torch.tensor([1, 2]).cumsum(0))
print(torch.tensor([True, True]).cumsum(0))
print(x.flip(0))
print(x.roll(1))
print(torch.stack([x, x]).cumsum(1)[1])
print(x.logsumexp(0))
print(x.norm())
print(x.detach().std(correction=0))
print(torch.combinations(torch.tensor([1, 2, 3])), torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3, 4])))
print(torch.zeros(5).index_add(0, torch.tensor([0, 0, 4]), torch.ones(3)))
print(torch.zeros(3).scatter_reduce(0, torch.tensor([0, 0, 2]), torch.tensor([1., 5., 2.]), 'amax'))
fails(lambda: x.cumsum(1))
""",
    """
tensor([2., 2., 5., 9.], grad_fn=<CumsumBackward0>)
tensor([2., 0., 0., 0.], grad_fn=<CumprodBackward0>)
torch.return_types.cummax(
values=tensor([2., 2., 3., 4.], grad_fn=<CummaxBackward0>),
indices=tensor([0, 0, 2, 3]))
tensor([2., 0., 0., 0.], grad_fn=<CumminBackward0>)
tensor([2.0000, 2.1269, 3.3490, 4.4197], grad_fn=<LogcumsumexpBackward0>)
tensor([ 1., 32.,  0.,  0.])
tensor([6., 6., 5., 3.])
tensor([2., 0., 1., 1.])
tensor([ 0., 24.,  0.,  0.])
tensor([  4., -10.,   4.,   2.])
tensor(6., grad_fn=<MulBackward1>)
tensor([1.0000, 2.5000, 6.0000], grad_fn=<CumsumBackward0>)
tensor([-2.0000,  0.5000,  2.0000,  1.0000], grad_fn=<CatBackward0>)
tensor([1, 3])
tensor([1, 2])
tensor([4., 3., 0., 2.], grad_fn=<FlipBackward0>)
tensor([4., 2., 0., 3.], grad_fn=<RollBackward0>)
tensor([2., 2., 5., 9.], grad_fn=<SelectBackward0>)
tensor(4.4197, grad_fn=<LogsumexpBackward0>)
tensor(5.3852, grad_fn=<LinalgVectorNormBackward0>)
tensor(1.4790)
tensor([[1, 2],
        [1, 3],
        [2, 3]]) tensor([[1, 3],
        [1, 4],
        [2, 3],
        [2, 4]])
tensor([2., 0., 0., 0., 1.])
tensor([5., 0., 2.])
raises Dimension out of range (expected to be in range of [-1, 0], but got 1)
""",
)
