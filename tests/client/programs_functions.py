"""Programs about custom Functions, hooks and modes, each with what PyTorch 2.13 prints for it; see test_programs.py.

`torch` names the library under test and `fails(call, n)` prints the first n characters of the error a
call raises. Addresses are left out.
"""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


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
    "nested_functions",
    """
class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x
    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return Double.apply(x) * g
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        return g * 2
x = torch.tensor([1., 2., 3.], dtype=torch.float64, requires_grad=True)
y = Square.apply(x * 1.5)
y.sum().backward()
print(x.grad)
(g,) = torch.autograd.grad(Square.apply(x).sum(), x, create_graph=True)
(h,) = torch.autograd.grad((g * x).sum(), x)
print(h)
with torch.no_grad():
    z = Square.apply(x)
print(z.requires_grad, z.grad_fn)
s = Square.apply(torch.ones(2))
print(s.requires_grad)
h = Square.apply(x)
h.add_(1)
h.sum().backward()
print(x.grad)
""",
    """
tensor([ 4.5000,  9.0000, 13.5000], dtype=torch.float64)
tensor([ 4.,  8., 12.], dtype=torch.float64)
False None
False
tensor([ 6.5000, 13.0000, 19.5000], dtype=torch.float64)
""",
)

program(
    "saved_by_function",
    """
class Keep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x
    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 2 * x * g
x = torch.ones(2, requires_grad=True)
a = x * 1
y = Keep.apply(a)
a.add_(1)
fails(lambda: y.sum().backward(), 60)
y = Keep.apply(x)
y.sum().backward()
fails(lambda: y.sum().backward(), 60)
y = Keep.apply(x)
y.sum().backward(retain_graph=True)
y.sum().backward()
print(x.grad)
""",
    """
raises one of the variables needed for gradient computation has bee
raises Trying to backward through the graph a second time (or direc
tensor([6., 6.])
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
    "hooks_more",
    """
x = torch.ones(2, requires_grad=True)
order = []
y = x * 2
y.register_hook(lambda g: order.append('tensor'))
y.grad_fn.register_prehook(lambda g: order.append('pre'))
y.grad_fn.register_hook(lambda gi, go: order.append('post'))
x.register_hook(lambda g: order.append('leaf'))
x.register_post_accumulate_grad_hook(lambda t: order.append('accumulated'))
y.sum().backward()
print(order)
y = x * 2
y.retain_grad()
y.register_hook(lambda g: g * 10)
y.sum().backward()
print(y.grad)
z = (x * 3)
h = z.register_hook(lambda g: g * 100)
(g,) = torch.autograd.grad(z.sum(), z, retain_graph=True)
print(g)
h.remove()
(g,) = torch.autograd.grad(z.sum(), z)
print(g)
w = torch.ones(2, requires_grad=True)
acc = (w * 1).grad_fn.next_functions[0][0]
acc.register_hook(lambda gi, go: order.append('acc'))
(w * 2).sum().backward()
print(order[-1], w.grad)
m = torch.tensor([[1., 2.], [3., 4.]], requires_grad=True)
v, i = (m * 1).max(0)
v.register_hook(lambda g: g * 7)
v.sum().backward()
print(m.grad)
""",
    """
['tensor', 'pre', 'post', 'leaf', 'accumulated']
tensor([10., 10.])
tensor([100., 100.])
tensor([1., 1.])
acc tensor([2., 2.])
tensor([[0., 0.],
        [7., 7.]])
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
