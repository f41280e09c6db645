"""Programs with functions of functions, each with what PyTorch 2.13 prints for it; see test_programs.py."""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


program(
    "func_grad",
    """
f = torch.func
x = torch.tensor([1., 2., 3.])
print(f.grad(lambda x: (x ** 3).sum())(x))
print(f.grad(f.grad(lambda x: x ** 4))(torch.tensor(2.)))
print(f.grad(f.grad(f.grad(torch.sin)))(torch.tensor(0.)))
print(f.grad_and_value(lambda x: (x * x).sum())(x))
print(f.grad(lambda x, y: (x * y).sum(), argnums=1)(x, x * 2))
print(f.grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(x, x * 2))
print(f.grad(lambda x: ((x * x).sum(), x + 1), has_aux=True)(x))
print(f.grad_and_value(lambda x: ((x * x).sum(), {"a": x + 1}), has_aux=True)(x))
print(f.grad(lambda d: (d["a"] * d["b"][0]).sum())({"a": x, "b": [x * 2, x]}))
print(f.grad(lambda x: torch.ones(()))(x))
g = f.grad(lambda x: (x * x).sum())(x)
print(g.requires_grad, x.requires_grad)
w = torch.tensor([2., 2., 2.], requires_grad=True)
g = f.grad(lambda x: (x * x * w).sum())(x)
print(g.requires_grad)
g.sum().backward()
print(w.grad)
with torch.no_grad():
    print(f.grad(lambda x: (x * x).sum())(x))
fails(lambda: f.grad(lambda x: x * 2)(x), 60)
""",
    """
tensor([ 3., 12., 27.])
tensor(48.)
tensor(-1.)
(tensor([2., 4., 6.]), tensor(14.))
tensor([1., 2., 3.])
(tensor([2., 4., 6.]), tensor([1., 2., 3.]))
(tensor([2., 4., 6.]), tensor([2., 3., 4.]))
(tensor([2., 4., 6.]), (tensor(14.), {'a': tensor([2., 3., 4.])}))
{'a': tensor([2., 4., 6.]), 'b': [tensor([1., 2., 3.]), tensor([0., 0., 0.])]}
tensor([0., 0., 0.])
False False
True
tensor([2., 4., 6.])
tensor([2., 4., 6.])
raises grad_and_value(f)(*args): Expected f(*args) to return a scal
""",
)


program(
    "func_grad_of_tracked",
    """
f = torch.func
x = torch.tensor([1., 2.], requires_grad=True)
g = f.grad(lambda x: (x ** 3).sum())(x)
print(g.requires_grad, g.detach())
g.sum().backward()
print(x.grad)
x.grad = None
h = f.grad(lambda y: f.grad(lambda x: (x * y).sum() ** 2)(y).sum())(x)
h.sum().backward()
print(h.detach(), x.grad)
value, aux = f.grad(lambda x: ((x ** 2).sum(), x.detach() * 2), has_aux=True)(torch.ones(2))
print(value, aux, aux.requires_grad)
""",
    """
True tensor([ 3., 12.])
tensor([ 6., 12.])
tensor([22., 34.]) tensor([32., 40.])
tensor([2., 2.]) tensor([2., 2.]) False
""",
)


