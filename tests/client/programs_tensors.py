"""Programs about views, writes, indexing and reading, each with what PyTorch 2.13 prints for it; see test_programs.py.

`torch` names the library under test and `fails(call, n)` prints the first n characters of the error a
call raises. Addresses are left out.
"""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


program(
    "detach_shares",
    """
x = torch.ones(3)
y = x.detach()
y[0] = 5
print(x, x._version, y._version)
w = torch.ones(3, requires_grad=True)
v = w.detach()
v.add_(1)
print(w, w.is_leaf, w.requires_grad, w._version)
(w * w).sum().backward()
print(w.grad)
d = w.data
d.mul_(2)
print(w, w._version)
""",
    """
tensor([5., 1., 1.]) 1 1
tensor([2., 2., 2.], requires_grad=True) True True 1
tensor([4., 4., 4.])
tensor([4., 4., 4.], requires_grad=True) 1
""",
)

program(
    "views",
    """
x = torch.arange(6.).reshape(2, 3)
y = x[0]
y.mul_(10)
print(x)
z = x.t()
z[2, 1] = -1
print(x)
print(y)
v = x.view(-1)
v[3:5] = torch.tensor([7., 8.])
print(x, z)
print(x._version, v._version, y._version)
a, b = x.split(1)
b.zero_()
print(x)
d = x.diagonal()
d.fill_(9)
print(x)
print(x.unsqueeze(0)[0, 1].add_(1), x)
""",
    """
tensor([[ 0., 10., 20.],
        [ 3.,  4.,  5.]])
tensor([[ 0., 10., 20.],
        [ 3.,  4., -1.]])
tensor([ 0., 10., 20.])
tensor([[ 0., 10., 20.],
        [ 7.,  8., -1.]]) tensor([[ 0.,  7.],
        [10.,  8.],
        [20., -1.]])
3 3 3
tensor([[ 0., 10., 20.],
        [ 0.,  0.,  0.]])
tensor([[ 9., 10., 20.],
        [ 0.,  9.,  0.]])
tensor([ 1., 10.,  1.]) tensor([[ 9., 10., 20.],
        [ 1., 10.,  1.]])
""",
)

program(
    "views_autograd",
    """
w = torch.ones(2, 2, requires_grad=True)
x = w * 1
y = x[0]
y.mul_(3)
print(x.grad_fn.name(), y.grad_fn.name())
(x * x).sum().backward()
print(w.grad)
x = w * 2
v = x.view(4)
x.mul_(5)
print(v.grad_fn.name(), v)
v[0].backward()
print(w.grad)
x = w.clone()
x[0] = torch.zeros(2)
x[1, 1] = 4
(x * x).sum().backward()
print(w.grad)
""",
    """
torch::autograd::CopySlices AsStridedBackward0
tensor([[18., 18.],
        [ 2.,  2.]])
AsStridedBackward0 tensor([10., 10., 10., 10.], grad_fn=<AsStridedBackward0>)
tensor([[28., 18.],
        [ 2.,  2.]])
tensor([[28., 18.],
        [ 4.,  2.]])
""",
)

program(
    "base",
    """
x = torch.ones(2, 2)
y = x[0]
print(y._is_view(), y._base is x, x._is_view(), y[0]._base is x)
""",
    """
True True False True
""",
)

