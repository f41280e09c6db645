"""Programs about kinks, kept gradients and misuse, each with what PyTorch 2.13 prints for it; see test_programs.py.

`torch` names the library under test and `fails(call, n)` prints the first n characters of the error a
call raises. Addresses are left out.
"""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


program(
    "kinks",
    """
def at(f, *points):
    x = torch.tensor(points, requires_grad=True)
    f(x).sum().backward()
    print(x.grad)
at(torch.relu, -1., 0., 1.)
at(torch.abs, -1., 0., 1.)
at(lambda x: x.clamp(-1, 1), -2., -1., 0., 1., 2.)
at(lambda x: x.clamp(min=0), -1., 0., 1.)
at(lambda x: torch.maximum(x, torch.zeros(())), -1., 0., 1.)
at(lambda x: torch.minimum(x, -x), -1., 0., 1.)
at(lambda x: torch.where(x > 0, x.sqrt(), torch.zeros(())), 0., 4.)
at(lambda x: torch.nn.functional.leaky_relu(x), -1., 0., 1.)
at(lambda x: torch.nn.functional.hardtanh(x), -1., 0., 1.)
at(lambda x: torch.nn.functional.relu6(x), 0., 3., 6.)
at(lambda x: torch.nn.functional.hardsigmoid(x), -3., 0., 3.)
at(lambda x: torch.nn.functional.softplus(x), -50., 0., 50.)
at(lambda x: torch.nn.functional.softplus(x), -100., -90., -50.)
at(lambda x: torch.nn.functional.logsigmoid(x), 100., 90., 50.)
at(lambda x: torch.nn.functional.softshrink(x), -0.5, 0., 0.6)
at(lambda x: torch.nn.functional.smooth_l1_loss(x, torch.zeros(3)), -1., 0., 1.)
at(torch.sqrt, 0., 1.)
at(torch.sign, -1., 0.)
at(lambda x: x ** 0, 0., 2.)
at(lambda x: x ** 0.5, 0., 4.)
at(lambda x: torch.norm(x), 0., 0.)
at(lambda x: torch.atan2(x, torch.zeros(())), 0., 1.)
at(lambda x: torch.xlogy(x, x), 0., 1.)
at(lambda x: torch.sinc(x), 0., 0.5)
at(lambda x: torch.logaddexp(x, x), 0., float('-inf'))
at(lambda x: torch.special.entr(x), 0., 1.)
at(lambda x: torch.cdist(x[None], x[None]), 0., 1.)
""",
    """
tensor([0., 0., 1.])
tensor([-1.,  0.,  1.])
tensor([0., 1., 1., 1., 0.])
tensor([0., 1., 1.])
tensor([0.0000, 0.5000, 1.0000])
tensor([ 1.,  0., -1.])
tensor([   nan, 0.2500])
tensor([0.0100, 0.0100, 1.0000])
tensor([0., 1., 0.])
tensor([0., 1., 0.])
tensor([0.0000, 0.1667, 0.0000])
tensor([1.9287e-22, 5.0000e-01, 1.0000e+00])
tensor([3.7835e-44, 8.1940e-40, 1.9287e-22])
tensor([3.7835e-44, 8.1940e-40, 1.9287e-22])
tensor([0., 0., 1.])
tensor([-0.3333,  0.0000,  0.3333])
tensor([   inf, 0.5000])
tensor([0., 0.])
tensor([0., 0.])
tensor([   inf, 0.2500])
tensor([0., 0.])
tensor([0., 0.])
tensor([nan, 1.])
tensor([ 0.0000, -1.2732])
tensor([1., nan])
tensor([inf, -1.])
tensor([0., 0.])
""",
)