program(
    "func_vjp_jvp",
    """
f = torch.func
x = torch.tensor([1., 2., 3.])
out, pull = f.vjp(lambda x: x.sin(), x)
print(out, pull(torch.ones(3)))
print(pull(torch.tensor([1., 0., 0.])))
out, pull = f.vjp(lambda x, y: (x * y, x + y), x, x * 2)
print(out, pull((torch.ones(3), torch.zeros(3))))
out, pull, aux = f.vjp(lambda x: (x * 2, x.sum()), x, has_aux=True)
print(out, pull(x), aux)
print(f.jvp(lambda x: x ** 2, (x,), (torch.ones(3),)))
print(f.jvp(lambda x, y: x * y, (x, x), (torch.ones(3), torch.zeros(3))))
print(f.jvp(lambda x: (x * 2, x.sum()), (x,), (torch.ones(3),)))
print(f.jvp(lambda x: (x ** 2, x + 1), (x,), (x,), has_aux=True))
print(f.jvp(lambda x: f.jvp(lambda y: y ** 3, (x,), (torch.ones(3),))[1], (x,), (torch.ones(3),)))
out, push = f.linearize(lambda x: x.exp() * x, x)
print(push(torch.ones(3)), push(torch.tensor([1., 0., 2.])))
fails(lambda: f.jvp(torch.sin, x, x), 40)
""",
    """
tensor([0.8415, 0.9093, 0.1411]) (tensor([ 0.5403, -0.4161, -0.9900]),)
(tensor([0.5403, -0.0000, -0.0000]),)
(tensor([ 2.,  8., 18.]), tensor([3., 6., 9.])) (tensor([2., 4., 6.]), tensor([1., 2., 3.]))
tensor([2., 4., 6.]) (tensor([2., 4., 6.]),) tensor(6.)
(tensor([1., 4., 9.]), tensor([2., 4., 6.]))
(tensor([1., 4., 9.]), tensor([1., 2., 3.]))
((tensor([2., 4., 6.]), tensor(6.)), (tensor([2., 2., 2.]), tensor(3.)))
(tensor([1., 4., 9.]), tensor([ 2.,  8., 18.]), tensor([2., 3., 4.]))
(tensor([ 3., 12., 27.]), tensor([ 6., 12., 18.]))
tensor([ 5.4366, 22.1672, 80.3421]) tensor([  5.4366,   0.0000, 160.6843])
raises jvp(f, primals, tangents): Expected prim
""",
)


program(
    "func_jacobians",
    """
f = torch.func
x = torch.tensor([1., 2., 3.])
m = torch.arange(6.).reshape(2, 3)
print(f.jacrev(lambda x: m @ x)(x))
print(f.jacfwd(lambda x: m @ x)(x))
print(f.jacrev(lambda x: x.sin())(x))
print(f.jacfwd(lambda x: x.outer(x))(x[:2]))
print(f.jacrev(lambda x, y: (x * y, x.sum()), argnums=(0, 1))(x, x + 1))
print(f.jacfwd(lambda x, y: {"a": x * y}, argnums=1)(x, x + 1))
print(f.jacrev(lambda x: (x * 2, x + 1), has_aux=True)(x))
print(f.jacfwd(lambda x: (x * 2, x + 1), has_aux=True)(x))
print(f.hessian(lambda x: (x ** 3).sum())(x))
print(f.hessian(lambda x: x.prod())(x))
print(f.jacrev(f.jacfwd(lambda x: (x ** 3).sum()))(x))
print(f.jacrev(lambda x: x.sin(), chunk_size=2)(x))
print(f.jacrev(lambda x: (x * x).sum())(torch.tensor(3.)))
""",
    """
tensor([[0., 1., 2.],
        [3., 4., 5.]])
tensor([[0., 1., 2.],
        [3., 4., 5.]])
tensor([[ 0.5403, -0.0000, -0.0000],
        [ 0.0000, -0.4161, -0.0000],
        [ 0.0000, -0.0000, -0.9900]])
tensor([[[2., 0.],
         [2., 1.]],

        [[2., 1.],
         [0., 4.]]])
((tensor([[2., 0., 0.],
        [0., 3., 0.],
        [0., 0., 4.]]), tensor([[1., 0., 0.],
        [0., 2., 0.],
        [0., 0., 3.]])), (tensor([1., 1., 1.]), tensor([0., 0., 0.])))
{'a': tensor([[1., 0., 0.],
        [0., 2., 0.],
        [0., 0., 3.]])}
(tensor([[2., 0., 0.],
        [0., 2., 0.],
        [0., 0., 2.]]), tensor([2., 3., 4.]))
(tensor([[2., 0., 0.],
        [0., 2., 0.],
        [0., 0., 2.]]), tensor([2., 3., 4.]))
tensor([[ 6.,  0.,  0.],
        [ 0., 12.,  0.],
        [ 0.,  0., 18.]])
tensor([[0., 3., 2.],
        [3., 0., 1.],
        [2., 1., 0.]])
tensor([[ 6.,  0.,  0.],
        [ 0., 12.,  0.],
        [ 0.,  0., 18.]])
tensor([[ 0.5403, -0.0000, -0.0000],
        [ 0.0000, -0.4161, -0.0000],
        [ 0.0000, -0.0000, -0.9900]])
tensor(6.)
""",
)


