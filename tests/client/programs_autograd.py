"""Programs about gradients, each with what PyTorch 2.13 prints for it; see test_programs.py.

`torch` names the library under test and `fails(call, n)` prints the first n characters of the error a
call raises. Addresses are left out.
"""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


program(
    "tutorial",
    """
x = torch.ones(2, 2, requires_grad=True)
y = x + 2
print(x)
print(y)
print(y.grad_fn)
z = y * y * 3
out = z.mean()
print(z)
print(out)
out.backward()
print(x.grad)
print(x.requires_grad)
print((x ** 2).requires_grad)
with torch.no_grad():
    print((x ** 2).requires_grad)
y = x.detach()
print(y.requires_grad)
print(x.eq(y).all())
""",
    """
tensor([[1., 1.],
        [1., 1.]], requires_grad=True)
tensor([[3., 3.],
        [3., 3.]], grad_fn=<AddBackward0>)
<AddBackward0 object at 0x>
tensor([[27., 27.],
        [27., 27.]], grad_fn=<MulBackward0>)
tensor(27., grad_fn=<MeanBackward0>)
tensor([[4.5000, 4.5000],
        [4.5000, 4.5000]])
True
True
False
False
tensor(True)
""",
)

program(
    "accumulate",
    """
x = torch.tensor([1., 2., 3.], requires_grad=True)
(x * x).sum().backward()
g = x.grad
print(g)
(x * x * x).sum().backward()
print(x.grad, g is x.grad, g)
x.grad.zero_()
print(x.grad)
x.grad = None
(x * 2).sum().backward()
print(x.grad)
""",
    """
tensor([2., 4., 6.])
tensor([ 5., 16., 33.]) True tensor([ 5., 16., 33.])
tensor([0., 0., 0.])
tensor([2., 2., 2.])
""",
)

program(
    "second_backward",
    """
x = torch.tensor([1., 2.], requires_grad=True)
y = (x * x).sum()
y.backward()
fails(lambda: y.backward())
z = (x * x).sum()
z.backward(retain_graph=True)
z.backward()
fails(lambda: z.backward())
s = x.sum()
s.backward()
s.backward()
print(x.grad)
h = x.exp()
a = h.sum()
b = (h * h).sum()
a.backward()
fails(lambda: b.backward())
""",
    """
raises Trying to backward through the graph a second time (or directly access saved tensors after
raises Trying to backward through the graph a second time (or directly access saved tensors after
tensor([ 8., 14.])
raises Trying to backward through the graph a second time (or directly access saved tensors after
""",
)

program(
    "backward_errors",
    """
x = torch.ones(2, requires_grad=True)
fails(lambda: (x * 2).backward())
fails(lambda: torch.ones(1).backward())
fails(lambda: (x * 2).backward(torch.ones(3)))
fails(lambda: (x * 2).sum().backward(torch.ones(2)))
(x * 2).backward(torch.tensor([1., 10.]))
print(x.grad)
fails(lambda: torch.autograd.grad((x * 2).sum(), torch.ones(2)))
fails(lambda: torch.autograd.grad((x * 2).sum(), torch.ones(2, requires_grad=True)))
fails(lambda: torch.autograd.grad(x * 2, x))
with torch.no_grad():
    y = (x * 2).sum()
fails(lambda: y.backward())
""",
    """
raises grad can be implicitly created only for scalar outputs
raises element 0 of tensors does not require grad and does not have a grad_fn
raises Mismatch in shape: grad_output[0] has a shape of torch.Size([3]) and output[0] has a shape
raises Mismatch in shape: grad_output[0] has a shape of torch.Size([2]) and output[0] has a shape
tensor([ 2., 20.])
raises One of the differentiated Tensors does not require grad
raises The differentiated Tensor at index 0 appears to not have been used in the graph. Set allow
raises grad can be implicitly created only for scalar outputs
raises element 0 of tensors does not require grad and does not have a grad_fn
""",
)

program(
    "grad_function",
    """
x = torch.tensor([1., 2., 3.], requires_grad=True)
w = torch.tensor([4., 5., 6.], requires_grad=True)
u = torch.ones(2, requires_grad=True)
h = x * w
y = (h * h).sum()
print(torch.autograd.grad(y, [x, w], retain_graph=True))
print(torch.autograd.grad(y, h, retain_graph=True))
print(torch.autograd.grad(y, [x, u], allow_unused=True, retain_graph=True))
print(torch.autograd.grad(y, [x, u], allow_unused=True, materialize_grads=True, retain_graph=True))
print(torch.autograd.grad([h, y], [x], [torch.ones(3), None]))
print(x.grad, w.grad)
""",
    """
(tensor([ 32., 100., 216.]), tensor([  8.,  40., 108.]))
(tensor([ 8., 20., 36.]),)
(tensor([ 32., 100., 216.]), None)
(tensor([ 32., 100., 216.]), tensor([0., 0.]))
(tensor([ 36., 105., 222.]),)
None None
""",
)

