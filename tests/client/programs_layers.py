"""Programs about losses, layers and random numbers, each with what PyTorch 2.13 prints for it; see test_programs.py.

`torch` names the library under test and `fails(call, n)` prints the first n characters of the error a
call raises. Addresses are left out.
"""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


program(
    "checkpointing",
    """
checkpoint, checkpoint_sequential = torch.utils.checkpoint.checkpoint, torch.utils.checkpoint.checkpoint_sequential
calls = []
def block(a, b):
    calls.append(torch.is_grad_enabled())
    return (a * b).sin() * a
x = torch.tensor([0.5, 1.], requires_grad=True)
w = torch.tensor([2., 3.], requires_grad=True)
y = checkpoint(block, x, w, use_reentrant=False)
print(y, calls)
y.sum().backward()
print(x.grad, w.grad)
plain = torch.autograd.grad(block(x, w).sum(), (x, w))
print(torch.equal(plain[0], x.grad), torch.equal(plain[1], w.grad))
m = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
for p in m.parameters():
    torch.nn.init.constant_(p, 0.25)
x.grad = None
out = checkpoint_sequential(m, 2, x[None], use_reentrant=False)
print(out.detach())
out.backward()
print(x.grad, m[0].weight.grad, m[2].bias.grad)
with torch.no_grad():
    print(checkpoint(block, x, w, use_reentrant=False))
import warnings
def warned(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        result = call()
    print(result, [str(w.message)[:30] for w in found])
warned(lambda: checkpoint(torch.sin, x.detach()))
warned(lambda: checkpoint(torch.sin, x.detach(), use_reentrant=True).requires_grad)
warned(lambda: checkpoint_sequential([torch.sin, torch.cos, torch.exp], 1, x).requires_grad)
fails(lambda: checkpoint(block, x, use_reentrant=True, b=w))
fails(lambda: checkpoint(torch.sin, x, use_reentrant=True, debug=True))
fails(lambda: checkpoint(torch.sin, x, use_reentrant=False, determinism_check='some'))
fails(lambda: checkpoint_sequential([torch.sin], 3, x, use_reentrant=False))
fails(lambda: checkpoint_sequential([torch.sin], 0, x, use_reentrant=False))
class Noting:
    def __init__(self, name): self.name = name
    def __enter__(self): print('into', self.name)
    def __exit__(self, *error): print('out of', self.name)
y = checkpoint(torch.sin, x, use_reentrant=False, context_fn=lambda: (Noting('forward'), Noting('recompute')))
def outer(a, b):
    return checkpoint(block, a, b, use_reentrant=False).exp() + checkpoint(block, a * b, b, use_reentrant=False)
print(torch.autograd.grad(checkpoint(outer, x, w, use_reentrant=False).sum(), (x, w)))
z = checkpoint(outer, x, w, use_reentrant=False)
(g,) = torch.autograd.grad(z.sum(), x, create_graph=True)
print(torch.autograd.grad(g.sum(), (x, w)))
torch.manual_seed(3)
drop = lambda a: torch.nn.functional.dropout(a, 0.5) * a
u = torch.ones(64, requires_grad=True)
v = checkpoint(drop, u, use_reentrant=False, preserve_rng_state=True)
v.sum().backward()
print(torch.equal(u.grad, 2 * v.detach()))
""",
    """
tensor([0.4207, 0.1411], grad_fn=<MulBackward0>) [True]
tensor([ 1.3818, -2.8289]) tensor([ 0.1351, -0.9900])
True True
tensor([[0.6659]])
tensor([0.1298, 0.1298]) tensor([[0.0866, 0.1731],
        [0.0866, 0.1731],
        [0.0866, 0.1731]]) tensor([1.])
tensor([0.4207, 0.1411])
tensor([0.4794, 0.8415]) ['torch.utils.checkpoint: the us', 'None of the inputs have requir']
False ['None of the inputs have requir']
True ['torch.utils.checkpoint.checkpo']
raises Unexpected keyword arguments: b
raises Passing `context_fn` or `debug` is only supported when use_reentrant=False.
raises determinism_check should be one of ['default', 'none'], but got some
raises range() arg 3 must not be zero
raises integer division or modulo by zero
into forward
out of forward
(tensor([  2.2586, -26.6218]), tensor([ -0.1719, -17.1283]))
(tensor([ -17.5707, -148.4333]), tensor([ -10.0602, -106.8945]))
True
""",
)