program(
    "vmap_basics",
    """
x = torch.arange(6.).reshape(3, 2)
print(torch.vmap(lambda t: t.sum())(x))
print(torch.vmap(torch.dot)(x, x))
print(torch.vmap(lambda a, b: a * b, in_dims=(0, None))(x, torch.tensor([10., 100.])))
print(torch.vmap(lambda a: a * 2, in_dims=1, out_dims=1)(x))
print(torch.vmap(lambda a: (a.sum(), a * 2), out_dims=(0, 1))(x))
print(torch.vmap(lambda d: d["a"] + d["b"][0], in_dims=({"a": 0, "b": [None]},))({"a": x, "b": [torch.ones(2)]}))
rows = torch.vmap(lambda a, b: a * b, in_dims=(None, 0))
nested = torch.vmap(rows, in_dims=(0, None))(torch.arange(2.), torch.arange(3.))
print(torch.vmap(lambda a: torch.ones(2))(x))
print(torch.vmap(lambda a, k: a * k, in_dims=(0, None))(x, 3))
print(torch.vmap(lambda a, scale: a * scale)(x, scale=torch.tensor([1., 2.])))
print(torch.vmap(lambda a: a.exp().cumsum(0), chunk_size=2)(-x))
print(torch.vmap(lambda a: torch.where(a > 2, a, -a))(x))
def in_place(a):
    b = a.clone()
    b[0] = 7
    b.mul_(2)
    return b
print(torch.vmap(in_place)(x))
""",
    """
tensor([1., 5., 9.])
tensor([ 1., 13., 41.])
tensor([[  0., 100.],
        [ 20., 300.],
        [ 40., 500.]])
tensor([[ 0.,  2.],
        [ 4.,  6.],
        [ 8., 10.]])
(tensor([1., 5., 9.]), tensor([[ 0.,  4.,  8.],
        [ 2.,  6., 10.]]))
tensor([[1., 2.],
        [3., 4.],
        [5., 6.]])
tensor([[1., 1.],
        [1., 1.],
        [1., 1.]])
tensor([[ 0.,  3.],
        [ 6.,  9.],
        [12., 15.]])
tensor([[ 0.,  2.],
        [ 2.,  6.],
        [ 4., 10.]])
tensor([[1.0000, 1.3679],
        [0.1353, 0.1851],
        [0.0183, 0.0251]])
tensor([[-0., -1.],
        [-2.,  3.],
        [ 4.,  5.]])
tensor([[14.,  2.],
        [14.,  6.],
        [14., 10.]])
""",
)