program(
    "higher_order",
    """
x = torch.tensor([0.5, 1.5], dtype=torch.float64, requires_grad=True)
y = (x ** 3).sum()
(g,) = torch.autograd.grad(y, x, create_graph=True)
print(g.requires_grad)
print(g.detach())
(h,) = torch.autograd.grad(g.sum(), x, create_graph=True)
print(h.detach())
(t,) = torch.autograd.grad(h.sum(), x)
print(t)
v = torch.tensor([1., -1.], dtype=torch.float64)
y = (x.exp() * x.sin()).sum()
(g,) = torch.autograd.grad(y, x, create_graph=True)
(hv,) = torch.autograd.grad((g * v).sum(), x)
print(hv)
""",
    """
True
tensor([0.7500, 6.7500], dtype=torch.float64)
tensor([3., 9.], dtype=torch.float64)
tensor([6., 6.], dtype=torch.float64)
tensor([ 2.8938, -0.6340], dtype=torch.float64)
""",
)

program(
    "create_graph_backward",
    """
x = torch.tensor([2.], requires_grad=True)
y = x * x * x
y.backward(create_graph=True)
print(x.grad.detach(), x.grad.requires_grad)
g = x.grad
x.grad = None
g.backward()
print(x.grad)
""",
    """
tensor([12.]) True
tensor([12.])
""",
)

program(
    "inputs_argument",
    """
x = torch.ones(2, requires_grad=True)
w = torch.ones(2, requires_grad=True)
h = x * w * 3
(h * h).sum().backward(inputs=[x])
print(x.grad, w.grad)
fails(lambda: (x * w).sum().backward(inputs=[]))
""",
    """
tensor([18., 18.]) None
raises `inputs` argument to `backward()` cannot be empty.
""",
)

program(
    "leafs",
    """
x = torch.ones(2, requires_grad=True)
y = x * 2
print(x.is_leaf, y.is_leaf, torch.ones(2).is_leaf, y.detach().is_leaf)
print(x.grad_fn, y.requires_grad)
fails(lambda: y.requires_grad_(False))
fails(lambda: torch.ones(2, dtype=torch.int64).requires_grad_())
z = torch.ones(2)
z.requires_grad_()
print(z, z.is_leaf)
z.requires_grad = False
print(z)
""",
    """
True False True True
None True
raises you can only change requires_grad flags of leaf variables. If you want to use a computed v
raises only Tensors of floating point dtype can require gradients
tensor([1., 1.], requires_grad=True) True
tensor([1., 1.])
""",
)

program(
    "grad_fn_graph",
    """
x = torch.ones(2, requires_grad=True)
w = torch.ones(2)
y = (x * w + x).sum()
f = y.grad_fn
print(f.name(), [(g.name() if g else None, i) for g, i in f.next_functions])
a = f.next_functions[0][0]
print([(g.name() if g else None, i) for g, i in a.next_functions])
m = a.next_functions[0][0]
print([(g.name() if g else None, i) for g, i in m.next_functions])
acc = m.next_functions[0][0]
print(acc.name(), acc.variable is x, acc.next_functions, type(acc).__name__)
print(a.next_functions[1][0] is acc, y.grad_fn is f)
""",
    """
SumBackward0 [('AddBackward0', 0)]
[('MulBackward0', 0), ('torch::autograd::AccumulateGrad', 0)]
[('torch::autograd::AccumulateGrad', 0), (None, 0)]
torch::autograd::AccumulateGrad True () AccumulateGrad
True True
""",
)

program(
    "retain_grad",
    """
x = torch.ones(2, requires_grad=True)
h = x * 3
h.retain_grad()
print(h.retains_grad)
(h * h).sum().backward()
print(h.grad, x.grad)
fails(lambda: torch.ones(2).retain_grad())
""",
    """
True
tensor([6., 6.]) tensor([18., 18.])
raises can't retain_grad on Tensor that has requires_grad=False
""",
)

