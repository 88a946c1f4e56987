#!/usr/bin/env python3
"""Convolutions of stride 2 over few channels on a GPU against float64: `folded_convolution_gpu.py LIBRARY [--small]`.

Under autocast inputs and weights are rounded to half precision and products summed in float32: the reference takes the same
rounded numbers, so that what is left is the rounding of the result and of the weight's gradient. Prints one line a failed
case and a closing count; exits 1 when a case fails, and when there is no GPU. `--small`: few cases, for compute-sanitizer.
"""
import itertools
import sys

import torch
from torch.nn import functional as F

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
LIMIT = {torch.bfloat16: 3e-3, torch.float16: 4e-4, torch.float32: 1e-5}
passed = failed = 0


def report(name, good, text=""):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    if not good:
        print(f"FAIL {name}: {text}", flush=True)


def relative(x, reference):
    return ((x.double() - reference).norm() / reference.norm()).item()


def check(shape, outputs, size, dtype, autocast, last, biased=False, grad_input=False):
    torch.manual_seed(size)
    x = torch.randn(shape, device="cuda")
    x = x if autocast else x.to(dtype)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    weight = (torch.randn(outputs, shape[1], size, size, device="cuda") / size)
    weight = (weight if autocast else weight.to(dtype)).contiguous(memory_format=torch.channels_last).requires_grad_()
    bias = torch.randn(outputs, device="cuda").to(weight.dtype) if biased else None
    x.requires_grad_(grad_input)
    wide = weight.detach().to(dtype).double().requires_grad_()
    wanted = F.conv2d(x.detach().to(dtype).double(), wide, None if bias is None else bias.to(dtype).double(), 2, size // 2)
    gradient = torch.randn(wanted.shape, device="cuda").to(dtype).contiguous(memory_format=torch.channels_last)
    wanted_gradient, = torch.autograd.grad(wanted, wide, gradient.double())
    with torch.autocast("cuda", dtype, enabled=autocast):
        y = ds.convolution_stride2(x, weight, bias, size // 2)
    dw, = torch.autograd.grad(y, weight, gradient)
    errors = relative(y.detach(), wanted), relative(dw, wanted_gradient)
    report(f"{shape} -> {outputs} {size} {dtype} autocast {autocast} last {last}", y.dtype == dtype and y.shape == wanted.shape and dw.dtype == weight.dtype and max(errors) < LIMIT[dtype], f"{errors}")


def main():
    if not torch.cuda.is_available():
        print("FAIL no GPU")
        return 1
    if "--small" in sys.argv:
        for (size, channels), dtype, last in itertools.product(((7, 3), (3, 1)), (torch.bfloat16, torch.float16), (True, False)):
            check((2, channels, 16, 24), 64, size, dtype, True, last)
        return finish()
    for (size, channels), dtype, autocast, last in itertools.product(((7, 3), (5, 1), (7, 1), (5, 4), (9, 2), (3, 3)), (torch.bfloat16, torch.float16), (True, False), (True, False)):
        check((4, channels, 32, 48), 64, size, dtype, autocast, last)
    check((16, 3, 224, 224), 64, 7, torch.bfloat16, True, True, biased=True)
    check((2, 3, 31, 33), 64, 7, torch.bfloat16, True, True)
    check((2, 3, 32, 32), 20, 7, torch.bfloat16, True, True)
    check((2, 3, 32, 32), 64, 7, torch.bfloat16, True, True, grad_input=True)
    return finish()


def finish():
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
