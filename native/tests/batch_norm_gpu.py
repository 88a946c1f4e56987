#!/usr/bin/env python3
"""Batch norm with residual and ReLU on a GPU against its definition in float64: `batch_norm_gpu.py LIBRARY [--small]`.

Needs PyTorch with CUDA and a build of the engine's library (or of this operator alone) for it. Prints one line a case and
a closing count; exits 1 when a case fails, and when there is no GPU. `--small`: shapes for compute-sanitizer.
"""
import itertools
import sys

import torch

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
# Relative errors (Frobenius). A value rounded once to bfloat16 is off by at most 2^-9, to float16 by 2^-12; dx is made from a
# rounded gradient where there is a residual, so two roundings. float32 is summed in another order than the reference, and among
# millions of values some lie so near to 0 that ReLU lets one of the two gradients through: each such is 1e-4 of fifty millions.
VALUE = {torch.bfloat16: 2.5e-3, torch.float16: 3.2e-4, torch.float32: 1e-6}
GRADIENT = {torch.bfloat16: 5e-3, torch.float16: 6.4e-4, torch.float32: 5e-6}
passed = failed = 0


def report(name, good, text):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    if not good or "-v" in sys.argv:
        print(f"{'ok  ' if good else 'FAIL'} {name}: {text}", flush=True)


def poison():
    """Leaves NaN in the memory that the next results are made in."""
    blocks = [torch.full((n,), float("nan"), device="cuda") for n in (1 << 8, 1 << 12, 1 << 16, 1 << 20, 1 << 22)]
    del blocks


def relative(x, reference):
    norm = reference.norm().item()
    return (x.double() - reference).norm().item() / norm if norm > 0 else x.double().norm().item()


def reference(x, residual, weight, bias, mean, variance, training, relu, epsilon):
    """Definition in float64, recorded by autograd."""
    dims = [0, *range(2, x.dim())]
    shape = [1, -1] + [1] * (x.dim() - 2)
    if training:
        mean, variance = x.mean(dims), x.var(dims, unbiased=False)
    y = (x - mean.view(shape)) / (variance.view(shape) + epsilon).sqrt() * weight.view(shape) + bias.view(shape)
    y = y if residual is None else y + residual
    return torch.relu(y) if relu else y


def check(name, shape, dtype, residual=False, relu=True, training=True, fork=False, offset=0.0, strided=False, contiguous=False, epsilon=1e-5, momentum=0.1, looser=1):
    torch.manual_seed(shape[0] * 31 + shape[1])
    layout = torch.contiguous_format if contiguous or len(shape) == 2 else torch.channels_last if len(shape) == 4 else torch.channels_last_3d

    def make(scale=1.0, shift=0.0):
        t = (torch.randn(shape, device="cuda") * scale + shift).to(dtype)
        return t.contiguous() if strided else t.contiguous(memory_format=layout)

    channels = shape[1]
    x = (make(1.5) + offset * torch.randn(channels, device="cuda").view(1, -1, *[1] * (len(shape) - 2)).to(dtype)).contiguous(memory_format=layout)
    added, g1, g2 = make() if residual else None, make(), make()
    weight, bias = torch.rand(channels, device="cuda") + 0.5, torch.randn(channels, device="cuda") * 0.3
    mean, variance = torch.randn(channels, device="cuda"), torch.rand(channels, device="cuda") + 0.5
    wide = [None if t is None else t.double().requires_grad_() for t in (x, added, weight, bias)]
    wanted = reference(*wide, mean.double(), variance.double(), training, relu, epsilon)
    total = g1.double() + (g2.double() if fork else 0)
    wanted_gradients = torch.autograd.grad(wanted, [t for t in wide if t is not None], total)
    leaves = [None if t is None else t.detach().requires_grad_() for t in (x, added, weight, bias)]
    poison()
    followed = (mean.clone(), variance.clone())
    args = (*leaves, *followed, training, momentum, epsilon, relu)
    if fork:
        y, twin = ds.batch_norm_fork(*args)
        same = y.data_ptr() == twin.data_ptr() or not x.is_contiguous(memory_format=layout)
        roots, given = [y, twin], [g1, g2]
    else:
        y, same = ds.batch_norm(*args), True
        roots, given = [y], [g1]
    poison()
    gradients = torch.autograd.grad(roots, [t for t in leaves if t is not None], given)
    errors = [relative(y.detach(), wanted)] + [relative(a, b) for a, b in zip(gradients, wanted_gradients)]
    gradient = GRADIENT[dtype] if x.numel() < 1e6 else max(GRADIENT[dtype], 3e-4)
    limits = [looser * VALUE[dtype]] + [looser * gradient] * len(gradients)
    good = same and all(e < limit for e, limit in zip(errors, limits)) and y.dtype == dtype and all(g.dtype == t.dtype for g, t in zip(gradients, [t for t in leaves if t is not None]))
    good = good and y.stride() == x.stride()
    if training:
        dims = [0, *range(2, len(shape))]
        batch = (x.double().mean(dims), x.double().var(dims, unbiased=True))
        following = [relative(now, (1 - momentum) * old.double() + momentum * new) for now, old, new in zip(followed, (mean, variance), batch)]
        errors += following
        good = good and max(following) < 1e-6
    else:
        good = good and torch.equal(followed[0], mean) and torch.equal(followed[1], variance)
    report(name, good, " ".join(f"{e:.1e}" for e in errors))


