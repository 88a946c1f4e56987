#!/usr/bin/env python3
"""Channels-last max-pool on a GPU against libtorch's in float64: `max_pool_gpu.py LIBRARY [--small]`.

Values are the same numbers; a gradient is a sum of a few terms, of the windows that took the element, rounded once. Of equal
elements both take the first. Prints one line a failed case and a closing count; exits 1 when a case fails, and when there is no GPU.
"""
import itertools
import sys

import torch
from torch.nn import functional as F

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
ROUNDING = {torch.bfloat16: 2.0 ** -8, torch.float16: 2.0 ** -11, torch.float32: 1e-6}
passed = failed = 0


def report(name, good, text=""):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    if not good:
        print(f"FAIL {name}: {text}", flush=True)


def check(shape, dtype, kernel, stride, padding, ties=False, last=True):
    g = torch.Generator(device="cuda").manual_seed(shape[1] + kernel)
    # Small integers have ties; in float32 normal numbers have none to speak of, in half precision a few.
    values = torch.randint(-2, 3, shape, device="cuda", generator=g).float() if ties else torch.randn(shape, device="cuda", generator=g)
    x = values.to(dtype).contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    mine, theirs = x.detach().requires_grad_(), x.detach().requires_grad_()
    wanted = F.max_pool2d(theirs, kernel, stride, padding)
    nan = torch.full((1 << 20,), float("nan"), device="cuda")
    del nan
    y = ds.max_pool2d(mine, kernel, stride, padding)
    name = f"{shape} {dtype} {kernel}/{stride}/{padding} ties {ties} last {last}"
    report(name, torch.equal(y, wanted) and y.stride() == wanted.stride(), "values")
    grad = torch.randn(wanted.shape, device="cuda", generator=g).to(dtype).contiguous(memory_format=torch.channels_last)
    wide = x.detach().double().requires_grad_()
    reference, = torch.autograd.grad(F.max_pool2d(wide, kernel, stride, padding), wide, grad.double())
    dx, = torch.autograd.grad(y, mine, grad)
    gap = ((dx.double() - reference).abs() - ROUNDING[dtype] * reference.abs()).max().item()
    report(name, gap <= 1e-6 and dx.stride() == x.stride(), f"gradient off by {gap:.1e}")


def main():
    if not torch.cuda.is_available():
        print("FAIL no GPU")
        return 1
    small = "--small" in sys.argv
    shapes = [(2, 8, 7, 9), (1, 64, 5, 5), (3, 24, 12, 4)] + ([] if small else [(4, 64, 112, 112), (2, 256, 33, 31), (1, 2048, 7, 7)])
    for shape, dtype, (kernel, stride, padding) in itertools.product(shapes, (torch.bfloat16,) if small else ROUNDING, ((3, 2, 1), (2, 2, 0), (3, 1, 1), (2, 3, 0), (4, 2, 2))):
        for ties in (False, True):
            check(shape, dtype, kernel, stride, padding, ties)
    check((2, 6, 8, 8), torch.float32, 3, 2, 1)
    check((2, 8, 8, 8), torch.float32, 3, 2, 1, last=False)
    x = torch.randn(2, 8, 9, 9, device="cuda").contiguous(memory_format=torch.channels_last)
    x[0, 3, 4, 4], x[1, :, :3, :3] = float("nan"), float("-inf")
    report("NaN passes, -infinity stays", torch.equal(ds.max_pool2d(x, 3, 2, 1).nan_to_num(7), F.max_pool2d(x, 3, 2, 1).nan_to_num(7)))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
