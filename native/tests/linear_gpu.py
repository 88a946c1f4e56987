#!/usr/bin/env python3
"""Linear layers, the feed-forward branch, attention with its projection and the head's loss on a GPU against float64: `linear_gpu.py LIBRARY [--small | --own]`.

Prints one line a failed case and a closing count; exits 1 when a case fails, and when there is no GPU. `--small`: few shapes, for
compute-sanitizer; `--own`: shapes that cuBLASLt does not take, with plain products, for its racecheck.
"""
import itertools
import sys

import torch
from torch.nn import functional as F

from plain_products import use_plain_products

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
# Relative errors (Frobenius): every intermediate result is rounded to the element type once, products are summed in float32.
LIMIT = {torch.bfloat16: 1.2e-2, torch.float16: 1.6e-3}
passed = failed = 0


def random(*shape):
    return torch.randn(*shape, device="cuda")


def relative(x, reference):
    return ((x.double() - reference).norm() / reference.norm().clamp_min(1e-30)).item()


def check(name, ours, reference, inputs, dtype):
    """Values and every gradient; results are made where NaN was left."""
    global passed, failed
    leaves = [t.to(dtype).requires_grad_() for t in inputs]
    wide = [t.detach().double().requires_grad_() for t in leaves]
    poison = [torch.full((n,), float("nan"), device="cuda") for n in (1 << 10, 1 << 14, 1 << 18, 1 << 20)]
    del poison
    y, exact = ours(*leaves), reference(*wide)
    dy = torch.randn_like(y)
    errors = [relative(y.detach(), exact.detach())]
    errors += [relative(a, b) for a, b in zip(torch.autograd.grad(y, leaves, dy), torch.autograd.grad(exact, wide, dy.double()))]
    good = all(e <= LIMIT[dtype] for e in errors)  # NaN is not
    passed, failed = passed + good, failed + (not good)
    if not good:
        print(f"FAIL {name} {dtype}: " + " ".join(f"{e:.1e}" for e in errors), flush=True)


def attention(x, weight, bias, heads, causal):
    n, t = x.shape[:2]
    q, k, v = (F.linear(x, weight, bias).view(n, t, 3, heads, -1)[:, :, i].transpose(1, 2) for i in range(3))
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    if causal:
        scores = scores + torch.full((t, t), float("-inf"), device="cuda", dtype=x.dtype).triu(1)
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, -1)


def layers(dtype, rows, columns, outputs):
    shape = (3, rows, columns)
    x, w, b = random(*shape), random(outputs, columns) / columns**0.5, random(outputs)
    check(f"linear {shape} {outputs}", lambda x, w, b: ds.linear(x, w, b), F.linear, [x, w, b], dtype)
    check(f"linear, the weight transposed {shape} {outputs}", lambda x, w: ds.linear(x, w.t(), None), lambda x, w: F.linear(x, w.t()), [x, w.t().contiguous()], dtype)
    narrow, narrow_bias = random(columns, outputs) / outputs**0.5, random(columns)
    check(f"mlp {shape} {outputs}", ds.gelu_mlp, lambda x, w, b, n, c: F.linear(F.gelu(F.linear(x, w, b), approximate="tanh"), n, c), [x, w, b, narrow, narrow_bias], dtype)


def attends(dtype, n, t, heads, width, causal, inputs=None):
    c = heads * width
    inputs = inputs or c
    check(f"attention {n}x{t} {heads}x{width} causal {causal}", lambda x, w, b: ds.projected_attention(x, w, b, heads, causal), lambda x, w, b: attention(x, w, b, heads, causal),
          [random(n, t, inputs), random(3 * c, inputs) / inputs**0.5, random(3 * c)], dtype)


def head(dtype, rows, columns, classes, chunk):
    targets = torch.randint(0, classes, (rows,), device="cuda")
    targets[::7] = -100
    check(f"head loss {rows}x{columns}x{classes}", lambda x, w: ds.head_loss(x, w, targets, chunk), lambda x, w: F.cross_entropy(x @ w.t(), targets), [random(rows, columns), random(classes, columns) * 0.3], dtype)


def main():
    if not torch.cuda.is_available():
        print("FAIL no GPU")
        return 1
    torch.manual_seed(3)
    small, own = "--small" in sys.argv, "--own" in sys.argv
    plain = use_plain_products() if own else None  # noqa: F841 (they last as long as this)
    for dtype, shape in itertools.product(LIMIT, [(24, 9, 40), (100, 9, 264)] if own else [(24, 64, 40)] if small else [(24, 64, 40), (1000, 768, 2304), (7, 9, 5), (4099, 64, 1032), (1, 8, 8)]):
        layers(dtype, *shape)
    for dtype, shape, causal in itertools.product(LIMIT, [(2, 32, 2, 32)] if small or own else [(2, 32, 2, 32), (3, 200, 4, 64)], (False, True)):
        attends(dtype, *shape, causal, 9 if own else None)
    for dtype, shape in itertools.product(LIMIT, [(40, 9, 104, 16)] if own else [(40, 32, 104, 16)] if small else [(40, 32, 104, 16), (300, 64, 1000, 128)]):
        head(dtype, *shape)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