program(
    "vmap_errors",
    """
x = torch.ones(3, 2)
fails(lambda: torch.vmap(lambda a: a.item())(torch.ones(3)), 55)
fails(lambda: torch.vmap(lambda a: a + torch.rand(2))(x), 60)
fails(lambda: torch.vmap(torch.dot)(x, torch.ones(2, 2)))
fails(lambda: torch.vmap(torch.sin, in_dims=2)(x), 30)
fails(lambda: torch.vmap(torch.sin, in_dims="a")(x), 12)
fails(lambda: torch.vmap(lambda a: a, in_dims=None)(x), 20)
fails(lambda: torch.vmap(lambda: 1)(), 40)
fails(lambda: torch.vmap(lambda a: 3)(x), 60)
fails(lambda: torch.vmap(lambda a: a, out_dims=None)(x), 70)
fails(lambda: torch.vmap(lambda a: a, out_dims=2)(x))
fails(lambda: torch.vmap(lambda a: a.sum(), out_dims=-2)(x))
fails(lambda: torch.vmap(lambda a, b: a, in_dims=(0,))(x, x), 20)
fails(lambda: torch.vmap(torch.sin, randomness="no")(x), 60)
""",
    """
raises vmap: It looks like you're calling .item() on a Tensor.
raises vmap: called random operation while in randomness error mode
raises vmap: Expected all tensors to have the same size in the mapped dimension, got sizes [3, 2]
raises vmap(sin, in_dims=2, ...)(<inp
raises vmap(sin, in
raises vmap(<lambda>, in_di
raises vmap(<lambda>)(<inputs>): got no inputs.
raises vmap(<lambda>, ...): `<lambda>` must only return Tensors, go
raises vmap(<lambda>, ...): `<lambda>` can not return a BatchedTensor when ou
raises Dimension out of range (expected to be in range of [-2, 1], but got 2)
raises Dimension out of range (expected to be in range of [-1, 0], but got -2)
raises vmap(<lambda>, in_di
raises Only allowed values for randomness are 'error', 'different',
""",
)


program(
    "per_sample_gradients",
    """
net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
with torch.no_grad():
    for p in net.parameters():
        p.copy_(torch.linspace(-1, 0.9, p.numel()).reshape(p.shape))
params = {n: p.detach() for n, p in net.named_parameters()}
x, y = torch.linspace(-1, 1, 8).reshape(4, 2), torch.ones(4, 1)
def loss(params, x, y):
    out = torch.func.functional_call(net, params, (x.unsqueeze(0),))
    return ((out - y) ** 2).mean()
grads = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(params, x, y)
for n, g in grads.items():
    print(n, tuple(g.shape), g.sum(0))
print(grads["2.weight"])
total = torch.func.grad(lambda p: ((torch.func.functional_call(net, p, x) - y) ** 2).mean())(params)
print(torch.allclose(total["0.weight"], grads["0.weight"].mean(0), atol=1e-6))
""",
    """
0.weight (4, 3, 2) tensor([[-5.1144, -3.3155],
        [-0.2959, -0.1761],
        [ 5.0688,  3.3270]])
0.bias (4, 3) tensor([ 6.2965,  0.4192, -6.0963])
2.weight (4, 1, 3) tensor([[-0.3733, -0.5105, -0.5736]])
2.bias (4, 1) tensor([-8.4317])
tensor([[[-2.2063, -0.4760,  1.3628]],

        [[ 0.9900, -0.0725, -1.1024]],

        [[ 0.5728,  0.0157, -0.5659]],

        [[ 0.2701,  0.0224, -0.2682]]])
True
""",
)


program(
    "ensembles",
    """
models = [torch.nn.Linear(2, 1) for _ in range(3)]
for i, m in enumerate(models):
    torch.nn.init.constant_(m.weight, i)
    torch.nn.init.zeros_(m.bias)
params, buffers = torch.func.stack_module_state(models)
print({n: tuple(p.shape) for n, p in params.items()}, buffers)
base = torch.nn.Linear(2, 1)
call = lambda p, b, x: torch.func.functional_call(base, (p, b), (x,))
x = torch.ones(4, 2)
out = torch.vmap(call, in_dims=(0, 0, None))(params, buffers, x)
print(out.detach().squeeze(-1))
out.sum().backward()
print(params["weight"].grad)
fails(lambda: torch.func.functional_call(base, ({"weight": x}, {"weight": x}), (x,)), 40)
fails(lambda: torch.func.stack_module_state([]))
""",
    """
{'weight': (3, 1, 2), 'bias': (3, 1)} {}
tensor([[0., 0., 0., 0.],
        [2., 2., 2., 2.],
        [4., 4., 4., 4.]])
tensor([[[4., 4.]],

        [[4., 4.]],

        [[4., 4.]]])
raises ['weight'] appeared in multiple dictiona
raises stack_module_state: Expected at least one model, got 0.
""",
)