program(
    "resizing",
    """
F = torch.nn.functional
x = torch.arange(16.).reshape(1, 1, 4, 4).requires_grad_()
print(F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 1))
y, i = F.max_pool2d(x, 2, return_indices=True)
print(i, F.max_unpool2d(y, i, 2))
(y * torch.tensor([[1., 2.], [3., 4.]])).sum().backward()
print(x.grad)
x.grad = None
small = x[..., :2, :2]
print(F.interpolate(small, scale_factor=2), F.interpolate(small, size=(3, 3), mode='bilinear', align_corners=True))
F.interpolate(small, size=3, mode='bilinear').pow(2).sum().backward()
print(x.grad)
print(F.pad(small, (1, 0)))
print(F.pad(x[0], (1, 1), mode='reflect')[0, 0])
print(F.pixel_shuffle(torch.arange(4.).reshape(1, 4, 1, 1), 2))
print(F.unfold(x, 3).shape, F.adaptive_max_pool1d(x[0, 0], 2))
print(torch.nn.MaxPool2d(2))
print(torch.nn.AvgPool2d(3, stride=1))
fails(lambda: F.max_pool2d(torch.ones(1, 1, 1, 1), 2))
fails(lambda: F.interpolate(x, scale_factor=2, size=3))
g = F.affine_grid(torch.tensor([[[1., 0., 0.], [0., -1., 0.]]]), (1, 1, 2, 2), align_corners=False)
print(F.grid_sample(small, g, align_corners=False))
""",
    """
tensor([[[[ 5.,  7.],
          [13., 15.]]]], grad_fn=<MaxPool2DWithIndicesBackward0>) tensor([[[[ 2.5000,  4.5000],
          [10.5000, 12.5000]]]], grad_fn=<AvgPool2DBackward0>) tensor([[[[7.5000]]]], grad_fn=<MeanBackward1>)
tensor([[[[ 5,  7],
          [13, 15]]]]) tensor([[[[ 0.,  0.,  0.,  0.],
          [ 0.,  5.,  0.,  7.],
          [ 0.,  0.,  0.,  0.],
          [ 0., 13.,  0., 15.]]]], grad_fn=<MaxUnpool2DBackward0>)
tensor([[[[0., 0., 0., 0.],
          [0., 1., 0., 2.],
          [0., 0., 0., 0.],
          [0., 3., 0., 4.]]]])
tensor([[[[0., 0., 1., 1.],
          [0., 0., 1., 1.],
          [4., 4., 5., 5.],
          [4., 4., 5., 5.]]]], grad_fn=<UpsampleNearest2DBackward0>) tensor([[[[0.0000, 0.5000, 1.0000],
          [2.0000, 2.5000, 3.0000],
          [4.0000, 4.5000, 5.0000]]]], grad_fn=<UpsampleBilinear2DBackward0>)
tensor([[[[ 3.7500,  6.7500,  0.0000,  0.0000],
          [15.7500, 18.7500,  0.0000,  0.0000],
          [ 0.0000,  0.0000,  0.0000,  0.0000],
          [ 0.0000,  0.0000,  0.0000,  0.0000]]]])
tensor([[[[0., 0., 1.],
          [0., 4., 5.]]]], grad_fn=<ConstantPadNdBackward0>)
tensor([1., 0., 1., 2., 3., 2.], grad_fn=<SelectBackward0>)
tensor([[[[0., 1.],
          [2., 3.]]]])
torch.Size([1, 9, 4]) tensor([[ 1.,  3.],
        [ 5.,  7.],
        [ 9., 11.],
        [13., 15.]], grad_fn=<SqueezeBackward1>)
MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
AvgPool2d(kernel_size=3, stride=1, padding=0)
raises Given input size: (1x1x1). Calculated output size: (1x0x). Output size is too small
raises only one of size or scale_factor should be defined
tensor([[[[4., 5.],
          [0., 1.]]]], grad_fn=<GridSampler2DBackward0>)
""",
)


