"""Programs with gradients, random numbers and modules that compile a function; see compile_rows.py."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Any

from tests.client.compile_rows import CALLS, Seen, numbers, row

# --- gradients ------------------------------------------------------------------------------------


@row()
def backward_to_what_it_closes_over(lib: Any, compile: Any) -> Seen:
    w, b = numbers(lib, 4, 2, grad=True), numbers(lib, 2, seed=1, grad=True)
    f = compile(lambda x: ((x @ w + b).tanh() ** 2).mean())
    seen: Seen = []
    for i in CALLS:
        loss = f(numbers(lib, 3, 4, seed=i))
        loss.backward()
        seen += [loss.detach(), w.grad.clone(), b.grad.clone(), loss.requires_grad]
        with lib.no_grad():
            w -= 0.1 * w.grad
            b -= 0.1 * b.grad
        if i % 2:
            w.grad = b.grad = None
    return seen


@row()
def gradients_of_arguments(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x, y: (x * y).sin().sum() + x.sum() * 2)
    seen: Seen = []
    for i in CALLS:
        x, y = numbers(lib, 3, seed=i, grad=True), numbers(lib, 3, seed=i + 9)
        f(x, y).backward()
        seen += [x.grad, f(x * 2, y * 1).requires_grad, f(y, y).requires_grad]
        y.requires_grad_()
        seen += lib.autograd.grad(f(x, y), (x, y))
        with lib.no_grad():
            seen += [f(x, y), f(x, y).requires_grad]
    return seen


@row()
def mixed_with_what_is_recorded(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    f = compile(lambda x: (x * w, (x + w).sum()))
    seen: Seen = []
    for i in CALLS:
        x = numbers(lib, 3, seed=i, grad=True)
        y, s = f(x.exp())
        z = (y.sin() * w).sum() + s * 2
        z.backward(retain_graph=True)
        seen += [z.detach(), w.grad, x.grad]
        w.grad = x.grad = None
        (y.sum() * s).backward()
        seen += [w.grad, x.grad, y.detach()]
        w.grad = None
    return seen


@row()
def read_before_backward(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    f = compile(lambda x: ((x * w) ** 2).sum())
    seen: Seen = []
    for i in CALLS:
        loss = f(numbers(lib, 3, seed=i))
        seen.append(loss.item())
        loss.backward()
        seen.append(w.grad)
        w.grad = None
    return seen


@row()
def with_cotangents_and_some_inputs(lib: Any, compile: Any) -> Seen:
    w, v = numbers(lib, 3, grad=True), numbers(lib, 3, seed=1, grad=True)
    f = compile(lambda x: (x * w).exp() * v)
    seen: Seen = []
    for i in CALLS:
        y = f(numbers(lib, 2, 3, seed=i))
        y.backward(numbers(lib, 2, 3, seed=i + 5), inputs=[w])
        seen += [w.grad, v.grad is None]
        w.grad = None
    return seen


@row(oracle=False)
def second_derivatives(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    f = compile(lambda x: ((x * w).tanh() * w).sum())
    seen: Seen = []
    for i in CALLS:
        x = numbers(lib, 3, seed=i, grad=True)
        (g,) = lib.autograd.grad(f(x), x, create_graph=True)
        seen += [g.detach(), *lib.autograd.grad((g * g).sum(), w)]
    return seen


@row()
def used_twice(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    f = compile(lambda x: (x * w).tanh())
    seen: Seen = []
    for i in CALLS:
        x = numbers(lib, 3, seed=i)
        y = f(f(x)) + f(x * 2)
        y.sum().backward()
        seen += [y.detach(), w.grad]
        w.grad = None
    return seen


@row()
def the_rules_of_retaining(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    f = compile(lambda x: (x * w).exp().sum())
    seen: Seen = []
    for i in CALLS:
        y = f(numbers(lib, 3, seed=i))
        y.backward(retain_graph=True)
        y.backward()
        try:
            y.backward()
        except RuntimeError as error:
            seen.append(str(error)[:60])
        seen += [w.grad]
        w.grad = None
    return seen


@row(oracle=False)
def written_to_before_backward(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    f = compile(lambda x: ((x * w).exp() * w, w.sum() + x.sum(), (x * w).sin()))
    seen: Seen = []
    for i in CALLS:
        y, s, z = f(numbers(lib, 3, seed=i))
        with lib.no_grad():
            w.mul_(0.5)
            if i % 2:
                z.add_(1)
        s.backward()
        for result in (z, y, s):
            try:
                result.sum().backward()
            except RuntimeError as error:
                seen.append(str(error)[:80])
            seen += [w.grad]
        w.grad = None
    return seen


@row(oracle=False)
def used_up_in_parts(lib: Any, compile: Any) -> Seen:
    w, v = numbers(lib, 3, grad=True), numbers(lib, 3, seed=1, grad=True)

    def g(x: Any) -> Any:
        y = (x * w).exp()
        return y.sum(), (y * v).sum(), (v * v).sum(), x * 2

    f, seen = compile(g), []
    for i in CALLS:
        results = f(numbers(lib, 3, seed=i))
        for which, inputs in ((1, [v]), (1, [w]), (0, [w]), (2, [v]), (1, [v]), (2, [v])):
            try:
                seen += lib.autograd.grad(results[which], inputs)
            except RuntimeError as error:
                seen.append(str(error)[:60])
        seen.append(results[3])
    return seen


@row()
def kept_and_hooked_results(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    f = compile(lambda x: ((x * w).sin(), (x + w).cos()))
    seen: Seen = []
    for i in CALLS:
        y, z = f(numbers(lib, 3, seed=i))
        y.retain_grad()
        if i % 2:
            y.register_hook(lambda g: g * 3)
            z.register_hook(lambda g, seen=seen: seen.append(g + 0))
        (y * z).sum().backward()
        seen += [w.grad, y.grad]
        w.grad = None
    return seen


@row()
def hooks_of_what_it_reads(lib: Any, compile: Any) -> Seen:
    w, seen = numbers(lib, 3, grad=True), []
    w.register_hook(lambda g: g * 2)
    f = compile(lambda x: (x * w).sin().sum())
    for i in CALLS:
        f(numbers(lib, 3, seed=i)).backward()
        seen.append(w.grad.clone())
    return seen


@row(replayed=False)
def hooks_inside(lib: Any, compile: Any) -> Seen:
    w, seen = numbers(lib, 3, grad=True), []

    def g(x: Any) -> Any:
        y = x * w
        y.register_hook(lambda g: g * 2)
        return y.sin().sum()

    f = compile(g)
    for i in CALLS:
        f(numbers(lib, 3, seed=i)).backward()
        seen.append(w.grad.clone())
    return seen


@row(oracle=False)
def detached_and_untracked_parts(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)

    def g(x: Any) -> Any:
        y = (x * w).exp()
        with lib.no_grad():
            scale = y.sum() + w.sum()
        return (y / scale).sum() + (y.detach() * y).sum(), y.detach(), scale

    f, seen = compile(g), []
    for i in CALLS:
        loss, still, scale = f(numbers(lib, 3, seed=i))
        loss.backward()
        seen += [loss.detach(), w.grad, still, scale, still.requires_grad, scale.requires_grad]
        (loss2, *_) = f(numbers(lib, 3, seed=i))
        (g1,) = lib.autograd.grad(loss2, w, create_graph=True)
        seen += lib.autograd.grad(g1.sum(), w)
        w.grad = None
    return seen


@row()
def requires_grad_that_changes(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    f = compile(lambda x: (x * w).sum())
    seen: Seen = []
    for i in range(15):
        if i == 5:
            w.requires_grad_(False)
        if i == 10:
            w.requires_grad_()
        y = f(numbers(lib, 3, seed=i))
        seen += [y.detach(), y.requires_grad]
    return seen


@row(replayed=False)
def backward_inside(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)

    def g(x: Any) -> Any:
        loss = (x * w).exp().sum()
        loss.backward()
        return loss.detach()

    f, seen = compile(g), []
    for i in CALLS:
        seen += [f(numbers(lib, 3, seed=i)), w.grad.clone()]
    return seen


@row(replayed=False, oracle=False)
def custom_function_inside(lib: Any, compile: Any) -> Seen:
    class Cube(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 5 * x**2 * g

    f, seen = compile(lambda x: Cube.apply(x).sum()), []
    for i in CALLS:
        x = numbers(lib, 3, seed=i, grad=True)
        f(x).backward()
        seen.append(x.grad)
    return seen


@row()
def through_a_custom_function_outside(lib: Any, compile: Any) -> Seen:
    class Double(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 7

    f, seen = compile(lambda x: x.exp().sum()), []
    for i in CALLS:
        x = numbers(lib, 3, seed=i, grad=True)
        f(Double.apply(x)).backward()
        seen.append(x.grad)
    return seen


# --- functions of functions -----------------------------------------------------------------------


@row()
def grad_and_value(lib: Any, compile: Any) -> Seen:
    def loss(p: Any, x: Any) -> Any:
        return ((x @ p["w"] + p["b"]) ** 2).mean()

    f = compile(lib.func.grad_and_value(loss))
    seen: Seen = []
    p = {"w": numbers(lib, 4), "b": numbers(lib, 1)[0]}
    for i in CALLS:
        grads, value = f(p, numbers(lib, 3, 4, seed=i))
        seen += [grads["w"], grads["b"], value, value.requires_grad]
        p = {name: p[name] - 0.1 * grads[name] for name in p}
    return seen


@row()
def vmap_of_grad(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3)
    f = compile(lib.func.vmap(lib.func.grad(lambda w, x: (x * w).tanh().sum()), (None, 0)))
    return [f(w, numbers(lib, 5, 3, seed=i)) for i in CALLS]


@row()
def hessian_vector_product(lib: Any, compile: Any) -> Seen:
    def loss(x: Any) -> Any:
        return (x.sin() * x).sum()

    f = compile(lambda x, v: lib.func.jvp(lib.func.grad(loss), (x,), (v,))[1])
    return [f(numbers(lib, 3, seed=i), numbers(lib, 3, seed=i + 9)) for i in CALLS]


@row(oracle=False)
def inside_functions_of_functions(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x: (x**3).sum())
    seen: Seen = []
    for i in CALLS:
        x = numbers(lib, 3, seed=i)
        seen += [f(x), lib.func.grad(f)(x), lib.func.vmap(f)(x[:, None]), lib.func.hessian(f)(x)]
    return seen


@row()
def compiled_in_compiled(lib: Any, compile: Any) -> Seen:
    inner = compile(lambda x: x.exp() + 1)
    f = compile(lambda x: inner(x).sum())
    return [(f(numbers(lib, 3, seed=i)), inner(numbers(lib, 2, seed=i)))[k] for i in CALLS for k in (0, 1)]


@row(oracle=False)
def jacobian_of_tracked_arguments(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    f = compile(lib.func.grad(lambda x: (x * x * w).sum()))
    seen: Seen = []
    for i in CALLS:
        x = numbers(lib, 3, seed=i, grad=True)
        g = f(x)
        (g * g).sum().backward()
        seen += [g.detach(), w.grad, x.grad]
        w.grad = None
    return seen


# --- random numbers -------------------------------------------------------------------------------


@row(oracle=False)
def draws_anew(lib: Any, compile: Any) -> Seen:
    lib.manual_seed(0)
    generator = lib.Generator().manual_seed(5)

    def g(x: Any) -> Any:
        unused = lib.rand(2)
        assert unused.shape == (2,)
        return x * lib.rand(3) + lib.randn(3, generator=generator), lib.nn.functional.dropout(x, 0.5)

    f, seen = compile(g), []
    for i in range(9):
        if i == 6:
            lib.manual_seed(3)
        seen += [*f(numbers(lib, 3, seed=i)), lib.rand(1)]
    return seen


@row(oracle=False)
def draws_for_each_example(lib: Any, compile: Any) -> Seen:
    lib.manual_seed(0)
    f = compile(lib.func.vmap(lambda x: x * lib.rand(2), randomness="different"))
    return [one for i in CALLS for one in (f(numbers(lib, 3, 2, seed=i)), lib.rand(1))]


@row(replayed=False, oracle=False)
def seeds_inside(lib: Any, compile: Any) -> Seen:
    def g(x: Any) -> Any:
        lib.manual_seed(1)
        return x + lib.rand(3)

    f = compile(g)
    return [one for i in CALLS for one in (f(numbers(lib, 3, seed=i)), lib.rand(1))]


# --- modules --------------------------------------------------------------------------------------


def _filled(lib: Any, module: Any) -> Any:
    with lib.no_grad():
        for index, parameter in enumerate(module.parameters()):
            parameter.copy_(numbers(lib, *parameter.shape, seed=index) * 0.3)
            parameter.tolist()  # Computed by itself: what is computed along with it may change last bits.
    return module


def _network(lib: Any) -> Any:
    nn = lib.nn
    return _filled(lib, nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 1)))


@row()
def trains_a_module(lib: Any, compile: Any) -> Seen:
    model = _network(lib)
    compiled, seen = compile(model), []
    optimizer = lib.optim.Adam(model.parameters(), lr=0.05)
    for i in range(10):
        optimizer.zero_grad()
        loss = lib.nn.functional.mse_loss(compiled(numbers(lib, 5, 4, seed=i)), numbers(lib, 5, 1, seed=i + 50))
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return [*seen, *[p.detach() for p in model.parameters()]]


@row()
def trains_a_compiled_loss(lib: Any, compile: Any) -> Seen:
    model, seen = _network(lib), []
    optimizer = lib.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loss_of = compile(lambda x, y: lib.nn.functional.mse_loss(model(x), y))
    for i in range(10):
        optimizer.zero_grad()
        loss_of(numbers(lib, 5, 4, seed=i), numbers(lib, 5, 1, seed=i + 50)).backward()
        seen += [p.grad.clone() for p in model.parameters()]
        optimizer.step()
    return [*seen, *[p.detach() for p in model.parameters()]]


@row(oracle=False)
def train_and_eval(lib: Any, compile: Any) -> Seen:
    lib.manual_seed(0)
    model = _filled(lib, lib.nn.Sequential(lib.nn.Linear(4, 8), lib.nn.Dropout(0.5)))
    compiled, seen = compile(model), []
    for i in range(12):
        compiled.train(i % 2 == 0)
        seen += [compiled(numbers(lib, 3, 4, seed=i)), model.training, compiled.training, model[1].training]
    return seen


@row()
def running_statistics(lib: Any, compile: Any) -> Seen:
    model = _filled(lib, lib.nn.Sequential(lib.nn.Linear(4, 3), lib.nn.BatchNorm1d(3)))
    compiled, seen = compile(model), []
    for i in range(16):
        model.train(i < 8)
        seen += [compiled(numbers(lib, 5, 4, seed=i)), model[1].running_mean.clone(), model[1].num_batches_tracked + 0]
    return seen


@row()
def parameters_that_are_replaced(lib: Any, compile: Any) -> Seen:
    model = _network(lib)
    compiled, seen = compile(model), []
    for i in range(20):
        if i == 5:
            model[0].weight = lib.nn.Parameter(numbers(lib, 8, 4, seed=77))
        if i == 10:
            model[1] = lib.nn.Tanh()
        if i == 15:
            model.load_state_dict({name: held * 2 for name, held in model.state_dict().items()})
        seen.append(compiled(numbers(lib, 3, 4, seed=i)))
    return seen


@row()
def attributes_of_a_module(lib: Any, compile: Any) -> Seen:
    class Scaled(lib.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = 2.0
            self.inner = lib.nn.Linear(3, 3)

        def forward(self, x: Any, extra: Any = None) -> Any:
            y = self.inner(x) * self.scale
            return y if extra is None else y + extra

        def other(self) -> str:
            return "other"

    model = _filled(lib, Scaled())
    compiled, seen = compile(model), []
    for i in range(12):
        if i == 6:
            compiled.scale = 3.0
        x = numbers(lib, 2, 3, seed=i)
        seen += [compiled(x), compiled(x, extra=x), model.scale, compiled.scale, compiled.other()]
    seen += list(compiled.state_dict()) if compiled is not model else [f"_orig_mod.{n}" for n in model.state_dict()]
    return [*seen, len(list(compiled.parameters()))]


@row(oracle=False)  # PyTorch does not look for hooks attached later.
def hooks_of_a_module(lib: Any, compile: Any) -> Seen:
    model = _network(lib)
    compiled, seen = compile(model), []
    for i in range(18):
        if i == 6:
            handle = model[0].register_forward_hook(lambda module, args, result: result * 2)
        if i == 12:
            handle.remove()
        seen.append(compiled(numbers(lib, 3, 4, seed=i)))
    return seen


@row(oracle=False)
def lazy_at_first(lib: Any, compile: Any) -> Seen:
    model = lib.nn.LazyLinear(2)
    compiled, seen = compile(model), []
    for i in range(6):
        result = compiled(numbers(lib, 3, 4, seed=i))
        if not i:
            _filled(lib, model)
        seen.append(result.detach() if i else result.shape)
    return seen


@row(oracle=False)
def functional_call(lib: Any, compile: Any) -> Seen:
    model = _network(lib)

    def loss(p: Any, x: Any) -> Any:
        return lib.func.functional_call(model, p, (x,)).sum()

    f = compile(lib.func.grad(loss))
    given = {name: held.detach() for name, held in model.named_parameters()}
    return [one for i in CALLS for one in f(given, numbers(lib, 3, 4, seed=i)).values()]


# --- modes and dtypes -----------------------------------------------------------------------------


@row()
def the_default_dtype(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x: x + lib.ones(3) / 3)
    seen: Seen = []
    try:
        for i in range(16):
            lib.set_default_dtype(lib.float64 if i % 2 else lib.float32)
            seen.append(f(numbers(lib, 3, seed=i)))
    finally:
        lib.set_default_dtype(lib.float32)
    return seen


@row(oracle=False)
def anomalies_and_inference(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    f, seen = compile(lambda x: (x * w).sqrt().sum()), []
    for i in CALLS:
        x = numbers(lib, 3, seed=i).abs()
        with lib.inference_mode():
            seen += [f(x), f(x).is_inference()]
        y = f(x * 0 if i % 2 else x / w.detach().sign())
        with contextlib.ExitStack() as stack:
            stack.enter_context(lib.autograd.detect_anomaly(False))
            try:
                y.backward()
            except RuntimeError as error:
                seen.append("nan" in str(error))
        seen.append(w.grad)
        w.grad = None
    return seen


@row(oracle=False)
def checkpointed_inside(lib: Any, compile: Any) -> Seen:
    w = numbers(lib, 3, grad=True)
    inner = lambda x: (x * w).tanh().exp()  # noqa: E731
    f = compile(lambda x: (lib.utils.checkpoint.checkpoint(inner, x, use_reentrant=False) * w).sum())
    seen: Seen = []
    for i in CALLS:
        (f(numbers(lib, 3, seed=i)) + f(numbers(lib, 3, seed=i + 9))).backward()
        seen.append(w.grad)
        w.grad = None
    return seen


@row(oracle=False)
def ordered_dicts(lib: Any, compile: Any) -> Seen:
    f = compile(lambda d: OrderedDict((name, held * 2) for name, held in d.items()))
    seen: Seen = []
    for i in CALLS:
        found = f(OrderedDict(b=numbers(lib, 2, seed=i), a=numbers(lib, 3, seed=i)))
        seen += [type(found).__name__, *found, *found.values()]
    return seen
