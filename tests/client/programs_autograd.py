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
    "hooks",
    """
x = torch.ones(2, requires_grad=True)
seen = []
h = x.register_hook(lambda g: g * 2)
y = x * 3
k = y.register_hook(lambda g: seen.append(g.tolist()))
(y * y).sum().backward()
print(x.grad, seen)
h.remove()
k.remove()
x.grad = None
(x * x).sum().backward()
print(x.grad, len(seen))
y = x * 3
y.register_hook(lambda g: g + 1)
z = (y * 2).sum()
z.grad_fn.register_hook(lambda gi, go: seen.append((len(gi), len(go))))
z.grad_fn.register_prehook(lambda go: (go[0] * 5,))
x.grad = None
z.backward()
print(x.grad, seen)
w = torch.ones(2, requires_grad=True)
w.register_post_accumulate_grad_hook(lambda t: print('post', t.grad))
(w * 4).sum().backward()
fails(lambda: torch.ones(2).register_hook(print))
fails(lambda: (w * 2).register_post_accumulate_grad_hook(print))
""",
    """
tensor([36., 36.]) [[6.0, 6.0]]
tensor([2., 2.]) 1
tensor([33., 33.]) [[6.0, 6.0], (1, 1)]
post tensor([4., 4.])
raises cannot register a hook on a tensor that doesn't require gradient
raises post accumulate grad hooks cannot be registered on non-leaf tensors
""",
)

program(
    "function",
    """
class Exp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, i):
        result = i.exp()
        ctx.save_for_backward(result)
        return result
    @staticmethod
    def backward(ctx, grad_output):
        result, = ctx.saved_tensors
        return grad_output * result
x = torch.tensor([0., 1.], dtype=torch.float64, requires_grad=True)
y = Exp.apply(x)
print(y.grad_fn.name(), y.requires_grad, type(y.grad_fn).__name__)
(y * 2).sum().backward()
print(x.grad)
(g,) = torch.autograd.grad(Exp.apply(x).sum(), x, create_graph=True)
(gg,) = torch.autograd.grad(g.sum(), x)
print(gg)
class Mul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b, k):
        ctx.k = k
        ctx.save_for_backward(a, b)
        print(ctx.needs_input_grad)
        return a * b * k, a + b
    @staticmethod
    def backward(ctx, g, h):
        a, b = ctx.saved_tensors
        return g * b * ctx.k + h, g * a * ctx.k + h, None
a = torch.tensor([2.], requires_grad=True)
b = torch.tensor([3.])
p, q = Mul.apply(a, b, 10)
p.sum().backward()
print(a.grad, p.grad_fn is q.grad_fn, [n for n, i in p.grad_fn.next_functions][1])
class Bad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a * 2
    @staticmethod
    def backward(ctx, g):
        return g, g
fails(lambda: Bad.apply(a).sum().backward())
class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a * 2
    @staticmethod
    def backward(ctx, g):
        return torch.ones(5)
fails(lambda: Wrong.apply(a).sum().backward())
""",
    """
ExpBackward True ExpBackward
tensor([2.0000, 5.4366], dtype=torch.float64)
tensor([1.0000, 2.7183], dtype=torch.float64)
(True, False, False)
tensor([30.]) True None
raises function BadBackward returned an incorrect number of gradients (expected 1, got 2)
no error None
""",
)

program(
    "function_more",
    """
class Split(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x * 2, x > 0
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[0])
    @staticmethod
    def backward(ctx, g, m):
        print(m)
        x, = ctx.saved_tensors
        return g * x
x = torch.tensor([1., -2.], requires_grad=True)
y, m = Split.apply(x)
print(y, m, m.requires_grad)
y.sum().backward()
print(x.grad)
class Inc(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x.add_(1)
        ctx.mark_dirty(x)
        return x
    @staticmethod
    def backward(ctx, g):
        return g * 10
h = x * 1
r = Inc.apply(h)
print(r is h, h)
x.grad = None
h.sum().backward()
print(x.grad)
class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 2 * x * g
(g,) = torch.autograd.grad(Once.apply(x).sum(), x, create_graph=True)
print(g.detach())
fails(lambda: g.sum().backward())
""",
    """
tensor([ 2., -4.], grad_fn=<SplitBackward>) tensor([ True, False]) False
None
tensor([ 1., -2.])
True tensor([ 2., -1.], grad_fn=<IncBackward>)
tensor([10., 10.])
tensor([ 2., -4.])
raises element 0 of tensors does not require grad and does not have a grad_fn
""",
)

program(
    "modes",
    """
x = torch.ones(1, requires_grad=True)
@torch.no_grad()
def f():
    return x * 2
print(f().requires_grad, torch.is_grad_enabled())
with torch.no_grad():
    with torch.enable_grad():
        print((x * 2).requires_grad)
    print((x * 2).requires_grad)
with torch.set_grad_enabled(False):
    print((x * 2).requires_grad)
torch.set_grad_enabled(False)
print((x * 2).requires_grad)
torch.set_grad_enabled(True)
with torch.inference_mode():
    y = x * 2
    print(y.requires_grad, y.is_inference(), torch.is_inference_mode_enabled())
fails(lambda: y.add_(1), 60)
fails(lambda: (y * x), 60)
fails(lambda: y.requires_grad_(), 60)
@torch.no_grad
def g():
    return torch.is_grad_enabled()
print(g(), torch.is_grad_enabled())
@torch.no_grad()
def gen():
    yield torch.is_grad_enabled()
    yield torch.is_grad_enabled()
for v in gen():
    print(v, torch.is_grad_enabled())
""",
    """
False True
True
False
False
False
False True True
raises Inplace update to inference tensor outside InferenceMode is
raises Inference tensors cannot be saved for backward. Please do no
raises Setting requires_grad=True on inference tensor outside Infer
False True
False True
False True
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
