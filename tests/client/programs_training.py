"""Programs that train, each with what PyTorch 2.13 prints for it; see test_programs.py."""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


program(
    "train_regression",
    """
x = torch.linspace(-1, 1, 8).reshape(8, 1)
y = 3 * x - 0.5
model = torch.nn.Linear(1, 1)
torch.nn.init.zeros_(model.weight)
torch.nn.init.zeros_(model.bias)
optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
loss_fn = torch.nn.MSELoss()
for epoch in range(20):
    optimizer.zero_grad()
    loss = loss_fn(model(x), y)
    loss.backward()
    optimizer.step()
    if epoch % 5 == 0:
        print(epoch, f"{loss.item():.4f}")
print(model.weight, model.bias)
""",
    """
0 4.1071
5 0.1974
10 0.0101
15 0.0005
Parameter containing:
tensor([[2.9921]], requires_grad=True) Parameter containing:
tensor([-0.5000], requires_grad=True)
""",
)


program(
    "train_classifier",
    """
torch.manual_seed(0)
x = torch.tensor([[0., 0.], [0., 1.], [1., 0.], [1., 1.]])
y = torch.tensor([0, 1, 1, 0])
model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
with torch.no_grad():
    for i, p in enumerate(model.parameters()):
        p.copy_(torch.linspace(-1, 1, p.numel()).sin().reshape(p.shape) * (i + 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
losses = []
for _ in range(30):
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(round(loss.item(), 3))
print(losses[::6])
with torch.no_grad():
    print(model(x).argmax(1))
""",
    """
[3.367, 0.988, 0.859, 0.76, 0.634]
tensor([0, 0, 0, 0])
""",
)


program(
    "optimizer_lines",
    """
p = torch.nn.Parameter(torch.ones(2))
q = torch.nn.Parameter(torch.ones(1))
print(torch.optim.SGD([p], lr=0.1))
print(torch.optim.Adam([{"params": [p]}, {"params": [q], "lr": 0.5}], lr=0.1))
print(torch.optim.RMSprop([p]))
print(torch.optim.AdamW([p]))
print(torch.optim.Adagrad([p]))
print(torch.optim.LBFGS([p]))
""",
    """
SGD (
Parameter Group 0
    dampening: 0
    differentiable: False
    foreach: None
    fused: None
    lr: 0.1
    maximize: False
    momentum: 0
    nesterov: False
    weight_decay: 0
)
Adam (
Parameter Group 0
    amsgrad: False
    betas: (0.9, 0.999)
    capturable: False
    decoupled_weight_decay: False
    differentiable: False
    eps: 1e-08
    foreach: None
    fused: None
    lr: 0.1
    maximize: False
    weight_decay: 0

Parameter Group 1
    amsgrad: False
    betas: (0.9, 0.999)
    capturable: False
    decoupled_weight_decay: False
    differentiable: False
    eps: 1e-08
    foreach: None
    fused: None
    lr: 0.5
    maximize: False
    weight_decay: 0
)
RMSprop (
Parameter Group 0
    alpha: 0.99
    capturable: False
    centered: False
    differentiable: False
    eps: 1e-08
    foreach: None
    lr: 0.01
    maximize: False
    momentum: 0
    weight_decay: 0
)
AdamW (
Parameter Group 0
    amsgrad: False
    betas: (0.9, 0.999)
    capturable: False
    decoupled_weight_decay: True
    differentiable: False
    eps: 1e-08
    foreach: None
    fused: None
    lr: 0.001
    maximize: False
    weight_decay: 0.01
)
Adagrad (
Parameter Group 0
    differentiable: False
    eps: 1e-10
    foreach: None
    fused: None
    initial_accumulator_value: 0
    lr: 0.01
    lr_decay: 0
    maximize: False
    weight_decay: 0
)
LBFGS (
Parameter Group 0
    history_size: 100
    line_search_fn: None
    lr: 1
    max_eval: 25
    max_iter: 20
    tolerance_change: 1e-09
    tolerance_grad: 1e-07
)
""",
)


