"""Programs with modules, each with what PyTorch 2.13 prints for it; see test_programs.py."""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


program(
    "module_line",
    """
class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = torch.nn.Linear(2, width)
        self.act = torch.nn.GELU()
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(width, width, bias=False) for _ in range(3)])
        self.heads = torch.nn.ModuleDict({"a": torch.nn.Linear(width, 1)})
        self.heads["b"] = torch.nn.Sequential(torch.nn.Dropout(0.1))
        self.scale = torch.nn.Parameter(torch.ones(width))
        self.register_buffer("count", torch.zeros(1))
    def extra_repr(self):
        return f"width={self.scale.numel()}"
    def forward(self, x):
        x = self.act(self.first(x)) * self.scale
        for block in self.blocks:
            x = x + block(x)
        return self.heads["a"](x)
net = Net(4)
print(net)
print(torch.nn.Sequential())
print(torch.nn.ModuleDict())
print(net(torch.ones(3, 2)).shape)
for name, p in net.named_parameters():
    print(name, tuple(p.shape))
print([name for name, _ in net.named_modules()])
print([name for name, _ in net.named_children()])
print([name for name, _ in net.named_buffers()])
print(len(net.state_dict()))
print(sum(p.numel() for p in net.parameters()))
""",
    """
Net(
  width=4
  (first): Linear(in_features=2, out_features=4, bias=True)
  (act): GELU(approximate='none')
  (blocks): ModuleList(
    (0-2): 3 x Linear(in_features=4, out_features=4, bias=False)
  )
  (heads): ModuleDict(
    (a): Linear(in_features=4, out_features=1, bias=True)
    (b): Sequential(
      (0): Dropout(p=0.1, inplace=False)
    )
  )
)
Sequential()
ModuleDict()
torch.Size([3, 1])
scale (4,)
first.weight (4, 2)
first.bias (4,)
blocks.0.weight (4, 4)
blocks.1.weight (4, 4)
blocks.2.weight (4, 4)
heads.a.weight (1, 4)
heads.a.bias (1,)
['', 'first', 'act', 'blocks', 'blocks.0', 'blocks.1', 'blocks.2', 'heads', 'heads.a', 'heads.b', 'heads.b.0']
['first', 'act', 'blocks', 'heads']
['count']
9
69
""",
)


program(
    "module_attributes",
    """
m = torch.nn.Module()
m.a = torch.nn.Parameter(torch.tensor([1., 2.]))
m.b = torch.tensor([3.])
m.register_buffer("c", torch.tensor([4.]))
m.register_buffer("d", torch.tensor([5.]), persistent=False)
m.child = torch.nn.ReLU()
print(m.a, m.b, m.c, m.child)
print(list(m.state_dict().items()))
print([n for n, _ in m.named_parameters()], [n for n, _ in m.named_buffers()])
m.c = torch.tensor([7.])
print(m.state_dict()["c"])
m.a = None
print(m.a, list(m.parameters()))
m.a = torch.nn.Parameter(torch.zeros(1))
del m.a
fails(lambda: m.a)
fails(lambda: m.missing)
fails(lambda: setattr(m, "child", 3), 60)
fails(lambda: setattr(m, "c", 3), 60)
m.w = torch.nn.Parameter(torch.ones(1))
fails(lambda: setattr(m, "w", 2), 50)
fails(lambda: m.register_buffer("w", torch.ones(1)))
fails(lambda: m.register_parameter("x.y", None))
fails(lambda: m.register_parameter("", None))
fails(lambda: m.add_module("z", 3))
fails(lambda: torch.nn.Module()(1))
class Early(torch.nn.Module):
    def __init__(self):
        self.x = torch.nn.Linear(1, 1)
fails(Early)
class EarlyParameter(torch.nn.Module):
    def __init__(self):
        self.x = torch.nn.Parameter(torch.ones(1))
fails(EarlyParameter)
print(sorted(n for n in dir(m) if n in ("b", "c", "child", "w")))
""",
    """
Parameter containing:
tensor([1., 2.], requires_grad=True) tensor([3.]) tensor([4.]) ReLU()
[('a', tensor([1., 2.])), ('c', tensor([4.]))]
['a'] ['c', 'd']
tensor([7.])
None []
raises 'Module' object has no attribute 'a'
raises 'Module' object has no attribute 'missing'
raises cannot assign 'int' as child module 'child' (torch.nn.Module
raises cannot assign 'int' as buffer 'c' (torch.nn.Buffer, torch.Te
raises cannot assign 'int' as parameter 'w' (torch.nn.Par
raises "attribute 'w' already exists"
raises 'parameter name can\\'t contain "."'
raises 'parameter name can\\'t be empty string ""'
raises int is not a Module subclass
raises Module [Module] is missing the required "forward" function
raises cannot assign module before Module.__init__() call
raises cannot assign parameters before Module.__init__() call
['b', 'c', 'child', 'w']
""",
)