program(
    "training",
    """
x = torch.arange(8.).reshape(4, 2) / 8
t = torch.tensor([1., 0., 1., 0.])
w = torch.zeros(2, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
m = torch.zeros(2)
for step in range(5):
    p = (x * w).sum(1) + b
    loss = ((p - t) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        m = 0.9 * m + w.grad
        w -= 0.1 * m
        b -= 0.1 * b.grad
        w.grad = None
        b.grad = None
    print(loss)
print(w, b, m)
""",
    """
tensor(0.5000, grad_fn=<MeanBackward0>)
tensor(0.3964, grad_fn=<MeanBackward0>)
tensor(0.3365, grad_fn=<MeanBackward0>)
tensor(0.3124, grad_fn=<MeanBackward0>)
tensor(0.3095, grad_fn=<MeanBackward0>)
tensor([0.1433, 0.2535], requires_grad=True) tensor([0.2748], requires_grad=True) tensor([-0.1495, -0.4088])
""",
)

program(
    "multi_output",
    """
x = torch.tensor([[1., 5., 2.], [7., 3., 4.]], requires_grad=True)
v, i = x.max(1)
print(v, i, v.grad_fn.name(), i.requires_grad)
(v * v).sum().backward()
print(x.grad)
a, b = (x * 2).split([1, 2], 1)
x.grad = None
(b * b).sum().backward()
print(x.grad, a.shape)
c = x.unbind(0)
x.grad = None
c[1].sum().backward()
print(x.grad)
""",
    """
tensor([5., 7.], grad_fn=<MaxBackward0>) tensor([1, 0]) MaxBackward0 False
tensor([[ 0., 10.,  0.],
        [14.,  0.,  0.]])
tensor([[ 0., 40., 16.],
        [ 0., 24., 32.]]) torch.Size([2, 1])
tensor([[0., 0., 0.],
        [1., 1., 1.]])
""",
)

program(
    "detached_paths",
    """
w = torch.tensor(2., requires_grad=True)
h = w * 3
y = h * h.detach()
y.backward()
print(w.grad)
w.grad = None
with torch.no_grad():
    k = w * 5
y = w * k
y.backward()
print(w.grad)
w.grad = None
with torch.no_grad():
    w *= 2
u = w.detach().clone().requires_grad_()
y = w * u * w.detach()
y.backward()
print(w.grad, u.grad)
h = w * 3
print(h)
(h * h).backward()
print(w.grad)
""",
    """
tensor(18.)
tensor(10.)
tensor(16.) tensor(16.)
tensor(12., grad_fn=<MulBackward0>)
tensor(88.)
""",
)

program(
    "leaf_root",
    """
x = torch.tensor(2., requires_grad=True)
x.backward()
print(x.grad)
y = torch.tensor([1., 2.], requires_grad=True)
y.backward(torch.tensor([3., 4.]))
print(y.grad)
z = (y * 2).sum()
print(torch.autograd.grad(z, z))
z = (y * 2).sum()
z.backward(inputs=[y, x])
print(y.grad, x.grad)
a = y * 2
b = y * 3
torch.autograd.backward([a, b], [torch.ones(2), torch.ones(2)])
print(y.grad)
torch.autograd.backward([(y * y).sum(), y.sum()])
print(y.grad)
print(torch.autograd.grad((y * y).sum(), [y, y]))
""",
    """
tensor(1.)
tensor([3., 4.])
(tensor(1.),)
tensor([5., 6.]) tensor(1.)
tensor([10., 11.])
tensor([13., 16.])
(tensor([2., 4.]), tensor([2., 4.]))
""",
)

program(
    "pending_leaves",
    """
w = (torch.ones(3) * 2).requires_grad_()
print(w.is_leaf, w.grad_fn)
loss = (w * w).sum()
loss.backward()
print(w.grad, loss, w)
u = torch.ones(3) * 4
d = u.detach()
u.requires_grad_()
(u * d).sum().backward()
print(u.grad, d.requires_grad)
k = torch.zeros(2)
v = k[0]
v.requires_grad_()
print(k.requires_grad, v.is_leaf, v.requires_grad)
(v * 5).backward()
print(v.grad)
""",
    """
True None
tensor([4., 4., 4.]) tensor(12., grad_fn=<SumBackward0>) tensor([2., 2., 2.], requires_grad=True)
tensor([4., 4., 4.]) False
False True True
tensor(5.)
""",
)

program(
    "version_of_leaves",
    """
w = torch.ones(2, requires_grad=True)
h = (w * 2).sum()
g = (w * w).sum()
with torch.no_grad():
    w.mul_(3)
h.backward()
print(w.grad)
fails(lambda: g.backward(), 100)
w.grad = None
(w * w).sum().backward()
print(w.grad)
""",
    """
tensor([2., 2.])
raises one of the variables needed for gradient computation has been modified by an inplace operation: [tor
tensor([6., 6.])
""",
)