program(
    "indexing",
    """
x = torch.arange(24.).reshape(2, 3, 4)
print(x[1])
print(x[:, 1, ::2])
print(x[..., -1])
print(x[None, 0, 1].shape, x[:, None].shape, x[0, ..., None].shape)
print(x[torch.tensor([1, 0])].shape)
print(x[:, torch.tensor([0, 2])])
print(x[torch.tensor([0, 1]), torch.tensor([2, 0])])
print(x[x > 20])
print(x[0][x[0, :, 0] > 3])
print(x[[0, 1], :, [1, 2]])
print(x[1, [0, 2], 1:3])
print(x[torch.tensor(1), 2, torch.tensor(3)])
print(x[-1, -1, -1].item())
fails(lambda: x[5])
fails(lambda: x[0, 0, 0, 0])
fails(lambda: x[::-1])
fails(lambda: torch.tensor(1.)[0])
fails(lambda: x[torch.tensor([True, False, True])])
""",
    """
tensor([[12., 13., 14., 15.],
        [16., 17., 18., 19.],
        [20., 21., 22., 23.]])
tensor([[ 4.,  6.],
        [16., 18.]])
tensor([[ 3.,  7., 11.],
        [15., 19., 23.]])
torch.Size([1, 4]) torch.Size([2, 1, 3, 4]) torch.Size([3, 4, 1])
torch.Size([2, 3, 4])
tensor([[[ 0.,  1.,  2.,  3.],
         [ 8.,  9., 10., 11.]],

        [[12., 13., 14., 15.],
         [20., 21., 22., 23.]]])
tensor([[ 8.,  9., 10., 11.],
        [12., 13., 14., 15.]])
tensor([21., 22., 23.])
tensor([[ 4.,  5.,  6.,  7.],
        [ 8.,  9., 10., 11.]])
tensor([[ 1.,  5.,  9.],
        [14., 18., 22.]])
tensor([[13., 14.],
        [21., 22.]])
tensor(23.)
23.0
raises index 5 is out of bounds for dimension 0 with size 2
raises too many indices for tensor of dimension 3
raises step must be greater than zero
raises invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C+
raises The shape of the mask [3] at index 0 does not match the shape of the indexed tensor [2, 3,
""",
)

program(
    "setitem",
    """
x = torch.zeros(3, 4)
x[0] = 1
x[:, 1] = torch.tensor([5., 6., 7.])
x[1:, 2:] = torch.ones(2, 2) * 3
x[torch.tensor([0, 2]), torch.tensor([3, 3])] = torch.tensor([8., 9.])
print(x)
x[x > 6] = -1
print(x)
x[..., 0] += 10
print(x)
x[1][2] = 100
print(x)
i = torch.zeros(3, dtype=torch.int64)
i[0] = 2.7
print(i)
""",
    """
tensor([[1., 5., 1., 8.],
        [0., 6., 3., 3.],
        [0., 7., 3., 9.]])
tensor([[ 1.,  5.,  1., -1.],
        [ 0.,  6.,  3.,  3.],
        [ 0., -1.,  3., -1.]])
tensor([[11.,  5.,  1., -1.],
        [10.,  6.,  3.,  3.],
        [10., -1.,  3., -1.]])
tensor([[ 11.,   5.,   1.,  -1.],
        [ 10.,   6., 100.,   3.],
        [ 10.,  -1.,   3.,  -1.]])
tensor([2, 0, 0])
""",
)

program(
    "index_grads",
    """
x = torch.arange(6.).reshape(2, 3).requires_grad_()
i = torch.tensor([0, 0, 1])
y = x[i]
print(y.grad_fn.name(), x[0].grad_fn.name(), x[:, 1:].grad_fn.name(), x[None].grad_fn.name(), x[...].grad_fn.name())
(y * y).sum().backward()
print(x.grad)
x.grad = None
(x[x > 2] ** 2).sum().backward()
print(x.grad)
w = x * 1
v = torch.ones(2, requires_grad=True)
w[torch.tensor([0, 1]), torch.tensor([1, 2])] = v * 3
print(w.grad_fn.name())
(w * w).sum().backward()
print(v.grad)
""",
    """
IndexBackward0 SelectBackward0 SliceBackward0 UnsqueezeBackward0 AliasBackward0
tensor([[ 0.,  4.,  8.],
        [ 6.,  8., 10.]])
tensor([[ 0.,  0.,  0.],
        [ 6.,  8., 10.]])
IndexPutBackward0
tensor([18., 18.])
""",
)