program(
    "parameter",
    """
p = torch.nn.Parameter(torch.tensor([[1., 2.]]))
print(p)
print(repr(p * 2))
print(isinstance(p, torch.Tensor), p.is_leaf, p.requires_grad, p.grad)
q = torch.nn.Parameter(torch.ones(2), requires_grad=False)
print(q)
data = torch.zeros(2)
r = torch.nn.Parameter(data)
data[0] = 5
print(r, r.data)
r.data.mul_(2)
print(data)
fails(lambda: torch.nn.Parameter(torch.tensor([1, 2])))
(p * p).sum().backward()
print(p.grad, type(p.grad).__name__)
import copy
c = copy.deepcopy(p)
print(c, c.grad, c is p, type(c).__name__)
print(torch.nn.Parameter())
""",
    """
Parameter containing:
tensor([[1., 2.]], requires_grad=True)
tensor([[2., 4.]], grad_fn=<MulBackward0>)
True True True None
Parameter containing:
tensor([1., 1.])
Parameter containing:
tensor([5., 0.], requires_grad=True) tensor([5., 0.])
tensor([10.,  0.])
raises Only Tensors of floating point and complex dtype can require gradients
tensor([[2., 4.]]) Tensor
Parameter containing:
tensor([[1., 2.]], requires_grad=True) None False Parameter
Parameter containing:
tensor([], requires_grad=True)
""",
)


program(
    "state_dicts",
    """
a, b = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
torch.nn.init.constant_(a.weight, 0.5)
torch.nn.init.zeros_(a.bias)
print(b.load_state_dict(a.state_dict()))
print(b.weight, b.bias)
a.state_dict()["weight"][0, 0] = 9
print(a.weight, b.weight)
fails(lambda: b.load_state_dict({"weight": torch.ones(1, 2)}), 200)
fails(lambda: b.load_state_dict({"weight": torch.ones(1, 2), "bias": torch.ones(1), "more": torch.ones(1)}), 200)
fails(lambda: b.load_state_dict({"weight": torch.ones(1, 3), "bias": torch.ones(1)}), 120)
fails(lambda: b.load_state_dict([1]))
print(b.load_state_dict({"weight": torch.ones(1, 2), "other": torch.ones(1)}, strict=False))
print(b.weight)
net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
for name, value in net.state_dict().items():
    print(name, tuple(value.shape), value.dtype, value.requires_grad)
print(list(net.state_dict(prefix="net.", keep_vars=True).items())[1][1].requires_grad)
""",
    """
<All keys matched successfully>
Parameter containing:
tensor([[0.5000, 0.5000]], requires_grad=True) Parameter containing:
tensor([0.], requires_grad=True)
Parameter containing:
tensor([[9.0000, 0.5000]], requires_grad=True) Parameter containing:
tensor([[0.5000, 0.5000]], requires_grad=True)
raises Error(s) in loading state_dict for Linear:
	Missing key(s) in state_dict: "bias".
raises Error(s) in loading state_dict for Linear:
	Unexpected key(s) in state_dict: "more".
raises Error(s) in loading state_dict for Linear:
	size mismatch for weight: copying a param with shape torch.Size([1, 3]) from
raises Expected state_dict to be dict-like, got <class 'list'>.
_IncompatibleKeys(missing_keys=['bias'], unexpected_keys=['other'])
Parameter containing:
tensor([[1., 1.]], requires_grad=True)
0.weight (1, 1) torch.float32 False
0.bias (1,) torch.float32 False
1.weight (1,) torch.float32 False
1.bias (1,) torch.float32 False
1.running_mean (1,) torch.float32 False
1.running_var (1,) torch.float32 False
1.num_batches_tracked () torch.int64 False
True
""",
)