program(
    "shape_errors",
    """
a, b = torch.ones(2, 3), torch.ones(4)
fails(lambda: a + b)
fails(lambda: a.view(4))
fails(lambda: a.reshape(-1, 4))
fails(lambda: a.t().view(6), 60)
fails(lambda: torch.cat([a, b]))
fails(lambda: torch.cat([a, torch.ones(3, 2)]))
fails(lambda: torch.stack([a, b]), 75)
fails(lambda: a.sum(2))
fails(lambda: a.transpose(0, 2))
fails(lambda: a.expand(3, 3))
fails(lambda: a.squeeze(5))
fails(lambda: a.gather(1, torch.tensor([0])), 67)
fails(lambda: torch.nn.functional.linear(a, torch.ones(2, 2)))
fails(lambda: torch.nn.Linear(3, 2)(b))
fails(lambda: torch.nn.Conv2d(1, 1, 3)(torch.ones(1, 2, 5, 5)))
fails(lambda: torch.tensor([[1, 2], [3]]))
fails(lambda: torch.tensor('a'))
fails(lambda: a.to(torch.int64).mean())
fails(lambda: a.split([1, 3], 1))
fails(lambda: a.unflatten(1, (2, 2)))
fails(lambda: torch.arange(0, 5, -1))
fails(lambda: torch.eye(2).tril()[0, 0, 0])
""",
    """
raises The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 1
raises shape '[4]' is invalid for input of size 6
raises shape '[-1, 4]' is invalid for input of size 6
raises view size is not compatible with input tensor's size and str
raises Tensors must have same number of dimensions: got 2 and 1
raises Sizes of tensors must match except in dimension 0. Expected size 3 but got size 2 for tens
raises stack expects each tensor to be equal size, but got [2, 3] at entry 0 and [
raises Dimension out of range (expected to be in range of [-2, 1], but got 2)
raises Dimension out of range (expected to be in range of [-2, 1], but got 2)
raises The expanded size of the tensor (3) must match the existing size (2) at non-singleton dime
raises Dimension out of range (expected to be in range of [-2, 1], but got 5)
raises Index tensor must have the same number of dimensions as input tenso
raises mat1 and mat2 shapes cannot be multiplied (2x3 and 2x2)
raises mat1 and mat2 shapes cannot be multiplied (1x4 and 3x2)
raises Given groups=1, weight of size [1, 1, 3, 3], expected input[1, 2, 5, 5] to have 1 channels
raises expected sequence of length 2 at dim 1 (got 1)
raises new(): invalid data type 'str'
raises mean(): could not infer output dtype. Input dtype must be either a floating point or compl
raises split_with_sizes expects split_sizes to sum exactly to 3 (input tensor's size at dimension
raises unflatten: Provided sizes [2, 2] don't multiply up to the size of dim 1 (3) in the input t
raises upper bound and lower bound inconsistent with step sign
raises too many indices for tensor of dimension 2
""",
)


program(
    "detach_and_clone",
    """
x = torch.tensor([1., 2.], requires_grad=True)
c, d = x.clone(), x.detach()
print(c, d, c.is_leaf, d.is_leaf, c.grad_fn.name(), d.grad_fn)
(c * 2).sum().backward()
print(x.grad)
c = x.clone().detach()
c[0] = 100
print(x, c)
d[0] = 50
print(x, d)
e = x.detach().clone().requires_grad_()
(e * x).sum().backward()
print(e.grad, x.grad)
f = torch.tensor(x.detach())
print(f, f.requires_grad)
g = (x * 2).requires_grad_()
print(g.requires_grad, g.is_leaf)
h = x.clone()
h += 1
h.mul_(h.detach().clone())
x.grad = None
h.sum().backward()
print(h, x.grad)
k = x.expand(2, 2).clone()
k[0, 0] = 0
x.grad = None
k.sum().backward()
print(k, x.grad)
z = torch.zeros_like(x)
print(z.requires_grad, torch.ones_like(x, requires_grad=True), x.new_zeros(2), torch.empty_like(x).shape)
""",
    """
tensor([1., 2.], grad_fn=<CloneBackward0>) tensor([1., 2.]) False True CloneBackward0 None
tensor([2., 2.])
tensor([1., 2.], requires_grad=True) tensor([100.,   2.])
tensor([50.,  2.], requires_grad=True) tensor([50.,  2.])
tensor([50.,  2.]) tensor([52.,  4.])
tensor([50.,  2.]) False
True False
tensor([2601.,    9.], grad_fn=<MulBackward0>) tensor([51.,  3.])
tensor([[ 0.,  2.],
        [50.,  2.]], grad_fn=<CopySlices>) tensor([1., 2.])
False tensor([1., 1.], requires_grad=True) tensor([0., 0.]) torch.Size([2])
""",
)