program(
    "reading",
    """
x = torch.tensor([1.5, 2.5])
s = torch.tensor(3.5)
print(s.item(), float(s), int(s), bool(s), x.tolist(), len(x))
print([v.item() for v in x])
a, b = x
print(a, b)
fails(lambda: bool(x))
fails(lambda: bool(torch.ones(0)))
fails(lambda: x.item())
fails(lambda: len(s))
fails(lambda: list(s))
fails(lambda: [1, 2][s])
print([1, 2][torch.tensor(1)], 2.5 in x, 9 in x)
print(x.numpy(), x.dtype, x.shape, x.device, x.ndim)
w = torch.ones(2, requires_grad=True)
fails(lambda: w.numpy())
print(w.detach().numpy(), s.shape, f"{s:.2f}", f"{x}")
print(x.shape[0], x.shape + (1,), x.shape[:1], x.size(), torch.Size([2, 3]).numel())
""",
    """
3.5 3.5 3 True [1.5, 2.5] 2
[1.5, 2.5]
tensor(1.5000) tensor(2.5000)
raises Boolean value of Tensor with more than one value is ambiguous
raises Boolean value of Tensor with no values is ambiguous
raises a Tensor with 2 elements cannot be converted to Scalar
raises len() of a 0-d tensor
raises iteration over a 0-d tensor
raises only integer tensors of a single element can be converted to an index
2 True False
[1.5 2.5] torch.float32 torch.Size([2]) cpu 1
raises Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.
[1. 1.] torch.Size([]) 3.50 tensor([1.5000, 2.5000])
2 torch.Size([2, 1]) torch.Size([2]) torch.Size([2]) 6
""",
)

program(
    "copying",
    """
import copy, pickle
x = torch.tensor([1., 2.], requires_grad=True)
(x * x).sum().backward()
y = copy.deepcopy(x)
with torch.no_grad():
    y.add_(1)
print(x, y, y.grad)
fails(lambda: copy.deepcopy(x * 2), 80)
""",
    """
tensor([1., 2.], requires_grad=True) tensor([2., 3.], requires_grad=True) tensor([2., 4.])
raises Only Tensors created explicitly by the user (graph leaves) support the deepcopy
""",
)

program(
    "assign_grad",
    """
w = torch.ones(2, requires_grad=True)
fails(lambda: setattr(w, 'grad', torch.ones(3)))
fails(lambda: setattr(w, 'grad', 1))
w.grad = torch.tensor([1., 2.])
(w * 3).sum().backward()
print(w.grad)
del w.grad
print(w.grad)
w.data = torch.ones(3)
print(w)
w.data.fill_(4)
print(w)
h = w * 2
h.detach_()
print(h.requires_grad, h.grad_fn)
fails(lambda: setattr(h.requires_grad_(), 'grad', 2))
""",
    """
raises attempting to assign a gradient of size '[3]' to a tensor of size '[2]'. Please ensure tha
raises assigned grad expected to be a Tensor or None but got grad of type int
tensor([4., 5.])
None
tensor([1., 1., 1.], requires_grad=True)
tensor([4., 4., 4.], requires_grad=True)
False None
raises assigned grad expected to be a Tensor or None but got grad of type int
""",
)

program(
    "inplace_errors",
    """
fails(lambda: torch.ones(2).expand(3, 2).add_(1), 60)
fails(lambda: torch.ones(2).add_(torch.ones(3, 2)))
fails(lambda: torch.ones(2, dtype=torch.int64).add_(1.5))
x = torch.ones(2)
x += 1
x -= 3
x *= 2
x /= 4
x **= 2
print(x, x._version)
x.copy_(torch.tensor([1, 2]))
print(x)
""",
    """
raises unsupported operation: more than one element of the written-
raises output with shape [2] doesn't match the broadcast shape [3, 2]
raises result type Float can't be cast to the desired output type Long
tensor([0.2500, 0.2500]) 5
tensor([1., 2.])
""",
)

program(
    "inplace_leaf",
    """
w = torch.ones(2, requires_grad=True)
fails(lambda: w.add_(1))
fails(lambda: w[0].add_(1))
def put():
    w[0] = 1
fails(put)
with torch.no_grad():
    w -= 0.5
print(w, w.is_leaf, w._version)
(w * w).sum().backward()
with torch.no_grad():
    w.sub_(w.grad)
    w.grad.zero_()
print(w, w.grad)
""",
    """
raises a leaf Variable that requires grad is being used in an in-place operation.
raises a view of a leaf Variable that requires grad is being used in an in-place operation.
raises a view of a leaf Variable that requires grad is being used in an in-place operation.
tensor([0.5000, 0.5000], requires_grad=True) True 1
tensor([-0.5000, -0.5000], requires_grad=True) tensor([0., 0.])
""",
)