program(
    "modes_and_apply",
    """
net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(2)))
print([m.training for m in net.modules()])
print(net.eval() is net, [m.training for m in net.modules()])
net[1].train()
print([m.training for m in net.modules()])
def fill(module):
    print(type(module).__name__)
    if isinstance(module, torch.nn.Linear):
        module.weight.data.fill_(0.25)
        module.bias.data.fill_(-1)
net.apply(fill)
net.eval()
print(net(torch.tensor([[1., 2.]])))
net.requires_grad_(False)
print(net(torch.tensor([[1., 2.]])))
net.double()
print(net[0].weight.dtype, net[1][1].num_batches_tracked.dtype, net[0].weight)
print(net(torch.tensor([[1., 2.]], dtype=torch.float64)))
net.to(torch.float16)
print(net[0].bias)
fails(lambda: net.to(torch.int64), 60)
fails(lambda: net.train(2))
""",
    """
[True, True, True, True, True]
True [False, False, False, False, False]
[False, False, True, True, True]
Linear
Dropout
BatchNorm1d
Sequential
Sequential
tensor([[-0.2500, -0.2500]], grad_fn=<NativeBatchNormBackward0>)
tensor([[-0.2500, -0.2500]])
torch.float64 torch.int64 Parameter containing:
tensor([[0.2500, 0.2500],
        [0.2500, 0.2500]], dtype=torch.float64)
tensor([[-0.2500, -0.2500]], dtype=torch.float64)
Parameter containing:
tensor([-1., -1.], dtype=torch.float16)
raises nn.Module.to only accepts floating point or complex dtypes,
raises training mode is expected to be boolean
""",
)


program(
    "forward_hooks",
    """
net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
torch.nn.init.ones_(net[0].weight)
torch.nn.init.zeros_(net[0].bias)
def before(module, args):
    print("before", type(module).__name__, args)
    return (args[0] + 1,)
def after(module, args, output):
    print("after", output)
    return output * 10
h1 = net[0].register_forward_pre_hook(before)
h2 = net[0].register_forward_hook(after)
print(net(torch.tensor([[1., -5.]])))
h1.remove()
h2.remove()
print(net(torch.tensor([[1., 5.]])))
def with_kwargs(module, args, kwargs):
    print(args, kwargs)
    return args, {"y": 3}
class Takes(torch.nn.Module):
    def forward(self, x, y=1):
        return x * y
t = Takes()
t.register_forward_pre_hook(with_kwargs, with_kwargs=True)
t.register_forward_hook(lambda m, a, k, o: print("out", k, o), with_kwargs=True)
t.register_forward_hook(lambda m, a, o: print("first"), prepend=True)
print(t(torch.ones(1), y=2))
""",
    """
before Linear (tensor([[ 1., -5.]]),)
after tensor([[-2., -2.]], grad_fn=<AddmmBackward0>)
tensor([[0., 0.]], grad_fn=<ReluBackward0>)
tensor([[6., 6.]], grad_fn=<ReluBackward0>)
(tensor([1.]),) {'y': 2}
first
out {'y': 3} tensor([3.])
tensor([3.])
""",
)


program(
    "backward_hooks",
    """
net = torch.nn.Linear(2, 1)
torch.nn.init.ones_(net.weight)
torch.nn.init.zeros_(net.bias)
def hook(module, grad_input, grad_output):
    print("after", grad_input, grad_output)
    return (grad_input[0] * 2,)
def pre(module, grad_output):
    print("before", grad_output)
    return (grad_output[0] * 10,)
h = net.register_full_backward_hook(hook)
g = net.register_full_backward_pre_hook(pre)
x = torch.ones(1, 2, requires_grad=True)
y = net(x)
print(y)
y.backward()
print(x.grad, net.weight.grad)
h.remove()
g.remove()
x.grad = None
net(x).sum().backward()
print(x.grad, net.weight.grad)
net.register_full_backward_hook(lambda m, i, o: print("no input", i, o))
net(torch.ones(1, 2)).sum().backward()
""",
    """
tensor([[2.]], grad_fn=<BackwardHookFunctionBackward>)
before (tensor([[1.]]),)
after (tensor([[10., 10.]]),) (tensor([[10.]]),)
tensor([[20., 20.]]) tensor([[10., 10.]])
tensor([[1., 1.]]) tensor([[11., 11.]])
no input (None,) (tensor([[1.]]),)
""",
)