program(
    "kept_gradients",
    """
x = torch.tensor([1., 2.], requires_grad=True)
h = x * 3
k = h ** 2
h.retain_grad()
k.retain_grad()
k.retain_grad()
k.register_hook(lambda g: g * 2)
h.register_hook(lambda g: g.clamp(max=20))
x.register_hook(lambda g: -g)
k.sum().backward(retain_graph=True)
print(k.grad, h.grad, x.grad)
k.sum().backward()
print(k.grad, h.grad, x.grad)
print(x.retains_grad, h.retains_grad, h.is_leaf)
y = x * 2
y.register_hook(lambda g: None)
y.register_hook(lambda g: g + 1)
y.register_hook(lambda g: print('saw', g))
x.grad = None
y.sum().backward()
print(x.grad)
z = x * 2
z.register_hook(lambda g: torch.ones(5))
fails(lambda: z.sum().backward(), 50)
u = x.clone()
u.retain_grad()
v = u[0]
u.mul_(2)
u.sum().backward()
print(u.grad, v.grad_fn.name())
u = x.clone()
u.retain_grad()
u[0].mul_(5)
u.add_(1)
(u * u).sum().backward()
print(u.grad, u.retains_grad)
with torch.no_grad():
    n = x * 2
fails(lambda: n.retain_grad())
""",
    """
tensor([2., 2.]) tensor([12., 20.]) tensor([-36., -60.])
tensor([4., 4.]) tensor([24., 40.]) tensor([ -72., -120.])
False True False
saw tensor([2., 2.])
tensor([-4., -4.])
raises hook '<lambda>' has changed the size of value
tensor([1., 1.]) AsStridedBackward0
tensor([12.,  6.]) True
raises can't retain_grad on Tensor that has requires_grad=False
""",
)


program(
    "views_of_histories",
    """
x = torch.ones(2, 3, requires_grad=True)
y = x * 2
y[0].mul_(3)
y[:, 1] = 7
y.t()[2].add_(1)
print(y)
(y * torch.arange(6.).reshape(2, 3)).sum().backward()
print(x.grad)
base = torch.zeros(4)
v = torch.tensor([5., 6.], requires_grad=True)
base[1:3] = v * 2
part = base[2:]
print(base, part, part.requires_grad)
(part.sum() * base.sum()).backward()
print(v.grad)
a = torch.arange(4.)
b = a.view(2, 2)
c = b.t()
c[0, 1] = -1
print(a, b.is_contiguous(), c.is_contiguous(), c.stride(), c.storage_offset(), a[1:].storage_offset())
print(b._base is a, c._base is a, a._version, c._version)
d = a.reshape(2, 2).movedim(0, 1)
d.zero_()
print(a)
w = torch.ones(4, requires_grad=True)
def chunked():
    p, q = (w * 2).chunk(2)
    p.mul_(2)
fails(chunked, 7)
with torch.no_grad():
    w.view(2, 2)[0] = 9
print(w, w._version)
fails(lambda: w.view(2, 2)[0].zero_())
e = (w * 2).unfold(0, 2, 1)
e.sum().backward()
print(e.shape, w.grad)
s = torch.sin(w * 1)
t = s.view(2, 2)
s.add_(1)
print(t.grad_fn.name(), (t - s.view(2, 2)).abs().max().item())
""",
    """
tensor([[6., 7., 7.],
        [2., 7., 3.]], grad_fn=<CopySlices>)
tensor([[ 0.,  0., 12.],
        [ 6.,  0., 10.]])
tensor([ 0., 10., 12.,  0.], grad_fn=<CopySlices>) tensor([12.,  0.], grad_fn=<SliceBackward0>) True
tensor([24., 68.])
tensor([ 0.,  1., -1.,  3.]) True False (1, 2) 0 1
True True 1 1
tensor([0., 0., 0., 0.])
raises Output
tensor([9., 9., 1., 1.], requires_grad=True) 1
raises a view of a leaf Variable that requires grad is being used in an in-place operation.
torch.Size([3, 2]) tensor([2., 4., 4., 2.])
AsStridedBackward0 0.0
""",
)