program(
    "vmap_of_layers",
    """
torch.manual_seed(0)
conv = torch.nn.Conv2d(2, 4, 3, padding=1, groups=2)
with torch.no_grad():
    for p in conv.parameters():
        p.copy_(torch.linspace(-1, 1, p.numel()).reshape(p.shape))
x = torch.linspace(0, 1, 3 * 2 * 4 * 4).reshape(3, 1, 2, 4, 4)
print(torch.vmap(conv)(x).shape, torch.allclose(torch.vmap(conv)(x)[1], conv(x[1]), atol=1e-6))
loss = lambda w, x: torch.nn.functional.conv2d(x, w, groups=2).square().sum()
g = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(conv.weight.detach(), x)
print(g.shape, g[2, 3, 0])
emb = torch.arange(8.).reshape(4, 2)
idx = torch.tensor([[0, 1], [3, 3]])
loss = lambda e, i: torch.nn.functional.embedding(i, e).sum() ** 2
print(torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(emb, idx))
ln = torch.nn.LayerNorm(2)
print(torch.vmap(ln)(torch.tensor([[1., 2.], [3., 5.]])).detach())
print(torch.vmap(lambda t: t.softmax(0).log())(torch.tensor([[1., 2.], [3., 5.]])))
""",
    """
torch.Size([3, 1, 4, 4, 4]) True
torch.Size([3, 4, 1, 3, 3]) tensor([[44.7787, 45.3212, 45.8636],
        [46.9485, 47.4910, 48.0334],
        [49.1183, 49.6608, 50.2033]])
tensor([[[ 12.,  12.],
         [ 12.,  12.],
         [  0.,   0.],
         [  0.,   0.]],

        [[  0.,   0.],
         [  0.,   0.],
         [  0.,   0.],
         [104., 104.]]])
tensor([[-1.0000,  1.0000],
        [-1.0000,  1.0000]])
tensor([[-1.3133, -0.3133],
        [-2.1269, -0.1269]])
""",
)


program(
    "jacobian_functions",
    """
F = torch.autograd.functional
x = torch.tensor([1., 2.])
def f(x):
    return x ** 2
def two(x, y):
    return x * y, x.sum()
print(F.jacobian(f, x))
print(F.jacobian(two, (x, x + 1)))
print(F.jacobian(lambda x: x.sum(), x), F.jacobian(f, x, vectorize=True))
print(F.hessian(lambda x: (x ** 3).sum(), x))
print(F.hessian(lambda x, y: (x * y * y).sum(), (x, x + 1)))
print(F.vjp(f, x, torch.ones(2)))
print(F.vjp(two, (x, x), (torch.ones(2), torch.tensor(1.))))
print(F.vjp(lambda x: x.sum(), x))
print(F.jvp(f, x, torch.ones(2)))
print(F.vhp(lambda x: (x ** 3).sum(), x, torch.ones(2)))
print(F.hvp(lambda x: (x ** 3).sum(), x, torch.ones(2)))
print(F.hvp(lambda x, y: (x * x * y).sum(), (x, x), (torch.ones(2), torch.zeros(2))))
print(F.jacobian(lambda x: torch.ones(2), x))
fails(lambda: F.jacobian(lambda x: torch.ones(2), x, strict=True), 60)
fails(lambda: F.vjp(f, x), 60)
fails(lambda: F.hessian(f, x), 60)
fails(lambda: F.jacobian(lambda x: 3, x), 60)
y = x.clone().requires_grad_()
j = F.jacobian(f, y, create_graph=True)
print(j.requires_grad, F.jacobian(f, y).requires_grad)
j.sum().backward()
print(y.grad)
""",
    """
tensor([[2., 0.],
        [0., 4.]])
((tensor([[2., 0.],
        [0., 3.]]), tensor([[1., 0.],
        [0., 2.]])), (tensor([1., 1.]), tensor([0., 0.])))
tensor([1., 1.]) tensor([[2., 0.],
        [0., 4.]])
tensor([[ 6.,  0.],
        [ 0., 12.]])
((tensor([[0., 0.],
        [0., 0.]]), tensor([[4., 0.],
        [0., 6.]])), (tensor([[4., 0.],
        [0., 6.]]), tensor([[2., 0.],
        [0., 4.]])))
(tensor([1., 4.]), tensor([2., 4.]))
((tensor([1., 4.]), tensor(3.)), (tensor([2., 3.]), tensor([1., 2.])))
(tensor(3.), tensor([1., 1.]))
(tensor([1., 4.]), tensor([2., 4.]))
(tensor(9.), tensor([ 6., 12.]))
(tensor(9.), tensor([ 6., 12.]))
(tensor(9.), (tensor([2., 4.]), tensor([2., 4.])))
tensor([[0., 0.],
        [0., 0.]])
raises Output 0 of the user-provided function does not require grad
raises The vector v can only be None if the user-provided function
raises The Tensor returned by the function given to hessian should
raises The outputs of the user-provided function given to jacobian
True False
tensor([2., 2.])
""",
)