program(
    "containers",
    """
seq = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
print(len(seq), seq[1], seq[-1])
print(seq[:2])
seq.append(torch.nn.Tanh())
seq.insert(1, torch.nn.Identity())
print(seq)
del seq[0]
print([type(m).__name__ for m in seq], list(seq._modules))
seq[0] = torch.nn.Sigmoid()
print(seq.pop(-1), len(seq))
print(torch.nn.Sequential(torch.nn.ReLU()) + torch.nn.Sequential(torch.nn.Tanh()))
fails(lambda: seq[9])
ml = torch.nn.ModuleList([torch.nn.ReLU()])
ml += [torch.nn.Tanh()]
ml.extend([torch.nn.Tanh(), torch.nn.Tanh()])
print(ml)
print(ml[1:])
fails(lambda: ml(1), 60)
md = torch.nn.ModuleDict([["x", torch.nn.ReLU()]])
md["y"] = torch.nn.Tanh()
md.update({"z": torch.nn.Sigmoid()})
print(md, "x" in md, list(md.keys()), len(md))
print(md.pop("x"), list(md.items()))
pl = torch.nn.ParameterList([torch.zeros(2)])
pl.append(torch.ones(3))
print(pl, len(pl), pl[1])
print([n for n, _ in torch.nn.ModuleList([torch.nn.Linear(1, 1)]).named_parameters()])
pd = torch.nn.ParameterDict({"a": torch.ones(1)})
pd["b"] = torch.nn.Parameter(torch.zeros(2))
print(list(pd.keys()), [n for n, _ in pd.named_parameters()], "a" in pd)
""",
    """
3 ReLU() Linear(in_features=2, out_features=1, bias=True)
Sequential(
  (0): Linear(in_features=1, out_features=2, bias=True)
  (1): ReLU()
)
Sequential(
  (0): Linear(in_features=1, out_features=2, bias=True)
  (1): Identity()
  (2): ReLU()
  (3): Linear(in_features=2, out_features=1, bias=True)
  (4): Tanh()
)
['Identity', 'ReLU', 'Linear', 'Tanh'] ['0', '1', '2', '3']
Tanh() 3
Sequential(
  (0): ReLU()
  (1): Tanh()
)
raises index 9 is out of range
ModuleList(
  (0): ReLU()
  (1-3): 3 x Tanh()
)
ModuleList(
  (0-2): 3 x Tanh()
)
raises Module [ModuleList] is missing the required "forward" functi
ModuleDict(
  (x): ReLU()
  (y): Tanh()
  (z): Sigmoid()
) True ['x', 'y', 'z'] 3
ReLU() [('y', Tanh()), ('z', Sigmoid())]
ParameterList(
    (0): Parameter containing: [torch.float32 of size 2]
    (1): Parameter containing: [torch.float32 of size 3]
) 2 Parameter containing:
tensor([1., 1., 1.], requires_grad=True)
['0.weight', '0.bias']
['a', 'b'] ['a', 'b'] True
""",
)


program(
    "shared_parameters",
    """
lin = torch.nn.Linear(2, 2)
net = torch.nn.Sequential(lin, lin)
print(len(list(net.parameters())), [n for n, _ in net.named_parameters()])
print([n for n, _ in net.named_parameters(remove_duplicate=False)])
print(list(net.state_dict()))
torch.nn.init.eye_(lin.weight)
torch.nn.init.zeros_(lin.bias)
net(torch.tensor([[1., 2.]])).sum().backward()
print(lin.weight.grad, lin.bias.grad)
net.zero_grad()
print(lin.weight.grad)
net(torch.tensor([[1., 2.]])).sum().backward()
net.zero_grad(set_to_none=False)
print(lin.weight.grad)
""",
    """
2 ['0.weight', '0.bias']
['0.weight', '0.bias', '1.weight', '1.bias']
['0.weight', '0.bias', '1.weight', '1.bias']
tensor([[2., 4.],
        [2., 4.]]) tensor([2., 2.])
None
tensor([[0., 0.],
        [0., 0.]])
""",
)