program(
    "asked_gradients",
    """
x = torch.tensor([1., 2.], requires_grad=True)
y = torch.tensor(3., requires_grad=True)
unused = torch.ones(2, requires_grad=True)
f = (x ** 2).sum() * y
print(torch.autograd.grad(f, (x, y), retain_graph=True))
fails(lambda: torch.autograd.grad(f, (x, unused), retain_graph=True))
print(torch.autograd.grad(f, (x, unused), retain_graph=True, allow_unused=True))
gx, gy = torch.autograd.grad(f, (x, y), create_graph=True)
print(gx, gy)
print(torch.autograd.grad(gx.sum() + gy, (x, y)))
print(torch.autograd.grad([x * 2, x * y], x, grad_outputs=[torch.ones(2), torch.tensor([1., 0.])]))
print(torch.autograd.grad((x * 2)[0], x), x.grad, y.grad)
fails(lambda: torch.autograd.grad(x * 2, x, torch.ones(3)))
fails(lambda: torch.autograd.grad((x.detach() * 2).sum(), x))
fails(lambda: torch.autograd.grad(x.sum(), x.detach()))
fails(lambda: (x * 1j).sum().backward())
fails(lambda: torch.autograd.grad((x * 2).sum(), []))
lin = x * 3
print(torch.autograd.grad(lin.sum(), x, create_graph=True)[0].requires_grad)
print(torch.autograd.grad((lin > 2).float().sum() + lin.sum(), lin))
def hvp(v):
    (g,) = torch.autograd.grad((x ** 3).sum() * y, x, create_graph=True)
    return torch.autograd.grad(g, x, v)[0]
print(hvp(torch.tensor([1., 0.])), hvp(torch.ones(2)))
i = torch.eye(2)
print(torch.autograd.grad(x ** 2, x, i, is_grads_batched=True))
""",
    """
(tensor([ 6., 12.]), tensor(5.))
raises The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow
(tensor([ 6., 12.]), None)
tensor([ 6., 12.], grad_fn=<MulBackward0>) tensor(5., grad_fn=<MulBackward0>)
(tensor([ 8., 10.]), tensor(6.))
(tensor([5., 2.]),)
(tensor([2., 0.]),) None None
raises Mismatch in shape: grad_output[0] has a shape of torch.Size([3]) and output[0] has a shape
raises element 0 of tensors does not require grad and does not have a grad_fn
raises One of the differentiated Tensors does not require grad
raises grad can be implicitly created only for real scalar outputs but got torch.complex64
raises `inputs` argument to `grad()` cannot be empty.
False
(tensor([1., 1.]),)
tensor([18.,  0.]) tensor([18., 36.])
(tensor([[2., 0.],
        [0., 4.]]),)
""",
)


program(
    "curvature",
    """
grad, vmap, jacrev, jacfwd, hessian = (getattr(torch.func, n) for n in 'grad vmap jacrev jacfwd hessian'.split())
x = torch.tensor([1., 2., 3.], dtype=torch.float64)
f = lambda v: (v ** 3).sum() + v.prod()
print(torch.autograd.functional.jacobian(lambda v: v ** 2, x))
print(torch.autograd.functional.hessian(f, x))
print(hessian(f)(x))
print(jacrev(torch.sin)(x).diagonal())
print(jacfwd(lambda v: v.cumsum(0))(x))
print(vmap(grad(f))(torch.stack([x, x * 2])))
print(vmap(lambda a, b: a @ b)(torch.ones(2, 3), torch.ones(2, 3)), vmap(torch.sum, in_dims=1)(torch.ones(2, 4)))
print(torch.autograd.functional.vjp(lambda v: v * 2, x, torch.ones(3, dtype=torch.float64)))
print(torch.autograd.functional.jvp(torch.exp, x * 0, x)[1], torch.autograd.functional.hvp(f, x, x)[1])
def newton(v):
    return v - torch.linalg.solve(hessian(g)(v), grad(g)(v))
g = lambda v: ((v - 1) ** 4).sum() + (v ** 2).sum()
for _ in range(4):
    x = newton(x)
    print(x, g(x).item() > 0)
y = x.requires_grad_()
print(torch.autograd.gradcheck(g, (y,)), torch.autograd.gradgradcheck(g, (y,)))
print(torch.autograd.functional.jacobian(lambda a, b: a * b, (torch.tensor([1.]), torch.tensor([2.]))))
""",
    """
tensor([[2., 0., 0.],
        [0., 4., 0.],
        [0., 0., 6.]], dtype=torch.float64)
tensor([[ 6.,  3.,  2.],
        [ 3., 12.,  1.],
        [ 2.,  1., 18.]], dtype=torch.float64)
tensor([[ 6.,  3.,  2.],
        [ 3., 12.,  1.],
        [ 2.,  1., 18.]], dtype=torch.float64)
tensor([ 0.5403, -0.4161, -0.9900], dtype=torch.float64)
tensor([[1., 0., 0.],
        [1., 1., 0.],
        [1., 1., 1.]], dtype=torch.float64)
tensor([[  9.,  15.,  29.],
        [ 36.,  60., 116.]], dtype=torch.float64)
tensor([3., 3.]) tensor([2., 2., 2., 2.])
(tensor([2., 4., 6.], dtype=torch.float64), tensor([2., 2., 2.], dtype=torch.float64))
tensor([1., 2., 3.], dtype=torch.float64) tensor([18., 30., 58.], dtype=torch.float64)
tensor([0.0000, 1.4286, 2.2400], dtype=torch.float64) True
tensor([0.2857, 0.6741, 1.6480], dtype=torch.float64) True
tensor([0.3948, 0.3047, 1.0252], dtype=torch.float64) True
tensor([0.4100, 0.3989, 0.0038], dtype=torch.float64) True
True True
(tensor([[2.]]), tensor([[1.]]))
""",
)