program(
    "broadcast_grads",
    """
a = torch.ones(3, 1, requires_grad=True)
b = torch.ones(4, requires_grad=True)
(a * b * torch.arange(12.).reshape(3, 4)).sum().backward()
print(a.grad, b.grad)
s = torch.tensor(2., requires_grad=True)
(s * torch.ones(2, 2)).sum().backward()
print(s.grad)
i = torch.tensor([1, 2])
x = torch.ones(2, requires_grad=True)
(x * i).sum().backward()
print(x.grad, (x * i).dtype)
h = torch.ones(2, dtype=torch.float64, requires_grad=True)
(h * x).sum().backward()
print(h.grad, x.grad.dtype)
""",
    """
tensor([[ 6.],
        [22.],
        [38.]]) tensor([12., 15., 18., 21.])
tensor(4.)
tensor([1., 2.]) torch.float32
tensor([1., 1.], dtype=torch.float64) torch.float32
""",
)

program(
    "complex_scalar",
    """
z = torch.tensor(1. + 2j, requires_grad=True)
fails(lambda: (z * z).backward())
(z * z.conj()).real.backward()
print(z.grad)
""",
    """
raises grad can be implicitly created only for real scalar outputs but got torch.complex64
tensor(2.+4.j)
""",
)


program(
    "saved_tensors_hooks",
    """
graph = torch.autograd.graph
log = []
def pack(t):
    log.append(('pack', tuple(t.shape), t.requires_grad, t.is_leaf, torch.is_grad_enabled()))
    return t
def unpack(t):
    log.append(('unpack', torch.is_grad_enabled()))
    return t
x = torch.tensor([1., 2.], requires_grad=True)
ops = [lambda: x * x, lambda: x * 2, lambda: x.exp(), lambda: x.sin(), lambda: x ** 2, lambda: x + x, lambda: x.sum(),
       lambda: torch.ones(2, 2) @ x, lambda: x.tanh(), lambda: x.relu(), lambda: (x * 2).exp().log()]
for op in ops:
    with graph.saved_tensors_hooks(pack, unpack):
        y = op()
    print(log)
    log.clear()
    y.sum().backward()
    print(log)
    log.clear()
x.grad = None
with graph.saved_tensors_hooks(lambda t: t * 3, lambda t: t):
    y = x * x
y.sum().backward()
print(x.grad)
with graph.saved_tensors_hooks(lambda t: t.detach().numpy(), lambda a: torch.tensor(a)):
    y = (x * 2).exp().sum() + (x * x).sum()
print(torch.autograd.grad(y, x))
class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x, None, x * 1)
        return x * x
    @staticmethod
    def backward(ctx, g):
        a, _, b = ctx.saved_tensors
        return g * (a + b)
with graph.saved_tensors_hooks(pack, unpack):
    y = Square.apply(x)
    (g,) = torch.autograd.grad((x ** 3).sum(), x, create_graph=True)
print(log[:2], torch.autograd.grad(g.sum(), x))
log.clear()
print(torch.autograd.grad(y.sum(), x), log)
with graph.saved_tensors_hooks(pack, lambda t: 3):
    y = x * x
fails(lambda: y.sum().backward())
with graph.saved_tensors_hooks(lambda t: t.mul_(2), unpack):
    fails(lambda: (x * 1) ** 2)
with graph.disable_saved_tensors_hooks('no hooks here'):
    fails(lambda: graph.saved_tensors_hooks(pack, unpack).__enter__())
    fails(lambda: graph.save_on_cpu().__enter__())
with graph.saved_tensors_hooks(pack, unpack):
    fails(lambda: graph.disable_saved_tensors_hooks('not now').__enter__())
with graph.save_on_cpu():
    y = x * x
print(torch.autograd.grad(y.sum(), x))
a = torch.ones(2, requires_grad=True)
with graph.allow_mutation_on_saved_tensors() as allowed:
    b = a.clone()
    out = (b ** 2).sum()
    b.sin_()
    print(b)
    out.backward()
    print(a.grad)
    allowed.clear()
    out = (a * 2 + b.detach()).exp().sum()
    fails(lambda: graph.allow_mutation_on_saved_tensors().__enter__())
fails(lambda: out.backward(), 75)
""",
    """
[('pack', (2,), True, True, False), ('pack', (2,), True, True, False)]
[('unpack', False), ('unpack', False)]
[]
[]
[('pack', (2,), True, False, False)]
[('unpack', False)]
[('pack', (2,), True, True, False)]
[('unpack', False)]
[('pack', (2,), True, True, False)]
[('unpack', False)]
[]
[]
[]
[]
[('pack', (2, 2), False, True, False)]
[('unpack', False)]
[('pack', (2,), True, False, False)]
[('unpack', False)]
[('pack', (2,), True, False, False)]
[('unpack', False)]
[('pack', (2,), True, False, False), ('pack', (2,), True, False, False)]
[('unpack', False), ('unpack', False)]
tensor([ 6., 12.])
(tensor([ 16.7781, 113.1963]),)
[('pack', (2,), True, True, False), ('pack', (2,), False, True, False)] (tensor([ 6., 12.]),)
(tensor([2., 4.]),) [('unpack', False), ('unpack', False)]
raises Output of saved tensor unpack_hook expected to be a Tensor but got result of type int
raises A saved tensor pack hook is modifying its input in place. Tensors provided as input to pac
raises no hooks here
raises no hooks here
raises not now
(tensor([2., 4.]),)
tensor([0.8415, 0.8415], grad_fn=<SinBackward0>)
tensor([2., 2.])
raises allow_mutation_on_saved_tensors contexts cannot be nested
raises Trying to backward outside of the 'allow_mutation_on_saved_tensors' context
""",
)