program(
    "get_by_name",
    """
net = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.Sequential(torch.nn.BatchNorm1d(2)))
print(net.get_submodule("1.0"))
print(net.get_parameter("0.weight").shape, net.get_buffer("1.0.running_mean"))
fails(lambda: net.get_submodule("2"))
fails(lambda: net.get_parameter("0.missing"))
fails(lambda: net.get_buffer("0.weight"))
print(net.get_submodule("") is net)
""",
    """
BatchNorm1d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
torch.Size([2, 1]) tensor([0., 0.])
raises Sequential has no attribute `2`
raises Linear has no attribute `missing`
raises `weight` is not a buffer
True
""",
)


program(
    "batch_norm_statistics",
    """
bn = torch.nn.BatchNorm1d(2)
x = torch.tensor([[1., 2.], [3., 6.]])
print(bn(x))
print(bn.running_mean, bn.running_var, bn.num_batches_tracked)
bn(x + 1)
print(bn.running_mean, bn.running_var, bn.num_batches_tracked)
bn.eval()
print(bn(x))
bn.reset_running_stats()
print(bn.running_mean, bn.running_var, bn.num_batches_tracked)
cumulative = torch.nn.BatchNorm1d(2, momentum=None)
cumulative(x)
cumulative(x * 3)
print(cumulative.running_mean, cumulative.running_var)
fails(lambda: bn(torch.ones(1, 2, 3, 4)))
""",
    """
tensor([[-1.0000, -1.0000],
        [ 1.0000,  1.0000]], grad_fn=<NativeBatchNormBackward0>)
tensor([0.2000, 0.4000]) tensor([1.1000, 1.7000]) tensor(1)
tensor([0.4800, 0.8600]) tensor([1.1900, 2.3300]) tensor(2)
tensor([[0.4767, 0.7468],
        [2.3101, 3.3673]], grad_fn=<NativeBatchNormBackward0>)
tensor([0., 0.]) tensor([1., 1.]) tensor(0)
tensor([4., 8.]) tensor([10., 40.])
raises expected 2D or 3D input (got 4D input)
""",
)


program(
    "initialisation",
    """
w = torch.empty(2, 3)
print(torch.nn.init.ones_(w), torch.nn.init.constant_(w, 0.3))
print(torch.nn.init.eye_(torch.empty(2, 3)))
print(torch.nn.init.dirac_(torch.empty(2, 2, 3)))
print(torch.nn.init.dirac_(torch.empty(4, 1, 3), groups=2))
for name in ("linear", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
    print(name, torch.nn.init.calculate_gain(name))
print(torch.nn.init.calculate_gain("leaky_relu", 0.3))
fails(lambda: torch.nn.init.calculate_gain("none"))
fails(lambda: torch.nn.init.xavier_uniform_(torch.empty(3)))
fails(lambda: torch.nn.init.eye_(torch.empty(3)))
p = torch.nn.Parameter(torch.empty(2))
print(torch.nn.init.zeros_(p), p.requires_grad)
""",
    """
tensor([[0.3000, 0.3000, 0.3000],
        [0.3000, 0.3000, 0.3000]]) tensor([[0.3000, 0.3000, 0.3000],
        [0.3000, 0.3000, 0.3000]])
tensor([[1., 0., 0.],
        [0., 1., 0.]])
tensor([[[0., 1., 0.],
         [0., 0., 0.]],

        [[0., 0., 0.],
         [0., 1., 0.]]])
tensor([[[0., 1., 0.]],

        [[0., 0., 0.]],

        [[0., 1., 0.]],

        [[0., 0., 0.]]])
linear 1
sigmoid 1
tanh 1.6666666666666667
relu 1.4142135623730951
selu 0.75
leaky_relu 1.4141428569978354
1.3545709229571927
raises Unsupported nonlinearity none
raises Fan in and fan out can not be computed for tensor with fewer than 2 dimensions
raises Only tensors with 2 dimensions are supported
Parameter containing:
tensor([0., 0.], requires_grad=True) True
""",
)