program(
    "losses",
    """
F = torch.nn.functional
p = torch.tensor([[2., 0., -1.], [0., 1., 0.5]], requires_grad=True)
t = torch.tensor([0, 2])
def show(loss):
    p.grad = None
    loss.backward()
    print(loss, p.grad)
show(F.cross_entropy(p, t))
show(F.cross_entropy(p, t, label_smoothing=0.1, weight=torch.tensor([1., 2., 3.])))
show(F.cross_entropy(p, torch.tensor([0, -100])))
show(F.cross_entropy(p, torch.tensor([[0.2, 0.3, 0.5], [1., 0., 0.]])))
show(F.nll_loss(p.log_softmax(1), t, reduction='sum'))
show(F.mse_loss(p, torch.zeros(2, 3)))
show(F.l1_loss(p, torch.zeros(2, 3)))
show(F.huber_loss(p, torch.zeros(2, 3), delta=0.75))
show(F.binary_cross_entropy_with_logits(p, torch.ones(2, 3), pos_weight=torch.tensor([1., 2., 3.])))
show(F.kl_div(p.log_softmax(1), torch.full((2, 3), 1 / 3), reduction='batchmean'))
show(F.triplet_margin_loss(p, p.detach() + 1, p.detach() - 0.5))
show(F.cosine_embedding_loss(p, torch.ones(2, 3), torch.tensor([1, -1])))
show(F.multi_margin_loss(p, t))
show(F.margin_ranking_loss(p[0], p[1], torch.tensor([1., -1., 1.])))
show(F.hinge_embedding_loss(p, torch.tensor([[1., -1., 1.], [-1., 1., 1.]])))
show(F.gaussian_nll_loss(p, torch.zeros(2, 3), torch.ones(2, 3) * 2))
show(F.poisson_nll_loss(p, torch.ones(2, 3)))
""",
    """
tensor(0.6751, grad_fn=<NllLossBackward0>) tensor([[-0.0781,  0.0571,  0.0210],
        [ 0.0932,  0.2532, -0.3464]])
tensor(1.0066, grad_fn=<AddBackward0>) tensor([[-0.0013,  0.0147, -0.0134],
        [ 0.1268,  0.3505, -0.4773]])
tensor(0.1698, grad_fn=<NllLossBackward0>) tensor([[-0.1562,  0.1142,  0.0420],
        [ 0.0000,  0.0000,  0.0000]])
tensor(1.9751, grad_fn=<DivBackward1>) tensor([[ 0.3219, -0.0929, -0.2290],
        [-0.4068,  0.2532,  0.1536]])
tensor(1.3501, grad_fn=<NllLossBackward0>) tensor([[-0.1562,  0.1142,  0.0420],
        [ 0.1863,  0.5065, -0.6928]])
tensor(1.0417, grad_fn=<MseLossBackward0>) tensor([[ 0.6667,  0.0000, -0.3333],
        [ 0.0000,  0.3333,  0.1667]])
tensor(0.7500, grad_fn=<MeanBackward0>) tensor([[ 0.1667,  0.0000, -0.1667],
        [ 0.0000,  0.1667,  0.1667]])
tensor(0.3802, grad_fn=<HuberLossBackward0>) tensor([[ 0.1250,  0.0000, -0.1250],
        [ 0.0000,  0.1250,  0.0833]])
tensor(1.3658, grad_fn=<BinaryCrossEntropyWithLogitsBackward0>) tensor([[-0.0199, -0.1667, -0.3655],
        [-0.0833, -0.0896, -0.1888]])
tensor(0.4098, grad_fn=<DivBackward0>) tensor([[ 0.2552, -0.1096, -0.1457],
        [-0.0735,  0.0866, -0.0131]])
tensor(1.8660, grad_fn=<MeanBackward0>) tensor([[-0.5774, -0.5774, -0.5774],
        [-0.5774, -0.5774, -0.5774]])
tensor(0.7582, grad_fn=<MeanBackward0>) tensor([[-0.0775, -0.1291, -0.1549],
        [ 0.2582, -0.0516,  0.1033]])
tensor(0.3333, grad_fn=<MultiMarginLossBackward0>) tensor([[ 0.0000,  0.0000,  0.0000],
        [ 0.1667,  0.1667, -0.3333]])
tensor(0.5000, grad_fn=<MeanBackward0>) tensor([[ 0.0000,  0.0000, -0.3333],
        [ 0.0000,  0.0000,  0.3333]])
tensor(0.7500, grad_fn=<MeanBackward0>) tensor([[ 0.1667, -0.1667,  0.1667],
        [-0.1667,  0.1667,  0.1667]])
tensor(0.6070, grad_fn=<MeanBackward0>) tensor([[ 0.1667,  0.0000, -0.0833],
        [ 0.0000,  0.0833,  0.0417]])
tensor(1.9373, grad_fn=<MeanBackward0>) tensor([[ 1.0648,  0.0000, -0.1054],
        [ 0.0000,  0.2864,  0.1081]])
""",
)