program(
    "edges_and_several_hooks",
    """
graph = torch.autograd.graph
x = torch.tensor([1., 2.], requires_grad=True)
t = torch.ones(2)
graph.increment_version(t)
graph.increment_version([t, t])
print(t._version)
b = x.exp()
c = (b * b).sum()
graph.increment_version(b)
fails(lambda: c.backward(), 105)
y = x * 2
edges = [graph.get_gradient_edge(one) for one in (x, y, y.unbind()[1])]
print([(edge.node.name(), edge.output_nr) for edge in edges])
print(edges[1].node is y.grad_fn, edges[0]._fields)
print(isinstance(y.grad_fn, graph.Node), issubclass(type(y.grad_fn), graph.Node), isinstance(3, graph.Node))
print(torch.autograd.grad((y * y).sum(), edges[1], retain_graph=True))
print(torch.autograd.grad((y * 3).sum(), edges[:1] + [x]))
y = x * 2
edge = graph.get_gradient_edge(y)
y.mul_(3)
print(torch.autograd.grad((y * y).sum(), [edge, y], retain_graph=True))
(y * y).sum().backward(inputs=[edges[0]])
print(x.grad)
print(torch.autograd.grad(graph.get_gradient_edge(x * 5), x, torch.ones(2)))
fails(lambda: graph.get_gradient_edge(torch.ones(1)), 80)
class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2, x * 3
    @staticmethod
    def backward(ctx, g, h):
        return g * 2 + h * 3
u, v = Twice.apply(x)
print(torch.autograd.grad((u * v).sum(), [graph.get_gradient_edge(v), x]))
leaves = [torch.full((2,), float(i), requires_grad=True) for i in range(4)]
handle = graph.register_multi_grad_hook(leaves, lambda gs: print([None if g is None else g.tolist() for g in gs]))
(leaves[0] * leaves[1]).sum().backward()
(leaves[0] + leaves[1] + leaves[2]).sum().backward()
handle.remove()
(leaves[0] * 1).sum().backward()
m = [leaf * 2 for leaf in leaves[:2]]
with graph.register_multi_grad_hook(m, lambda gs: print('all', gs)):
    (m[0] * m[1] * 0 + m[0]).sum().backward()
m = [leaf * 2 for leaf in leaves[:2]]
with graph.register_multi_grad_hook(m, lambda g: print('any', g), mode='any'):
    (m[0] + m[1]).sum().backward()
fails(lambda: graph.register_multi_grad_hook(leaves, print, mode='some'))
""",
    """
3
raises one of the variables needed for gradient computation has been modified by an inplace operation: [torch.Fl
[('torch::autograd::AccumulateGrad', 0), ('MulBackward0', 0), ('UnbindBackward0', 1)]
True ('node', 'output_nr', 'ownership_token')
True True False
(tensor([4., 8.]),)
(tensor([6., 6.]), tensor([6., 6.]))
(tensor([36., 72.]), tensor([12., 24.]))
tensor([ 72., 144.])
(tensor([5., 5.]),)
raises It is not possible to get the gradient edge for a Tensor that does not require g
(tensor([2., 4.]), tensor([12., 24.]))
[[1.0, 1.0], [0.0, 0.0], None, None]
[[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], None]
all [tensor([1., 1.]), tensor([0., 0.])]
any tensor([1., 1.])
raises Expects mode to be one of ('all', 'any') but got some
""",
)