program(
    "clip_gradients",
    """
p = torch.nn.Parameter(torch.tensor([3., 4.]))
q = torch.nn.Parameter(torch.tensor([0.]))
(p * p / 2).sum().backward()
print(torch.nn.utils.clip_grad_norm_([p, q], 1.0), p.grad, q.grad)
print(torch.nn.utils.clip_grad_norm_(p, 10.0), p.grad)
print(torch.nn.utils.clip_grad_norm_([p], 0.5, norm_type=float("inf")), p.grad)
torch.nn.utils.clip_grad_value_([p, q], 0.4)
print(p.grad)
p.grad = torch.tensor([float("nan"), 1.])
fails(lambda: torch.nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True), 60)
print(torch.nn.utils.clip_grad_norm_([q], 1.0))
v = torch.nn.utils.parameters_to_vector([p, q])
print(v)
torch.nn.utils.vector_to_parameters(torch.tensor([7., 8., 9.]), [p, q])
print(p, q)
""",
    """
tensor(5.) tensor([0.6000, 0.8000]) None
tensor(1.0000) tensor([0.6000, 0.8000])
tensor(0.8000) tensor([0.3750, 0.5000])
tensor([0.3750, 0.4000])
raises The total norm of order 2.0 for gradients from `parameters`
tensor(0.)
tensor([3., 4., 0.], grad_fn=<CatBackward0>)
Parameter containing:
tensor([7., 8.], requires_grad=True) Parameter containing:
tensor([9.], requires_grad=True)
""",
)


program(
    "deepcopied_modules",
    """
import copy
net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
torch.nn.init.ones_(net[0].weight)
twin = copy.deepcopy(net)
torch.nn.init.zeros_(net[0].weight)
print(twin[0].weight, net[0].weight)
print(twin)
print(all((a == b).all() for a, b in zip(twin.buffers(), net.buffers())))
tied = torch.nn.ModuleList([torch.nn.Linear(1, 1)])
tied.append(tied[0])
print(len(list(copy.deepcopy(tied).parameters())))
""",
    """
Parameter containing:
tensor([[1.]], requires_grad=True) Parameter containing:
tensor([[0.]], requires_grad=True)
Sequential(
  (0): Linear(in_features=1, out_features=1, bias=True)
  (1): BatchNorm1d(1, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
)
True
2
""",
)


program(
    "functional_and_modules",
    """
x = torch.tensor([[1., -2., 3.]])
F = torch.nn.functional
print(F.relu(x), torch.nn.ReLU()(x), torch.nn.functional.softmax(x, dim=1))
y = x.clone()
print(torch.nn.ReLU(inplace=True)(y), y)
print(F.linear(x, torch.eye(3), torch.ones(3)))
e = torch.nn.Embedding(3, 2, padding_idx=0)
print(e.weight[0])
e = torch.nn.Embedding.from_pretrained(torch.tensor([[1., 2.], [3., 4.]]))
print(e(torch.tensor([[1, 0]])), e.weight.requires_grad, e)
fails(lambda: torch.nn.Linear(3, 2)(torch.ones(2, 4)))
fails(lambda: torch.nn.Conv2d(3, 4, 2, groups=2))
fails(lambda: torch.nn.Dropout(2.0))
print(torch.nn.CrossEntropyLoss()(x, torch.tensor([2])))
""",
    """
tensor([[1., 0., 3.]]) tensor([[1., 0., 3.]]) tensor([[0.1185, 0.0059, 0.8756]])
tensor([[1., 0., 3.]]) tensor([[1., 0., 3.]])
tensor([[ 2., -1.,  4.]])
tensor([0., 0.], grad_fn=<SelectBackward0>)
tensor([[[3., 4.],
         [1., 2.]]]) False Embedding(2, 2)
raises mat1 and mat2 shapes cannot be multiplied (2x4 and 3x2)
raises in_channels must be divisible by groups
raises dropout probability has to be between 0 and 1, but got 2.0
tensor(0.1328)
""",
)