program(
    "optimizer_errors",
    """
p = torch.nn.Parameter(torch.ones(2))
fails(lambda: torch.optim.SGD([], lr=0.1))
fails(lambda: torch.optim.SGD(p, lr=0.1), 60)
fails(lambda: torch.optim.SGD([p], lr=-1.0))
fails(lambda: torch.optim.SGD([p * 2], lr=0.1))
fails(lambda: torch.optim.SGD([p], lr=0.1, nesterov=True))
fails(lambda: torch.optim.Adam([p], betas=(1.0, 0.9)))
fails(lambda: torch.optim.Adam([p], eps=-1.0))
fails(lambda: torch.optim.SGD([[1.0]], lr=0.1), 40)
fails(lambda: torch.optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1))
fails(lambda: torch.optim.LBFGS([{"params": [p]}, {"params": [torch.nn.Parameter(torch.ones(1))]}]))
""",
    """
raises optimizer got an empty parameter list
raises params argument given to the optimizer should be an iterable
raises Invalid learning rate: -1.0
raises can't optimize a non-leaf Tensor
raises Nesterov momentum requires a momentum and zero dampening
raises Invalid beta parameter at index 0: 1.0
raises Invalid epsilon value: -1.0
raises optimizer can only optimize Tensors, but
raises some parameters appear in more than one parameter group
raises LBFGS doesn't support per-parameter options (parameter groups)
""",
)


program(
    "optimizer_state",
    """
p = torch.nn.Parameter(torch.tensor([1., 2.]))
q = torch.nn.Parameter(torch.tensor([3.]))
o = torch.optim.Adam([p, q], lr=0.1)
(p * p).sum().backward()
o.step()
print(p, q)
print(o.state_dict()["state"])
print(o.state_dict()["param_groups"][0]["params"], o.param_groups[0]["lr"])
twin = torch.optim.Adam([torch.nn.Parameter(torch.tensor([1., 2.])), q], lr=0.5)
twin.load_state_dict(o.state_dict())
print(twin.param_groups[0]["lr"], len(twin.state))
o.param_groups[0]["lr"] = 1.0
o.step()
print(p)
o.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": 7.0})
print([g["lr"] for g in o.param_groups])
fails(lambda: twin.load_state_dict(o.state_dict()))
o.zero_grad()
print(p.grad)
""",
    """
Parameter containing:
tensor([0.9000, 1.9000], requires_grad=True) Parameter containing:
tensor([3.], requires_grad=True)
{0: {'step': tensor(1.), 'exp_avg': tensor([0.2000, 0.4000]), 'exp_avg_sq': tensor([0.0040, 0.0160])}}
[0, 1] 0.1
0.1 1
Parameter containing:
tensor([-0.1000,  0.9000], requires_grad=True)
[1.0, 7.0]
raises loaded state dict has a different number of parameter groups
None
""",
)


program(
    "optimizer_closure",
    """
p = torch.nn.Parameter(torch.tensor([2., -1.]))
o = torch.optim.SGD([p], lr=0.1)
def closure():
    o.zero_grad()
    loss = (p * p).sum()
    loss.backward()
    return loss
print(o.step(closure))
with torch.no_grad():
    print(o.step(closure))
print(p)
b = torch.optim.LBFGS([p], lr=0.5, max_iter=5)
for _ in range(2):
    print(round(b.step(lambda: closure()).item(), 4))
w = torch.nn.Parameter(torch.tensor([-1.2, 1.0]))
s = torch.optim.LBFGS([w], line_search_fn="strong_wolfe", max_iter=40)
def rosenbrock():
    s.zero_grad()
    loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
    loss.backward()
    return loss
print(round(s.step(rosenbrock).item(), 3), round(rosenbrock().item(), 3))
""",
    """
tensor(5., grad_fn=<SumBackward0>)
tensor(3.2000, grad_fn=<SumBackward0>)
Parameter containing:
tensor([ 1.2800, -0.6400], requires_grad=True)
2.048
0.0044
24.2 0.0
""",
)