def main():
    if not torch.cuda.is_available():
        print("FAIL no GPU")
        return 1
    bf, half, single = torch.bfloat16, torch.float16, torch.float32
    small = "--small" in sys.argv
    shapes = [(2, 8, 3, 3), (3, 24, 5, 7), (2, 64, 9, 9), (1, 136, 4, 5), (2, 2056, 3, 2), (5, 16, 1, 2)]
    if not small:
        shapes += [(8, 64, 56, 56), (16, 256, 28, 28), (32, 512, 7, 7), (16, 2048, 7, 7), (7, 1000, 13, 11), (64, 64, 112, 112), (3, 32, 6, 7, 8), (2, 4096, 5, 5)]
    for shape, dtype in itertools.product(shapes, (bf,) if small else (bf, half, single)):
        for residual, relu, training in itertools.product((False, True), (True, False), (True, False)):
            check(f"{shape} {dtype} residual {residual} relu {relu} training {training}", shape, dtype, residual, relu, training)
        check(f"{shape} {dtype} fork, residual", shape, dtype, True, fork=True)
    if small:
        check("float32", (3, 24, 5, 7), single, True, fork=True)
        return finish()
    check("fork without residual", (4, 64, 9, 9), bf, fork=True)
    check("fork without relu", (4, 64, 9, 9), bf, True, relu=False, fork=True)
    check("fork, composite", (4, 62, 9, 9), single, True, fork=True)
    # The mean itself is rounded to float32: to 4e-6 of the deviation here.
    check("mean far from zero, float32", (16, 64, 28, 28), single, relu=False, offset=100.0, looser=10)
    check("gradients in another layout", (4, 64, 9, 9), bf, True, strided=True)
    check("channels not in vectors: composite", (4, 30, 9, 9), single, True)
    check("contiguous: composite", (4, 32, 9, 9), single, True, contiguous=True)
    check("matrix: composite", (40, 32), single, True)

    # One value of a million deviations in the first place of the first share.
    x = torch.randn(64, 32, 28, 28, device="cuda").contiguous(memory_format=torch.channels_last)
    x[-1, :, -1, -1] = 1e4
    mean, variance = torch.zeros(32, device="cuda"), torch.ones(32, device="cuda")
    ds.batch_norm(x, None, torch.ones(32, device="cuda"), torch.zeros(32, device="cuda"), mean, variance, True, 1.0, 1e-5, True)
    error = relative(variance, x.double().var((0, 2, 3), unbiased=True))
    report("an outlier", error < 1e-6, f"{error:.1e}")
    x = (torch.randn(64, 32, 28, 28, device="cuda") + 1e4).contiguous(memory_format=torch.channels_last)
    ds.batch_norm(x, None, torch.ones(32, device="cuda"), torch.zeros(32, device="cuda"), mean, variance, True, 1.0, 1e-5, True)
    error = relative(variance, x.double().var((0, 2, 3), unbiased=True))
    report("a mean of ten thousand deviations", error < 1e-5, f"{error:.1e}")

    x, added, g1, g2 = (torch.randn(64, 256, 28, 28, device="cuda").to(bf).contiguous(memory_format=torch.channels_last) for _ in range(4))
    weight, bias = torch.rand(256, device="cuda"), torch.randn(256, device="cuda")
    first, same = None, True
    for _ in range(20):
        poison()
        leaves = [t.detach().requires_grad_() for t in (x, added, weight, bias)]
        y, twin = ds.batch_norm_fork(*leaves, mean.new_zeros(256), mean.new_ones(256), True, 0.1, 1e-5, True)
        results = [t.detach().view(torch.int16 if t.dtype == bf else torch.int32) for t in (y, *torch.autograd.grad([y, twin], leaves, [g1, g2]))]
        first = first or [t.clone() for t in results]
        same = same and all(torch.equal(a, b) for a, b in zip(first, results))
    report("20 runs", same, "every bit equal")
    shape = ds.batch_norm(x.to("meta"), added.to("meta"), weight.to("meta"), bias.to("meta"), None, None, True, 0.1, 1e-5, True)
    report("meta", shape.stride() == x.stride() and shape.dtype == bf, "")
    for name, args in (("one value a channel", (torch.ones(1, 8, 1, 1, device="cuda"), None)), ("another shape", (torch.ones(2, 8, 2, 2, device="cuda"), torch.ones(2, 8, 2, 1, device="cuda")))):
        try:
            ds.batch_norm(*args, torch.ones(8, device="cuda"), torch.ones(8, device="cuda"), None, None, True, 0.1, 1e-5, True)
            report(name, False, "no error")
        except RuntimeError as error:
            report(name, "deepseek::batch_norm" in str(error), "")
    return finish()


def finish():
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
