"""PyTorch's autograd tutorial, line for line; only the import differs."""

import gradmesh as torch

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
print((x**2).requires_grad)

with torch.no_grad():
    print((x**2).requires_grad)

print(x.requires_grad)
y = x.detach()
print(y.requires_grad)
print(x.eq(y).all())