program(
    "ctc",
    """
F = torch.nn.functional
logits = (torch.arange(40.).reshape(5, 2, 4) % 7 / 3).requires_grad_()
targets = torch.tensor([[1, 2], [3, 3]])
lengths = torch.tensor([5, 4])
loss = F.ctc_loss(logits.log_softmax(2), targets, lengths, torch.tensor([2, 2]))
print(loss)
loss.backward()
print(logits.grad)
p = logits.detach().log_softmax(2)
print(F.ctc_loss(p, targets, lengths, torch.tensor([2, 2]), reduction='none'))
print(F.ctc_loss(p, torch.tensor([1, 3, 3]), lengths, torch.tensor([1, 2]), reduction='sum'))
short = torch.tensor([2, 2])
print(F.ctc_loss(p, targets, short, torch.tensor([2, 2]), reduction='none'))
print(F.ctc_loss(p, targets, short, torch.tensor([2, 2]), reduction='none', zero_infinity=True))
print(F.ctc_loss(p, torch.tensor([[1, 2], [0, 0]]), lengths, torch.tensor([2, 1]), blank=3))
""",
    """
tensor(2.0984, grad_fn=<MeanBackward0>)
tensor([[[-0.0466, -0.1186,  0.0690,  0.0962],
         [-0.0410,  0.0757,  0.1057, -0.1404]],

        [[-0.0217, -0.0962,  0.0216,  0.0962],
         [-0.0418,  0.1225,  0.0166, -0.0972]],

        [[-0.0162, -0.0283, -0.0517,  0.0962],
         [-0.0582,  0.0213,  0.0297,  0.0072]],

        [[-0.0118,  0.0258, -0.1102,  0.0962],
         [ 0.0262,  0.0494,  0.0690, -0.1445]],

        [[-0.0278,  0.0757, -0.0623,  0.0143],
         [ 0.0000,  0.0000,  0.0000,  0.0000]]])
tensor([4.0337, 4.3598])
tensor(10.1280)
tensor([2.9094,    inf])
tensor([2.9094, 0.0000])
tensor(2.3096)
""",
)


program(
    "attention",
    """
F = torch.nn.functional
q = (torch.arange(6.).reshape(1, 3, 2) / 6).requires_grad_()
out = F.scaled_dot_product_attention(q, q, q, is_causal=True)
print(out)
out.sum().backward()
print(q.grad)
mask = torch.tensor([[True, False, True]] * 3)
print(F.scaled_dot_product_attention(q, q, q, attn_mask=mask).detach())
scores = (q @ q.transpose(1, 2)).masked_fill(~mask, float('-inf'))
print(scores.softmax(-1).detach())
a = torch.nn.MultiheadAttention(4, 2, batch_first=True)
print(a)
for n, p in a.named_parameters():
    torch.nn.init.constant_(p, 0.1)
    print(n, tuple(p.shape))
x = torch.arange(8.).reshape(1, 2, 4)
y, weights = a(x, x, x)
print(y.detach(), weights)
y.sum().backward()
print(a.out_proj.bias.grad, a.in_proj_bias.grad[[0, 8]])
e = torch.nn.Embedding(4, 2, padding_idx=0)
with torch.no_grad():
    e.weight.copy_(torch.arange(8.).reshape(4, 2))
e(torch.tensor([[0, 1], [1, 3]])).sum().backward()
print(e, e.weight.grad, F.one_hot(torch.tensor([0, 2])), F.embedding_bag(torch.tensor([[1, 2]]), e.weight.detach()))
fails(lambda: e(torch.tensor([4])).tolist(), 5)
""",
    """
tensor([[[0.0000, 0.1667],
         [0.1830, 0.3496],
         [0.4103, 0.5770]]], grad_fn=<UnsafeViewBackward0>)
tensor([[[1.5499, 1.5087],
         [0.9234, 0.9371],
         [0.6641, 0.6916]]])
tensor([[[0.3464, 0.5131],
         [0.3980, 0.5646],
         [0.4465, 0.6132]]])
tensor([[[0.4723, 0.0000, 0.5277],
         [0.3646, 0.0000, 0.6354],
         [0.2689, 0.0000, 0.7311]]])
MultiheadAttention(
  (out_proj): NonDynamicallyQuantizableLinear(in_features=4, out_features=4, bias=True)
)
in_proj_weight (12, 4)
in_proj_bias (12,)
out_proj.weight (4, 4)
out_proj.bias (4,)
tensor([[[0.9110, 0.9110, 0.9110, 0.9110],
         [1.0165, 1.0165, 1.0165, 1.0165]]]) tensor([[[0.1702, 0.8298],
         [0.0055, 0.9945]]], grad_fn=<MeanBackward1>)
tensor([2., 2., 2., 2.]) tensor([0.2124, 0.8000])
Embedding(4, 2, padding_idx=0) tensor([[0., 0.],
        [2., 2.],
        [0., 0.],
        [1., 1.]]) tensor([[1, 0, 0],
        [0, 0, 1]]) tensor([[3., 4.]])
raises index
""",
)