program(
    "forward_ad",
    """
ad = torch.autograd.forward_ad
x, v = torch.tensor([1., 2.]), torch.tensor([1., 10.])
fails(lambda: ad.make_dual(x, v))
print(ad.unpack_dual(x))
fails(lambda: ad.exit_dual_level())
with ad.dual_level() as level:
    d = ad.make_dual(x, v)
    print(level, d, x, d * d)
    y = d.sin() * d
    print(ad.unpack_dual(y), ad.unpack_dual(d).tangent)
    print(ad.unpack_dual(y.detach()))
    print(ad.unpack_dual(x), ad.unpack_dual(d.max()))
    print(ad.unpack_dual(d > 1))
    z = torch.zeros(2)
    z.copy_(d)
    print(ad.unpack_dual(z))
    w = torch.tensor([3., 4.], requires_grad=True)
    o = ad.unpack_dual(ad.make_dual(w, v) ** 3)
    print(o.tangent.detach(), torch.autograd.grad(o.tangent.sum(), w, retain_graph=True))
    mixed = o.tangent * d + o.primal
    print(ad.unpack_dual(o.tangent).tangent, ad.unpack_dual(o.primal).tangent, ad.unpack_dual(mixed).tangent.detach())
    (g,) = torch.autograd.grad(ad.unpack_dual(mixed).primal.sum(), w)
    print(ad.unpack_dual(g).primal)
    t = torch.ones(2, requires_grad=True)
    o = ad.unpack_dual(ad.make_dual(x, t) ** 2)
    print(o.tangent, torch.autograd.grad(o.tangent.sum(), t))
    print(ad.unpack_dual(ad.make_dual(torch.tensor([1 + 1j]), torch.tensor([1j])) ** 2))
    print(ad.unpack_dual(ad.make_dual(x, v, level=0), level=0))
    m = torch.nn.Linear(2, 1)
    weights = {'weight': ad.make_dual(torch.ones(1, 2), torch.ones(1, 2)), 'bias': torch.zeros(1)}
    o = ad.unpack_dual(torch.func.functional_call(m, weights, (x,)))
    print(o.primal.detach(), o.tangent.detach())
    fails(lambda: ad.make_dual(x, torch.ones(3)), 100)
    fails(lambda: ad.make_dual(torch.ones(2, dtype=torch.int64), v))
    fails(lambda: ad.make_dual(x, torch.ones(2, dtype=torch.int64)))
    fails(lambda: ad.make_dual(x, v, level=2))
    fails(lambda: ad.enter_dual_level())
    fails(lambda: ad.exit_dual_level(level=1))
print(ad.unpack_dual(d).tangent, ad.enter_dual_level(), ad.exit_dual_level())
""",
    """
raises Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual
UnpackedDualTensor(primal=tensor([1., 2.]), tangent=None)
raises Dual level must be a positive number.
0 tensor([1., 2.], tangent=tensor([ 1., 10.])) tensor([1., 2.]) tensor([1., 4.], tangent=tensor([ 2., 40.]))
UnpackedDualTensor(primal=tensor([0.8415, 1.8186]), tangent=tensor([1.3818, 0.7700])) tensor([ 1., 10.])
UnpackedDualTensor(primal=tensor([0.8415, 1.8186]), tangent=None)
UnpackedDualTensor(primal=tensor([1., 2.]), tangent=None) UnpackedDualTensor(primal=tensor(2.), tangent=tensor(10.))
UnpackedDualTensor(primal=tensor([False,  True]), tangent=None)
UnpackedDualTensor(primal=tensor([1., 2.]), tangent=tensor([ 1., 10.]))
tensor([ 27., 480.]) (tensor([ 18., 240.]),)
None None tensor([  27., 4800.])
tensor([ 45., 528.])
tensor([2., 4.], grad_fn=<MulBackward0>) (tensor([2., 4.]),)
UnpackedDualTensor(primal=tensor([0.+2.j]), tangent=tensor([-2.+2.j]))
UnpackedDualTensor(primal=tensor([1., 2.]), tangent=tensor([ 1., 10.]))
tensor([3.]) tensor([3.])
raises Trying to set a forward gradient that has a different size than that of the original Tensor, this is
raises Expected primal to be floating point or complex, but got: torch.int64
raises Expected tangent to be floating point or complex, but got: torch.int64
raises Invalid level given to _make_dual
raises Nested forward mode AD is not supported at the moment
raises Trying to exit a forward AD level that was not the last one that was created. This is not
None 0 None
""",
)


