"""Programs that look for wrong gradients, each with what PyTorch 2.13 prints for it; see test_programs.py."""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


program(
    "anomaly",
    """
x = torch.tensor([0., 1.], requires_grad=True)
y = torch.tensor([0., 2.], requires_grad=True)
def run():
    loss = (torch.sqrt(x * 0) * y).sum()
    loss.backward()
with torch.autograd.detect_anomaly():
    fails(run, 60)
    (x * y).sum().backward()
print(x.grad)
x.grad = None
run()
print(x.grad)
torch.autograd.set_detect_anomaly(True)
fails(run, 60)
torch.autograd.set_detect_anomaly(False)
run()
with torch.autograd.set_detect_anomaly(True):
    fails(run, 60)
""",
    """
raises Function 'SqrtBackward0' returned nan values in its 0th outp
tensor([0., 2.])
tensor([nan, nan])
raises Function 'SqrtBackward0' returned nan values in its 0th outp
raises Function 'SqrtBackward0' returned nan values in its 0th outp
""",
)


program(
    "gradient_checks",
    """
x = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
y = torch.tensor([1.3, 2.7], dtype=torch.float64, requires_grad=True)
print(torch.autograd.gradcheck(lambda a: a.sin() * a, (x,)))
print(torch.autograd.gradcheck(lambda a, b: (a * b, a.exp().sum()), (x, y)))
print(torch.autograd.gradgradcheck(lambda a, b: (a * b).tanh(), (x, y)))
class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a * 2
    @staticmethod
    def backward(ctx, g):
        return g * 3
fails(lambda: torch.autograd.gradcheck(Wrong.apply, (x,)), 60)
print(torch.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False))
fails(lambda: torch.autograd.gradcheck(lambda a: a, (x.detach(),)), 60)
""",
    """
True
True
True
raises Jacobian mismatch for output 0 with respect to input 0,
nume
False
raises gradcheck expects at least one input tensor to require gradi
""",
)


program(
    "complex_gradient_checks",
    """
check, twice = torch.autograd.gradcheck, torch.autograd.gradgradcheck
x = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
z = torch.tensor([0.3 + 0.5j, 0.7 - 0.2j], dtype=torch.complex128, requires_grad=True)
w = torch.tensor([[1. + 2j, 0.5], [-1j, 0.25]], dtype=torch.complex128, requires_grad=True)
cases = [
    (lambda a: a * a.sin(), (z,)),
    (lambda a: a.abs(), (z,)),
    (lambda a: torch.complex(a, a * a), (x,)),
    (lambda a, b, c: ((a @ b).exp(), (b * c).real, c * 2), (w, z, x)),
    (lambda a: torch.linalg.inv(a), (w,)),
]
ways = [{}, dict(fast_mode=True), dict(check_batched_grad=True), dict(check_forward_ad=True, fast_mode=True)]
for f, inputs in cases:
    print([check(f, inputs, **way) for way in ways], [twice(f, inputs, **way) for way in ways[:3]])
print(check(torch.exp, (z,), check_forward_ad=True, check_batched_forward_grad=True))
print(twice(torch.exp, (z,), check_fwd_over_rev=True))
class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a * 2
    @staticmethod
    def backward(ctx, g):
        return g * 3
class Shifted(Wrong):
    @staticmethod
    def backward(ctx, g):
        return g * 2 + 1e-7
calls = [0]
class Unsteady(Wrong):
    @staticmethod
    def backward(ctx, g):
        calls[0] += 1
        return g * (2 + calls[0] * 1e-9)
class Strict(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.set_materialize_grads(False)
        return a * 1, b * 1
    @staticmethod
    def backward(ctx, g, h):
        if g is None:
            raise RuntimeError('no first gradient')
        return g, h
fails(lambda: check(Wrong.apply, (x,)), 200)
fails(lambda: check(Wrong.apply, (z * 1,), check_undefined_grad=False), 100)
fails(lambda: check(Wrong.apply, (x,), fast_mode=True), 65)
fails(lambda: check(Shifted.apply, (x,)))
fails(lambda: check(Unsteady.apply, (x,)), 110)
print(check(Unsteady.apply, (x,), nondet_tol=1e-3))
fails(lambda: check(Strict.apply, (x, x)))
fails(lambda: check(lambda a: a.detach() * 2, (x,)))
fails(lambda: check(torch.sin, (x.detach().expand(3, 2).requires_grad_(),)))
fails(lambda: check(torch.sin, (x,), check_backward_ad=False))
fails(lambda: check(torch.sin, (x,), check_batched_forward_grad=True))
fails(lambda: twice(torch.sin, (x,), check_rev_over_rev=False))
print(check(lambda a: (a * 2, a.detach()), (x,)), check(lambda a: a * 2, (x[:0].detach().requires_grad_(),)))
print(check(Wrong.apply, (z,), raise_exception=False), check(Shifted.apply, (x,), raise_exception=False))
""",
    """
[True, True, True, True] [True, True, True]
[True, True, True, True] [True, True, True]
[True, True, True, True] [True, True, True]
[True, True, True, True] [True, True, True]
[True, True, True, True] [True, True, True]
True
True
raises Jacobian mismatch for output 0 with respect to input 0,
numerical:tensor([[2.0000, 0.0000],
        [0.0000, 2.0000]], dtype=torch.float64)
analytical:tensor([[3., 0.],
        [0., 3.]], dtype=torch.
raises While considering the imaginary part of complex outputs only, Jacobian mismatch for output 0 with re
raises Jacobian mismatch for output 0 with respect to input 0,
numerical
raises backward not multiplied by grad_output
raises Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives differe
True
raises no first gradient
raises Numerical gradient for function expected to be zero
raises The 0th input has a dimension with stride 0. gradcheck only supports inputs that are non-o
raises Expected at least one of check_forward_ad or check_backward_ad to be True
raises Setting check_batched_forward_grad=True requires check_forward_ad to be True
raises Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True
True True
False False
""",
)


program(
    "gradients_in_mapped_functions",
    """
x = torch.tensor([0.5, 1.], requires_grad=True)
y = (x ** 3).sum() * x
print(torch.vmap(lambda v: torch.autograd.grad(y, x, v, retain_graph=True))(torch.eye(2)))
""",
    """
(tensor([[1.5000, 1.5000],
        [0.7500, 4.1250]]),)
""",
)