program(
    "batched_gradients",
    """
x = torch.tensor([1., 2., 3.], requires_grad=True)
y = x ** 2
print(torch.autograd.grad(y, x, torch.eye(3), is_grads_batched=True, retain_graph=True))
print(torch.autograd.grad([y, y.sum()], [x], [torch.eye(3), torch.ones(3)], is_grads_batched=True, retain_graph=True))
(g,) = torch.autograd.grad(y, x, torch.eye(3)[:2], is_grads_batched=True, create_graph=True)
print(g.requires_grad, g.shape)
g.sum().backward()
print(x.grad)
fails(lambda: torch.autograd.grad(y, x, torch.ones(2, 2), is_grads_batched=True), 40)
""",
    """
(tensor([[2., 0., 0.],
        [0., 4., 0.],
        [0., 0., 6.]]),)
(tensor([[ 4.,  4.,  6.],
        [ 2.,  8.,  6.],
        [ 2.,  4., 12.]]),)
True torch.Size([2, 3])
tensor([2., 2., 0.])
raises If `is_grads_batched=True`, we interpret
""",
)


program(
    "functions_in_mapped_functions",
    """
F = torch.autograd.Function
class Cube(F):
    generate_vmap_rule = True
    @staticmethod
    def forward(x):
        return x ** 3, 3 * x ** 2
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0], output[1])
    @staticmethod
    def backward(ctx, g, h):
        x, d = ctx.saved_tensors
        return g * d + h * 6 * x
class Scaled(F):
    generate_vmap_rule = True
    @staticmethod
    def forward(x, w, k):
        return (x * w).sum() * k
    @staticmethod
    def setup_context(ctx, inputs, output):
        x, w, ctx.k = inputs
        ctx.save_for_backward(x, w)
    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w * ctx.k, g * x * ctx.k, None
class Own(F):
    @staticmethod
    def forward(x):
        return x.sin()
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()
    @staticmethod
    def vmap(info, in_dims, x):
        print('vmap', info.batch_size, info.randomness)
        return Own.apply(x), in_dims[0]
class Neither(Own):
    vmap = F.vmap
class Both(Own):
    generate_vmap_rule = True
class Bad(Own):
    @staticmethod
    def vmap(info, in_dims, x):
        return x
class Old(F):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        return g * 2
    @staticmethod
    def vmap(info, in_dims, x):
        return x * 2, 0
vmap, grad = torch.vmap, torch.autograd.grad
x = torch.tensor([[1., 2.], [3., 4.], [5., 6.]], requires_grad=True)
w = torch.tensor([1., -1.], requires_grad=True)
first = lambda a: Cube.apply(a)[0]
y = vmap(first)(x)
print(y.detach(), y.grad_fn.name(), grad(y.sum(), x))
print(grad(vmap(lambda a: Cube.apply(a)[1])(x).sum(), x))
y = vmap(lambda a: Scaled.apply(a, w, 2))(x)
print(y.detach(), grad((y * y).sum(), (x, w)))
y = vmap(lambda a: Scaled.apply(a, w, 2), in_dims=1)(x.t())
print(grad((y * y).sum(), (x, w)))
(g,) = grad(vmap(first)(x).sum(), x, create_graph=True)
print(grad((g * g).sum(), x))
print(torch.func.vmap(torch.func.grad(lambda a: Scaled.apply(a, w.detach(), 2) ** 2))(x.detach()))
print(torch.func.grad(lambda a: vmap(lambda b: Scaled.apply(b, w.detach(), 2))(a).pow(2).sum())(x.detach()))
print(vmap(vmap(first))(x.detach()), grad(vmap(vmap(first))(x).sum(), x))
print(torch.func.jacrev(first)(x.detach()[0]))
print(vmap(lambda a, v: torch.func.vjp(first, a)[1](v))(x.detach(), torch.ones(3, 2)))
y = vmap(Own.apply)(x)
print(y.detach(), y.grad_fn.name(), grad(y.sum(), x))
print(vmap(torch.func.grad(lambda a: Own.apply(a).sum()))(x.detach()))
print(torch.func.grad(lambda a: vmap(Own.apply, in_dims=1, out_dims=1)(a).sum())(x.detach()))
print(vmap(vmap(Own.apply), randomness='same')(x.detach()))
print(vmap(lambda a: Own.apply(w.detach()) + a)(x.detach()))
for wrong in (Neither, Both, Bad, Old):
    fails(lambda: vmap(wrong.apply)(x), 110)
fails(lambda: vmap(lambda a: Neither.apply(w) + a)(x), 110)
""",
    """
tensor([[  1.,   8.],
        [ 27.,  64.],
        [125., 216.]]) VmappedCubeBackward (tensor([[  3.,  12.],
        [ 27.,  48.],
        [ 75., 108.]]),)
(tensor([[ 6., 12.],
        [18., 24.],
        [30., 36.]]),)
tensor([-2., -2., -2.]) (tensor([[-8.,  8.],
        [-8.,  8.],
        [-8.,  8.]]), tensor([-72., -96.]))
(tensor([[-8.,  8.],
        [-8.,  8.],
        [-8.,  8.]]), tensor([-72., -96.]))
(tensor([[  36.,  288.],
        [ 972., 2304.],
        [4500., 7776.]]),)
tensor([[-8.,  8.],
        [-8.,  8.],
        [-8.,  8.]])
tensor([[-8.,  8.],
        [-8.,  8.],
        [-8.,  8.]])
tensor([[  1.,   8.],
        [ 27.,  64.],
        [125., 216.]]) (tensor([[  3.,  12.],
        [ 27.,  48.],
        [ 75., 108.]]),)
tensor([[ 3.,  0.],
        [ 0., 12.]])
(tensor([[  3.,  12.],
        [ 27.,  48.],
        [ 75., 108.]]),)
vmap 3 error
tensor([[ 0.8415,  0.9093],
        [ 0.1411, -0.7568],
        [-0.9589, -0.2794]]) OwnBackward (tensor([[ 0.5403, -0.4161],
        [-0.9900, -0.6536],
        [ 0.2837,  0.9602]]),)
vmap 3 error
tensor([[ 0.5403, -0.4161],
        [-0.9900, -0.6536],
        [ 0.2837,  0.9602]])
vmap 2 error
tensor([[ 0.5403, -0.4161],
        [-0.9900, -0.6536],
        [ 0.2837,  0.9602]])
vmap 2 error
vmap 3 same
tensor([[ 0.8415,  0.9093],
        [ 0.1411, -0.7568],
        [-0.9589, -0.2794]])
tensor([[1.8415, 1.1585],
        [3.8415, 3.1585],
        [5.8415, 5.1585]])
raises You tried to vmap over Neither, but it does not have vmap support. Please override and implement the vmap stat
raises You tried to vmap over Both, but it has both generate_vmap_rule=True and an overridden vmap staticmethod. Plea
raises Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure compatible wi
raises In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must overrid
raises You tried to vmap over Neither, but it does not have vmap support. Please override and implement the vmap stat
""",
)