program(
    "retained_views",
    """
def start():
    x = torch.ones(3, requires_grad=True)
    b = x * 1
    v = b[:2]
    v.retain_grad()
    return x, b, v
x, b, v = start()
b.mul_(2)
print(v.grad_fn.name(), v.retains_grad)
(v.sum() + b.sum()).backward()
print(v.grad, x.grad)
x, b, v = start()
b.mul_(2)
b.sum().backward()
print(v.grad, x.grad)
x, b, v = start()
b.mul_(2)
b.mul_(3)
(v * 5).sum().backward()
print(v.grad, x.grad)
x, b, v = start()
y = v * 7
b.add_(2)
(y.sum() + (v * 2).sum()).backward()
print(v.grad, x.grad)
x, b, v = start()
v.mul_(2)
(b * 3).sum().backward()
print(v.grad, x.grad)
x, b, v = start()
b.mul_(2)
w = v[:1]
w.retain_grad()
(w * 4).sum().backward()
print(v.grad, w.grad, x.grad)
z = torch.tensor([1 + 2j], requires_grad=True)
print(z.conj().resolve_conj().grad_fn.name(), z.resolve_conj() is z, z.conj()[0].resolve_conj().grad_fn.name())
print(z.conj().resolve_conj().grad_fn.next_functions[0][0].name(), (z * 2).resolve_conj().grad_fn.name())
""",
    """
AsStridedBackward0 True
tensor([1., 1.]) tensor([4., 4., 2.])
None tensor([2., 2., 2.])
tensor([5., 5.]) tensor([30., 30.,  0.])
tensor([2., 2.]) tensor([9., 9., 0.])
None tensor([6., 6., 3.])
tensor([4., 0.]) tensor([4.]) tensor([8., 0., 0.])
CloneBackward0 True CloneBackward0
ConjBackward0 MulBackward0
""",
)


