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