program(
    "bags",
    """
F = torch.nn.functional
w = torch.arange(8.).reshape(4, 2).requires_grad_()
# Both rows are asked for three times.
i = torch.tensor([1, 3, 1, 1, 3, 3])
for mode in ('sum', 'mean'):
    for i, starts in ((i.flatten(), torch.tensor([0, 2])), (i.reshape(2, 3), None)):
        w.grad = None
        F.embedding_bag(i, w, starts, mode=mode, scale_grad_by_freq=True).pow(2).sum().backward()
        print(w.grad)
fails(lambda: F.embedding_bag(i, w, mode='max', scale_grad_by_freq=True), 80)
w.grad = None
F.embedding(torch.tensor([[0, 1], [1, 3]]), w, padding_idx=0, scale_grad_by_freq=True).pow(2).sum().backward()
print(w.grad)
""",
    """
tensor([[ 0.0000,  0.0000],
        [26.6667, 33.3333],
        [ 0.0000,  0.0000],
        [26.6667, 33.3333]])
tensor([[ 0.0000,  0.0000],
        [22.6667, 28.6667],
        [ 0.0000,  0.0000],
        [25.3333, 31.3333]])
tensor([[0.0000, 0.0000],
        [2.6667, 3.3333],
        [0.0000, 0.0000],
        [2.6667, 3.3333]])
tensor([[0.0000, 0.0000],
        [2.5185, 3.1852],
        [0.0000, 0.0000],
        [2.8148, 3.4815]])
raises max mode does not support scaling the gradient by the frequency
tensor([[ 0.,  0.],
        [ 4.,  6.],
        [ 0.,  0.],
        [12., 14.]])
""",
)


program(
    "random_shapes",
    """
torch.manual_seed(3)
a = torch.rand(4)
torch.manual_seed(3)
print(torch.equal(a, torch.rand(4)), torch.equal(a, torch.rand(4)), a.shape, a.dtype)
n = torch.randn(1000)
print(n.shape, abs(n.mean().item()) < 0.2, 0.8 < n.std().item() < 1.2)
i = torch.randint(3, 9, (200,))
print(i.dtype, i.min().item() >= 3, i.max().item() < 9, torch.randperm(6).sort().values)
d = torch.nn.functional.dropout(torch.ones(400), 0.5)
print(sorted(set(d.tolist())), torch.nn.functional.dropout(torch.ones(2), 0.5, training=False))
print(torch.multinomial(torch.tensor([0., 1., 0.]), 3, replacement=True), torch.bernoulli(torch.tensor([0., 1.])))
print(torch.normal(torch.zeros(3), 1.).shape, torch.rand_like(a).shape, torch.empty(3).uniform_(2, 3).floor())
g = torch.Generator().manual_seed(5)
b = torch.randn(2, generator=g)
state = g.get_state()
c = torch.randn(2, generator=g)
g.set_state(state)
print(torch.equal(c, torch.randn(2, generator=g)), torch.equal(b, c), g.initial_seed())
x = torch.ones(500, requires_grad=True)
y = torch.nn.functional.dropout(x, 0.25)
y.sum().backward()
print(torch.equal(x.grad, y.detach()), sorted({round(v, 4) for v in x.grad.tolist()}))
state = torch.get_rng_state()
p = torch.rand(2)
torch.set_rng_state(state)
print(torch.equal(p, torch.rand(2)))
fails(lambda: torch.multinomial(torch.zeros(2), 3), 60)
fails(lambda: torch.randint(5, 5, (1,)), 60)
""",
    """
True False torch.Size([4]) torch.float32
torch.Size([1000]) True True
torch.int64 True True tensor([0, 1, 2, 3, 4, 5])
[0.0, 2.0] tensor([1., 1.])
tensor([1, 1, 1]) tensor([0., 1.])
torch.Size([3]) torch.Size([4]) tensor([2., 2., 2.])
True False 5
True [0.0, 1.3333]
True
raises cannot sample n_sample > prob_dist.size(-1) samples without
raises random_ expects 'from' to be less than 'to', but got from=5
""",
)