program(
    "writes_to_several_views",
    """
views = [lambda t: t.chunk(2), lambda t: t.split(1), lambda t: t.unbind(), lambda t: t.split([1, 1]),
         lambda t: t.tensor_split(2)]
def assigned(a):
    a[0] = 1
    return a
def after_its_base(y, a):
    y.mul_(2)
    return a
def inside(a):
    with torch.no_grad():
        a.mul_(2)
    return a
for several in views:
    x = torch.ones(2, 2, requires_grad=True)
    fails(lambda: several(x * 1)[1].mul_(2), 100)
    fails(lambda: several(x)[0].mul_(2), 75)
    fails(lambda: assigned(several(x * 1)[0]), 75)
    y = x * 1
    a = several(y)[0]
    after_its_base(y, a)
    print(a)
    fails(lambda: (a * 2).sum(), 105)
    fails(lambda: a.detach())
    with torch.no_grad():
        a = several(x)[0]
    fails(lambda: a.mul_(2), 100)
    a = several(torch.ones(2, 2))[0]
    print(a.mul_(2))
    fails(lambda: several(torch.ones(2, 2))[0].mul_(x[0]).requires_grad, 100)
    fails(lambda: several(x * 1)[0][:1].mul_(2), 75)
    print(inside(several(x * 1)[0]))
""",
    """
raises Output 1 of Split is a view and is being modified inplace. This view is the output of a function tha
raises Output 0 of Split is a view and is being modified inplace. This view is the
raises Output 0 of Select is a view and is being modified inplace. This view is th
tensor([[2., 2.]], grad_fn=<Invalid>)
raises Output 0 of Split is a view and its base or another view of its base has been modified inplace. This view
no error tensor([[2., 2.]])
raises A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that
tensor([[2., 2.]])
raises A view was created in no_grad mode and is being modified inplace with grad mode enabled. This view i
raises Output 0 of Slice is a view and is being modified inplace. This view is the
tensor([[2., 2.]], grad_fn=<Invalid>)
raises Output 1 of Split is a view and is being modified inplace. This view is the output of a function tha
raises Output 0 of Split is a view and is being modified inplace. This view is the
raises Output 0 of Select is a view and is being modified inplace. This view is th
tensor([[2., 2.]], grad_fn=<Invalid>)
raises Output 0 of Split is a view and its base or another view of its base has been modified inplace. This view
no error tensor([[2., 2.]])
raises A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that
tensor([[2., 2.]])
raises A view was created in no_grad mode and is being modified inplace with grad mode enabled. This view i
raises Output 0 of Slice is a view and is being modified inplace. This view is the
tensor([[2., 2.]], grad_fn=<Invalid>)
raises Output 1 of Unbind is a view and is being modified inplace. This view is the output of a function th
raises Output 0 of Unbind is a view and is being modified inplace. This view is th
raises Output 0 of Select is a view and is being modified inplace. This view is th
tensor([2., 2.], grad_fn=<Invalid>)
raises Output 0 of Unbind is a view and its base or another view of its base has been modified inplace. This vie
no error tensor([2., 2.])
raises A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that
tensor([2., 2.])
raises A view was created in no_grad mode and is being modified inplace with grad mode enabled. This view i
raises Output 0 of Slice is a view and is being modified inplace. This view is the
tensor([2., 2.], grad_fn=<Invalid>)
raises Output 1 of SplitWithSizes is a view and is being modified inplace. This view is the output of a fun
raises Output 0 of SplitWithSizes is a view and is being modified inplace. This vi
raises Output 0 of Select is a view and is being modified inplace. This view is th
tensor([[2., 2.]], grad_fn=<Invalid>)
raises Output 0 of SplitWithSizes is a view and its base or another view of its base has been modified inplace.
no error tensor([[2., 2.]])
raises A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that
tensor([[2., 2.]])
raises A view was created in no_grad mode and is being modified inplace with grad mode enabled. This view i
raises Output 0 of Slice is a view and is being modified inplace. This view is the
tensor([[2., 2.]], grad_fn=<Invalid>)
no error tensor([[2., 2.]], grad_fn=<AsStridedBackward0>)
raises a view of a leaf Variable that requires grad is being used in an in-place o
no error tensor([[1., 1.]], grad_fn=<AsStridedBackward0>)
tensor([[2., 2.]], grad_fn=<AsStridedBackward0>)
no error tensor(8., grad_fn=<SumBackward0>)
no error tensor([[2., 2.]])
raises A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that
tensor([[2., 2.]])
no error True
no error tensor([[2., 2.]], grad_fn=<AsStridedBackward0>)
tensor([[2., 2.]], grad_fn=<AsStridedBackward0>)
""",
)