program(
    "schedules",
    """
p = torch.nn.Parameter(torch.ones(1))
S = torch.optim.lr_scheduler
def run(make, steps=6):
    o = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    s = make(o)
    rates = []
    for _ in range(steps):
        rates.append(o.param_groups[0]["lr"])
        o.step()
        s.step()
    print(type(s).__name__, s.get_last_lr())
    print(*rates)
run(lambda o: S.StepLR(o, 2, gamma=0.5))
run(lambda o: S.MultiStepLR(o, [1, 4], gamma=0.1))
run(lambda o: S.ExponentialLR(o, 0.9))
run(lambda o: S.CosineAnnealingLR(o, 4, eta_min=0.01))
run(lambda o: S.CosineAnnealingWarmRestarts(o, 2, 2))
run(lambda o: S.LambdaLR(o, lambda e: 1 / (1 + e)))
run(lambda o: S.MultiplicativeLR(o, lambda e: 0.8))
run(lambda o: S.LinearLR(o, 0.5, total_iters=4))
run(lambda o: S.ConstantLR(o, 0.5, total_iters=3))
run(lambda o: S.PolynomialLR(o, 4, 2.0))
run(lambda o: S.OneCycleLR(o, 0.5, total_steps=7))
run(lambda o: S.OneCycleLR(o, 0.5, epochs=2, steps_per_epoch=5, three_phase=True, anneal_strategy="linear"))
run(lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, total_iters=3), S.ExponentialLR(o, 0.5)], [3]))
run(lambda o: S.ChainedScheduler([S.ConstantLR(o, 0.1, 2), S.ExponentialLR(o, 0.5)]), 5)
""",
    """
StepLR [0.0125]
0.1 0.1 0.05 0.05 0.025 0.025
MultiStepLR [0.0010000000000000002]
0.1 0.010000000000000002 0.010000000000000002 0.010000000000000002 0.0010000000000000002 0.0010000000000000002
ExponentialLR [0.05314410000000002]
0.1 0.09000000000000001 0.08100000000000002 0.07290000000000002 0.06561000000000002 0.05904900000000002
CosineAnnealingLR [0.05500000000000002]
0.1 0.08681980515339464 0.05500000000000001 0.023180194846605363 0.01 0.023180194846605363
CosineAnnealingWarmRestarts [0.1]
0.1 0.05 0.1 0.08535533905932738 0.05 0.014644660940672627
LambdaLR [0.014285714285714285]
0.1 0.05 0.03333333333333333 0.025 0.020000000000000004 0.016666666666666666
MultiplicativeLR [0.026214400000000013]
0.1 0.08000000000000002 0.06400000000000002 0.051200000000000016 0.04096000000000002 0.03276800000000001
LinearLR [0.1]
0.05 0.0625 0.075 0.08750000000000001 0.1 0.1
ConstantLR [0.1]
0.05 0.05 0.05 0.1 0.1 0.1
PolynomialLR [0.0]
0.1 0.05625 0.024999999999999998 0.0062499999999999995 0.0 0.0
OneCycleLR [2e-06]
0.020000000000000018 0.4902783136674793 0.4595221881348553 0.33634191824027254 0.17886938786982853 0.0496483959466328
OneCycleLR [0.012000799999999999]
0.02 0.26 0.5 0.26 0.020000000000000018 0.016000399999999998
SequentialLR [0.0125]
0.010000000000000002 0.04 0.07 0.1 0.05 0.025
ChainedScheduler [0.0031250000000000006]
0.010000000000000002 0.005000000000000001 0.025000000000000005 0.012500000000000002 0.006250000000000001
""",
)


program(
    "plateau",
    """
p = torch.nn.Parameter(torch.ones(1))
o = torch.optim.SGD([p], lr=0.1)
s = torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=1, cooldown=1, min_lr=0.02)
for value in [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, torch.tensor(0.9)]:
    s.step(value)
    print(o.param_groups[0]["lr"], s.num_bad_epochs)
fails(lambda: torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=1.0))
fails(lambda: torch.optim.lr_scheduler.ReduceLROnPlateau(o, mode="other"))
fails(lambda: torch.optim.lr_scheduler.StepLR(p, 3))
fails(lambda: torch.optim.lr_scheduler.OneCycleLR(o, 0.1))
fails(lambda: torch.optim.lr_scheduler.LinearLR(o, start_factor=0.0))
""",
    """
0.1 0
0.1 0
0.1 1
0.05 0
0.05 0
0.05 1
0.025 0
0.025 0
0.025 1
0.02 0
raises Factor should be < 1.0.
raises mode other is unknown!
raises Parameter is not an Optimizer
raises You must define either total_steps OR (epochs AND steps_per_epoch)
raises Starting multiplicative factor expected to be greater than 0 and less or equal to 1.
""",
)


program(
    "scheduler_resumes",
    """
p = torch.nn.Parameter(torch.ones(1))
o = torch.optim.SGD([p], lr=0.1)
s = torch.optim.lr_scheduler.StepLR(o, 2)
for _ in range(3):
    o.step()
    s.step()
saved, of_o = s.state_dict(), o.state_dict()
print(saved["last_epoch"], of_o["param_groups"][0]["lr"], of_o["param_groups"][0]["initial_lr"])
o2 = torch.optim.SGD([p], lr=0.1)
s2 = torch.optim.lr_scheduler.StepLR(o2, 2)
o2.load_state_dict(of_o)
s2.load_state_dict(saved)
o2.step()
s2.step()
print(s2.last_epoch, s2.get_last_lr(), s2.base_lrs)
""",
    """
3 0.010000000000000002 0.1
4 [0.0010000000000000002] [0.1]
""",
)


