#!/usr/bin/env python3
"""Kernel times of batch norm + ReLU (+ residual) at ResNet-50's shapes, ours and PyTorch's: `batch_norm_gpu.py LIBRARY [batch]`.

Times are the kernels' own (CUPTI), medians of 9 after 3, over input sets that together exceed the second-level cache. The rate
is bytes of the floor (statistics 1 read; apply 1 read, 1 write, + residual; sums 2 reads, + mask, second gradient and masked
gradient; gradient 2 reads, 1 write) by time.
"""
import collections
import statistics
import sys

import torch
from torch.nn import functional as F

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
BATCH = int(sys.argv[2]) if len(sys.argv) > 2 else 256
# channels, side, kind, times in ResNet-50
SHAPES = [(64, 112, "relu", 1), (64, 56, "relu", 6), (256, 56, "add", 3), (256, 56, "plain", 1), (128, 56, "relu", 1), (128, 28, "relu", 7), (512, 28, "add", 4), (512, 28, "plain", 1),
          (256, 28, "relu", 1), (256, 14, "relu", 11), (1024, 14, "add", 6), (1024, 14, "plain", 1), (512, 14, "relu", 1), (512, 7, "relu", 5), (2048, 7, "add", 3), (2048, 7, "plain", 1)]
KINDS = {"finish_": "finish", "statistics_kernel": "statistics", "apply_kernel": "apply", "sums_kernel": "sums", "gradient_kernel": "gradient"}


def kernels(run, repeats=9, warm=3):
    """Microseconds of each kernel name, median a run, and of all together."""
    for i in range(warm):
        run(i)
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for i in range(repeats):
            run(i)
        torch.cuda.synchronize()
    each = collections.defaultdict(list)
    for event in profile.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            each[event.name].append(event.device_time if hasattr(event, "device_time") else event.cuda_time)
    return {name: (statistics.median(times) * len(times) / repeats) for name, times in each.items()}


def inputs(channels, side):
    size = BATCH * channels * side * side * 2
    sets = max(2, min(8, int(300e6 / size) + 1))

    def make():
        return torch.randn(BATCH, channels, side, side, device="cuda", dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)

    return [[make().requires_grad_(), make().requires_grad_(), make(), make()] for _ in range(sets)], size


def pool():
    """ResNet-50's max-pool: forward 1 read, 1/4 write and as many bytes as elements of it; backward the same back."""
    x = torch.randn(BATCH, 64, 112, 112, device="cuda", dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last).requires_grad_()
    g = torch.randn(BATCH, 64, 56, 56, device="cuda", dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    size = x.numel() * 2 * (1 + 1 / 4 + 1 / 8)
    for name, operator in (("ours", lambda: ds.max_pool2d(x, 3, 2, 1)), ("PyTorch", lambda: F.max_pool2d(x, 3, 2, 1))):
        times = kernels(lambda _: torch.autograd.grad(operator(), x, g))
        print(f"max-pool, {name}: " + ", ".join(f"{kernel[kernel.find('::') + 2:][:60]} {time:.0f} us {size / time / 1e6:.2f} TB/s" for kernel, time in times.items()))


def main():
    x = torch.empty(411041792 // 2, device="cuda", dtype=torch.bfloat16)
    y = torch.empty_like(x)
    copy = list(kernels(lambda _: y.copy_(x)).values())[0]
    ceiling = 2 * 411041792 / copy / 1e6
    print(f"copy of 411 MB: {ceiling:.2f} TB/s")
    del x, y
    total = collections.Counter()
    for channels, side, kind, times in SHAPES:
        sets, size = inputs(channels, side)
        weight, bias = torch.ones(channels, device="cuda", requires_grad=True), torch.zeros(channels, device="cuda", requires_grad=True)
        mean, variance = torch.zeros(channels, device="cuda"), torch.ones(channels, device="cuda")

        def ours(i):
            x, r, g1, g2 = sets[i % len(sets)]
            args = (weight, bias, mean, variance, True, 0.1, 1e-5, kind != "plain")
            if kind == "add":
                outputs = ds.batch_norm_fork(x, r, *args)
                torch.autograd.grad(outputs, [x, r, weight, bias], [g1, g2])
            else:
                torch.autograd.grad(ds.batch_norm(x, None, *args), [x, weight, bias], g1)

        def eager(i):
            x, r, g1, g2 = sets[i % len(sets)]
            z = F.batch_norm(x, mean, variance, weight, bias, True, 0.1, 1e-5)
            if kind == "add":
                torch.autograd.grad(torch.relu_(z + r), [x, r, weight, bias], g1 + g2)
            else:
                torch.autograd.grad(torch.relu_(z) if kind == "relu" else z, [x, weight, bias], g1)

        ours_kernels, eager_kernels = kernels(ours), kernels(eager)
        by = collections.Counter()
        for name, time in ours_kernels.items():
            by[next((short for part, short in KINDS.items() if part in name), "other")] += time
        units = {"statistics": 1, "apply": 3 if kind == "add" else 2, "sums": 4 if kind == "add" else 2, "gradient": 3}
        extra = {"apply": 1 / 16, "sums": 1 / 16} if kind == "add" else {}
        line = "  ".join(f"{name} {by[name]:6.1f} us {size * (n + extra.get(name, 0)) / by[name] / 1e6:5.2f} TB/s ({size * (n + extra.get(name, 0)) / by[name] / 1e6 / ceiling:4.0%})" for name, n in units.items() if by[name])
        print(f"{channels:5d} x {side:3d} {kind:5s} x{times:2d}  {line}  finish {by['finish']:.1f} other {by['other']:.1f}  all {sum(by.values()):.0f}  eager {sum(eager_kernels.values()):.0f} us", flush=True)
        if "-v" in sys.argv:
            for name, time in sorted(eager_kernels.items(), key=lambda e: -e[1]):
                print(f"        {time:8.1f} {name[:150]}")
        for name, time in by.items():
            total[name] += times * time
        total["ours"] += times * sum(by.values())
        total["eager"] += times * sum(eager_kernels.values())
        del sets
    pool()
    print("ResNet-50's 53 layers, ms: " + ", ".join(f"{name} {time / 1e3:.2f}" for name, time in total.items()))


main()