program(
    "inplace_history",
    """
x = torch.ones(2, requires_grad=True)
y = x * 3
y += 1
y *= y.detach().clone()
print(y, y._version)
y.sum().backward()
print(x.grad)
z = torch.zeros(3)
print(z.requires_grad)
z[1:] = x * 2
print(z, z.grad_fn.name())
z.sum().backward()
print(x.grad)
""",
    """
tensor([16., 16.], grad_fn=<MulBackward0>) 2
tensor([12., 12.])
False
tensor([0., 2., 2.], grad_fn=<CopySlices>) torch::autograd::CopySlices
tensor([14., 14.])
""",
)

program(
    "saved_version",
    """
a = torch.ones(2, requires_grad=True)
b = a.exp()
b.add_(1)
fails(lambda: b.sum().backward(), 100)
c = a * 2
d = c * c
c.add_(1)
fails(lambda: d.sum().backward(), 100)
e = torch.ones(2)
f = a * e
e.add_(1)
fails(lambda: f.sum().backward(), 100)
g = a + e
e.add_(1)
g.sum().backward()
print(a.grad)
""",
    """
raises one of the variables needed for gradient computation has been modified by an inplace operation: [tor
raises one of the variables needed for gradient computation has been modified by an inplace operation: [tor
raises one of the variables needed for gradient computation has been modified by an inplace operation: [tor
tensor([1., 1.])
""",
)

program(
    "iterate_and_contain",
    """
x = torch.arange(6.).reshape(3, 2)
for row in x:
    row.mul_(2)
print(x)
x[1:][0][1] = 50
print(x)
a, b, c = x
b.zero_()
print(x)
y = x.view(2, 3)
y[0] += 1
print(x, y)
z = x.permute(1, 0)[0]
z -= 5
print(x)
e = x[:, :1].expand(3, 2)
print(e)
x.t_() if False else None
w = x.clone()
w[0, 0] = -1
print(x[0, 0], w[0, 0])
u = x.unsqueeze(1).squeeze(1)
u[2, 1] = 77
print(x)
c1, c2 = x.chunk(2, 1)
c2.fill_(3)
print(x)
n = x.narrow(0, 1, 2)
n.copy_(torch.zeros(2, 2))
print(x, n._version, x._version)
x.flatten()[0] = 9
print(x[0, 0])
""",
    """
tensor([[ 0.,  2.],
        [ 4.,  6.],
        [ 8., 10.]])
tensor([[ 0.,  2.],
        [ 4., 50.],
        [ 8., 10.]])
tensor([[ 0.,  2.],
        [ 0.,  0.],
        [ 8., 10.]])
tensor([[ 1.,  3.],
        [ 1.,  0.],
        [ 8., 10.]]) tensor([[ 1.,  3.,  1.],
        [ 0.,  8., 10.]])
tensor([[-4.,  3.],
        [-4.,  0.],
        [ 3., 10.]])
tensor([[-4., -4.],
        [-4., -4.],
        [ 3.,  3.]])
tensor(-4.) tensor(-1.)
tensor([[-4.,  3.],
        [-4.,  0.],
        [ 3., 77.]])
tensor([[-4.,  3.],
        [-4.,  3.],
        [ 3.,  3.]])
tensor([[-4.,  3.],
        [ 0.,  0.],
        [ 0.,  0.]]) 11 11
tensor(9.)
""",
)

program(
    "no_grad_state",
    """
w = torch.tensor([1., 2.], requires_grad=True)
h = w * 3
with torch.no_grad():
    h.mul_(2)
print(h, h.requires_grad, h.grad_fn is not None)
h.sum().backward()
print(w.grad)
with torch.no_grad():
    v = w[:1]
with torch.no_grad():
    w[0] = 10
    w[1:].fill_(20)
print(w, v.tolist(), w.requires_grad, w.is_leaf)
with torch.no_grad():
    for p in [w]:
        p.copy_(torch.tensor([7., 8.]))
print(w, v.tolist())
""",
    """
tensor([ 6., 12.], grad_fn=<MulBackward0>) True True
tensor([3., 3.])
tensor([10., 20.], requires_grad=True) [10.0] True True
tensor([7., 8.], requires_grad=True) [7.0]
""",
)