program(
    "options_of_grad",
    """
grad = torch.autograd.grad
x = torch.tensor([1., 2.], requires_grad=True)
u = torch.ones(3, requires_grad=True)
z = torch.tensor([1 + 1j], requires_grad=True)
eye = torch.eye(2)
y = lambda: x ** 2
told = lambda ts: [None if t is None else (t.requires_grad, t.grad_fn is not None, tuple(t.shape)) for t in ts]
options = [dict(), dict(allow_unused=True), dict(allow_unused=False), dict(materialize_grads=True),
           dict(materialize_grads=True, allow_unused=True), dict(materialize_grads=True, allow_unused=False)]
for option in options:
    fails(lambda: grad(y().sum(), (x, u), **option))
    fails(lambda: grad(y(), (x, u), eye, is_grads_batched=True, **option))
    fails(lambda: told(grad(y().sum(), (x, u), create_graph=True, **option)))
    fails(lambda: told(grad(y(), (x, u), eye, is_grads_batched=True, create_graph=True, **option)))
fails(lambda: grad(y(), x, torch.ones(2, 3), is_grads_batched=True), 105)
fails(lambda: grad(y(), x, None, is_grads_batched=True))
fails(lambda: grad((y(), y().sum()), x, (eye, torch.ones(2)), is_grads_batched=True))
fails(lambda: grad((y(), y().sum()), x, (eye, torch.ones(3)), is_grads_batched=True))
fails(lambda: grad(y().sum(), x, torch.ones(3), is_grads_batched=True))
def again(retain):
    a = y()
    grad(a, x, eye, is_grads_batched=True, retain_graph=retain)
    return grad(a, x, eye, is_grads_batched=True)
fails(lambda: again(False))
print(again(True))
(g,) = grad(y() * x, x, eye, is_grads_batched=True, create_graph=True)
print(grad(g.sum(), x), grad([y()], [x, x], [eye], is_grads_batched=True))
print(grad(z * z, z, torch.ones(3, 1, dtype=torch.complex64), is_grads_batched=True))
fails(lambda: grad(z * z, z, torch.ones(3, 1), is_grads_batched=True))
fails(lambda: grad(y().sum(), u.detach(), allow_unused=True), 65)
fails(lambda: grad(u.detach().sum(), x, materialize_grads=True), 75)
fails(lambda: grad(y().sum(), ()), 45)
h = x * 2
print(grad((h * h).sum(), (h, x), retain_graph=True), grad(h * h, (h, x), eye, is_grads_batched=True))
""",
    """
raises The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow
raises The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow
raises The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow
raises The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow
no error (tensor([2., 4.]), None)
no error (tensor([[2., 0.],
        [0., 4.]]), None)
no error [(True, True, (2,)), None]
no error [(True, True, (2, 2)), None]
raises The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow
raises The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow
raises The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow
raises The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow
no error (tensor([2., 4.]), tensor([0., 0., 0.]))
no error (tensor([[2., 0.],
        [0., 4.]]), tensor([0., 0., 0.]))
no error [(True, True, (2,)), (True, False, (3,))]
no error [(True, True, (2, 2)), (True, False, (3,))]
no error (tensor([2., 4.]), tensor([0., 0., 0.]))
no error (tensor([[2., 0.],
        [0., 4.]]), tensor([0., 0., 0.]))
no error [(True, True, (2,)), (True, False, (3,))]
no error [(True, True, (2, 2)), (True, False, (3,))]
raises Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow
raises Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow
raises Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow
raises Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow
raises If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch dimension.
raises grad can be implicitly created only for scalar outputs
no error (tensor([[4., 4.],
        [2., 8.]]),)
raises vmap: Expected all tensors to have the same size in the mapped dimension, got sizes [2, 3]
no error (tensor([[2., 4.],
        [2., 4.],
        [2., 4.]]),)
raises Trying to backward through the graph a second time (or directly access saved tensors after
(tensor([[2., 0.],
        [0., 4.]]),)
(tensor([ 6., 12.]),) (tensor([[2., 0.],
        [0., 4.]]), tensor([[2., 0.],
        [0., 4.]]))
(tensor([[2.-2.j],
        [2.-2.j],
        [2.-2.j]]),)
raises For complex Tensors, both grad_output and output are required to have the same dtype. Mism
raises One of the differentiated Tensors does not require grad
raises element 0 of tensors does not require grad and does not have a grad_fn
raises `inputs` argument to `grad()` cannot be empty
(tensor([4., 8.]), tensor([ 8., 16.])) (tensor([[4., 0.],
        [0., 8.]]), tensor([[ 8.,  0.],
        [ 0., 16.]]))
""",
)