program(
    "accumulate_gradients",
    """
model = torch.nn.Linear(2, 1, bias=False)
torch.nn.init.ones_(model.weight)
o = torch.optim.SGD(model.parameters(), lr=0.1)
data = torch.arange(8.).reshape(4, 2)
for i in range(4):
    loss = model(data[i]).square().mean() / 2
    loss.backward()
    if i % 2:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        o.step()
        print(model.weight, model.weight.grad)
        o.zero_grad()
""",
    """
Parameter containing:
tensor([[0.7350, 0.5760]], requires_grad=True) tensor([[2.6500, 4.2400]])
Parameter containing:
tensor([[0.4138, 0.1928]], requires_grad=True) tensor([[3.2121, 3.8318]])
""",
)


program(
    "freeze_and_finetune",
    """
net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
for p in net.parameters():
    torch.nn.init.constant_(p, 0.5)
net[0].requires_grad_(False)
o = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
net(torch.tensor([[2.]])).sum().backward()
o.step()
for n, p in net.named_parameters():
    print(n, p.requires_grad, p.grad)
print(net[1].weight, net[1].bias)
""",
    """
0.weight False None
0.bias False None
1.weight True tensor([[1.5000]])
1.bias True tensor([1.])
Parameter containing:
tensor([[0.3500]], requires_grad=True) Parameter containing:
tensor([0.4000], requires_grad=True)
""",
)


program(
    "exponential_moving_average",
    """
model = torch.nn.Linear(1, 1)
for p in model.parameters():
    torch.nn.init.constant_(p, 1.0)
import copy
average = copy.deepcopy(model).requires_grad_(False)
o = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
for _ in range(3):
    o.zero_grad()
    model(torch.tensor([[2.]])).square().sum().backward()
    o.step()
    with torch.no_grad():
        for a, p in zip(average.parameters(), model.parameters()):
            a.lerp_(p, 0.1)
print(average.weight, model.weight)
""",
    """
Parameter containing:
tensor([[0.5908]]) Parameter containing:
tensor([[-0.5000]], requires_grad=True)
""",
)


program(
    "gradient_penalty",
    """
net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
with torch.no_grad():
    for p in net.parameters():
        p.copy_(torch.linspace(-1, 0.9, p.numel()).reshape(p.shape))
x = torch.tensor([[0.5, -1.]], requires_grad=True)
(g,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
penalty = (g.norm() - 1) ** 2
penalty.backward()
print(penalty)
for p in net.parameters():
    print(p.grad)
""",
    """
tensor(0.1802, grad_fn=<PowBackward0>)
tensor([[ 0.0556, -0.9954],
        [-0.0251, -0.0301],
        [ 0.2915,  0.9027]])
tensor([ 0.6784,  0.0013, -0.3699])
tensor([[-0.4801, -0.0430,  0.8081]])
None
""",
)


program(
    "recurrent_training",
    """
torch.manual_seed(0)
net = torch.nn.LSTM(1, 2, batch_first=True)
with torch.no_grad():
    for p in net.parameters():
        p.copy_(torch.linspace(-0.5, 0.5, p.numel()).reshape(p.shape))
o = torch.optim.SGD(net.parameters(), lr=0.5)
x = torch.linspace(0, 1, 6).reshape(2, 3, 1)
for _ in range(3):
    o.zero_grad()
    out, (h, c) = net(x)
    loss = (out.sum(-1) - x.squeeze(-1)).square().mean()
    loss.backward()
    o.step()
    print(round(loss.item(), 4))
print(h.detach(), c.shape, out.shape)
""",
    """
0.1984
0.1553
0.1306
tensor([[[0.0942, 0.2772],
         [0.0910, 0.2922]]]) torch.Size([1, 2, 2]) torch.Size([2, 3, 2])
""",
)


program(
    "hooks_that_step",
    """
ps = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(1))]
optimizers = {p: torch.optim.SGD([p], lr=0.5) for p in ps}
def step(p):
    optimizers[p].step()
    optimizers[p].zero_grad()
for p in ps:
    p.register_post_accumulate_grad_hook(step)
(ps[0].sum() * ps[1]).sum().backward()
print(ps, [p.grad for p in ps])
o = optimizers[ps[0]]
o.register_step_pre_hook(lambda opt, args, kwargs: print("pre", args, kwargs))
o.register_step_post_hook(lambda opt, args, kwargs: print("post"))
o.step()
""",
    """
[Parameter containing:
tensor([0.5000, 0.5000], requires_grad=True), Parameter containing:
tensor([0.], requires_grad=True)] [None, None]
pre (SGD (
Parameter Group 0
    dampening: 0
    differentiable: False
    foreach: None
    fused: None
    lr: 0.5
    maximize: False
    momentum: 0
    nesterov: False
    weight_decay: 0
),) {}
post
""",
)
