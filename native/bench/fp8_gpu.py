#!/usr/bin/env python3
"""A linear layer forward and backward in FP8, casts included, against bfloat16, and the bandwidth of the casts: `fp8_gpu.py LIBRARY`;
`fp8_gpu.py LIBRARY blocks`: chains of transformer blocks without norms, by the fused operators of both precisions.

Every number is the median of replays of a CUDA graph over four input sets, contenders by turns, second-level cache flushed
before each (10th and 90th percentile in brackets). Needs a GPU of compute capability 8.9 and PyTorch 2.5.
"""
import statistics
import sys

import torch

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
SETS, ROUNDS = 4, 15
E4M3, E5M2 = (0, 448.0), (1, 57344.0)
bf16 = torch.bfloat16


class Scaled:
    """A tensor's delayed scale, as Fp8Scale of the engine keeps it."""

    def __init__(self, format):
        self.format, self.history, self.scale = format, torch.zeros(16, device="cuda"), torch.ones(1, device="cuda")

    def cast(self, x):
        return ds.fp8_scaled_cast(x, self.history, self.scale, *self.format, 1)


def typed(codes, format):
    return codes.view(torch.float8_e4m3fn if format is E4M3 else torch.float8_e5m2)


def product(a, fa, ia, b, fb, ib, fast):
    return torch._scaled_mm(typed(a, fa), typed(b, fb).t(), ia, ib, None, None, bf16, fast)


class Eight:
    def __init__(self):
        self.x, self.w, self.g = Scaled(E4M3), Scaled(E4M3), Scaled(E5M2)

    def step(self, x, w, g):
        xc, xt, _, xi = self.x.cast(x)
        wc, wt, _, wi = self.w.cast(w)
        y = product(xc, E4M3, xi, wc, E4M3, wi, True)
        gc, gt, _, gi = self.g.cast(g)
        return y, product(gc, E5M2, gi, wt, E4M3, wi, False), product(gt, E5M2, gi, xt, E4M3, xi, False)


def half(x, w, g):
    return x @ w.t(), g @ w, g.t() @ x


def graphs(call, sets):
    stream = torch.cuda.Stream()
    made = []
    with torch.cuda.stream(stream):
        for given in sets:
            for _ in range(3):
                call(*given)
    torch.cuda.synchronize()
    for given in sets:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            kept = call(*given)
        made.append((graph, kept))
    return made


def race(contenders, sets):
    """Milliseconds of each, by turns: median, 10th and 90th percentile."""
    made = {name: graphs(call, sets) for name, call in contenders.items()}
    flush = torch.empty(128 << 20, dtype=torch.uint8, device="cuda")
    times = {name: [] for name in contenders}
    for turn in range(ROUNDS):
        for name, replays in made.items():
            flush.zero_()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            replays[turn % SETS][0].replay()
            end.record()
            torch.cuda.synchronize()
            times[name].append(start.elapsed_time(end))
    return {name: (statistics.median(t), *(statistics.quantiles(t, n=10)[i] for i in (0, 8))) for name, t in times.items()}


def check():
    g = torch.Generator(device="cuda").manual_seed(1)
    x, w, d = (torch.randn(*size, device="cuda", generator=g).to(bf16) for size in ((512, 384), (640, 384), (512, 640)))
    layer = Eight()
    layer.step(x, w, d)  # sets the scales
    y, dx, dw = layer.step(x, w, d)
    for name, ours, wanted in (("y", y, x.double() @ w.double().t()), ("dx", dx, d.double() @ w.double()), ("dw", dw, d.double().t() @ x.double())):
        error = ((ours.double() - wanted).norm() / wanted.norm()).item()
        # E4M3 rounds by 2^-4 at most, on average by 0.026 of a value; E5M2 by twice that.
        print(f"{'ok  ' if error < 0.08 else 'FAIL'} {name}: relative error {error:.4f}", flush=True)


def scales():
    made = torch.zeros(3, 20, device="cuda")
    made[:, 16] = 1
    return made


class Block:
    """Attention, its projection and the feed-forward branch, as the engine's GPT calls them; weights kept [in, out]."""

    def __init__(self, width, eight):
        self.width, self.eight, self.first = width, eight, 3
        self.weights = [(torch.randn(i, o, device="cuda") * i ** -0.5).to(bf16).requires_grad_() for i, o in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))]
        self.biases = [torch.zeros(w.size(1), device="cuda", dtype=bf16, requires_grad=True) for w in self.weights]
        self.states = [scales() for _ in self.weights]

    def forward(self, x):
        (w, p, f, n), (wb, pb, fb, nb), (ws, ps, fs, ns) = [t.t() for t in self.weights], self.biases, self.states
        heads, first, self.first = self.width // 128 if self.width % 128 == 0 and self.width > 1024 else self.width // 64, self.first, 0
        if not self.eight:
            return ds.gelu_mlp(ds.linear(ds.projected_attention(x, w, wb, heads, True), p, pb), f, fb, n, nb)
        y = ds.fp8_linear(ds.fp8_projected_attention(x, w, wb, ws, 1, first, heads, True, None), p, pb, ps, 1, first, None)
        return ds.fp8_gelu_mlp(y, f, fb, fs, n, nb, ns, 1, first | first << 3, None)


def chain(width, count, eight):
    made = [Block(width, eight) for _ in range(count)]
    parameters = [t for b in made for t in b.weights + b.biases]

    def step(x, g):
        y = x
        for b in made:
            y = b.forward(y)
        return torch.autograd.grad(y, [x, *parameters], g)

    return step


def blocks():
    """Series of replays, so that the card's power is what it is in training."""
    print(torch.cuda.get_device_name(), torch.__version__)
    ds.tune_products(True)
    torch.backends.cuda.enable_flash_sdp(False)
    for rows, length, width, count in ((8, 1024, 2048, 4), (8, 1024, 4096, 2), (32, 1024, 768, 4)):
        x, g = torch.randn(rows, length, width, device="cuda").to(bf16).requires_grad_(), torch.randn(rows, length, width, device="cuda").to(bf16)
        steps = {"bfloat16": chain(width, count, False), "FP8": chain(width, count, True)}
        made = {name: graphs(step, [(x, g)])[0][0] for name, step in steps.items()}
        times = {name: [] for name in made}
        for _ in range(8):
            for name, graph in made.items():
                start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                start.record()
                for _ in range(12):
                    graph.replay()
                end.record()
                torch.cuda.synchronize()
                times[name].append(start.elapsed_time(end) / 12 / count)
        middle = {name: statistics.median(t) for name, t in times.items()}
        print(f"{rows} x {length} tokens, width {width}, {count} blocks, ms a block forward and backward: " +
              ", ".join(f"{n} {middle[n]:.3f} [{min(t):.3f}, {max(t):.3f}]" for n, t in times.items()) + f": {middle['bfloat16'] / middle['FP8']:.2f}x", flush=True)
        if width == 2048:
            profile(steps["FP8"], x, g, "FP8")
            profile(steps["bfloat16"], x, g, "bfloat16")
        del made, steps


def profile(step, x, g, name):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        for _ in range(3):
            step(x, g)
        torch.cuda.synchronize()
    rows = sorted(((e.device_time_total / 3, e.count // 3, e.key) for e in seen.key_averages() if e.device_time_total), reverse=True)
    print(f"  kernels of {name}, us and launches a step of all blocks:")
    for us, count, key in rows[:16]:
        print(f"    {us:8.0f} {count:4d} {key[:150]}", flush=True)


def main():
    if sys.argv[2:] == ["blocks"]:
        blocks()
        return
    check()
    print(torch.cuda.get_device_name(), torch.__version__)
    print("cast with its transpose, bytes read and written:")
    source = [torch.empty(1 << 28, device="cuda", dtype=torch.uint8) for _ in range(SETS)]
    copies = race({"copy": lambda s: s.clone()}, [(s,) for s in source])["copy"]
    best = 2 * (1 << 28) / copies[0] / 1e6
    print(f"  copy of 256 MiB: {best:.0f} GB/s")
    del source
    for rows, columns in ((8192, 2048), (8192, 8192), (16384, 8192), (2048, 8192)):
        sets = [(torch.randn(rows, columns, device="cuda").to(bf16),) for _ in range(SETS)]
        for format, name in ((E4M3, "E4M3"), (E5M2, "E5M2")):
            scale = Scaled(format)
            p50, p10, p90 = race({"cast": scale.cast}, sets)["cast"]
            rate = rows * columns * 4 / p50 / 1e6
            print(f"  {rows}x{columns} {name}: {p50:.4f} [{p10:.4f}, {p90:.4f}] ms, {rate:.0f} GB/s, {100 * rate / best:.0f} % of copy", flush=True)
    print("linear layer, forward and both gradients:")
    for rows, inputs, outputs in ((8192, 2048, 2048), (8192, 2048, 6144), (8192, 2048, 8192), (8192, 8192, 2048), (16384, 2048, 8192), (8192, 4096, 16384), (65536, 768, 3072)):
        sets = [(torch.randn(rows, inputs, device="cuda").to(bf16), torch.randn(outputs, inputs, device="cuda").to(bf16), torch.randn(rows, outputs, device="cuda").to(bf16)) for _ in range(SETS)]
        layer = Eight()
        layer.step(*sets[0])
        codes = [(layer.x.cast(x)[0], layer.w.cast(w)[0], layer.g.cast(g)[0]) for x, w, g in sets]
        one = torch.ones(1, device="cuda")
        times = race({"bfloat16": half, "FP8": layer.step}, sets)
        products = race({"fast": lambda x, w, _: product(x, E4M3, one, w, E4M3, one, True), "exact": lambda x, w, _: product(x, E4M3, one, w, E4M3, one, False)}, codes)
        flops = 2 * rows * inputs * outputs
        text = ", ".join(f"{n} {t[0]:.3f} [{t[1]:.3f}, {t[2]:.3f}] ms" for n, t in times.items())
        rates = ", ".join(f"{n} {flops / t[0] / 1e9:.0f}" for n, t in products.items())
        print(f"  {rows} rows of {inputs} -> {outputs}: {text}: {times['bfloat16'][0] / times['FP8'][0]:.2f}x; one FP8 product {rates} TFLOP/s, bfloat16 all three {3 * flops / times['bfloat16'][0] / 1e9:.0f}", flush=True)
        del sets, codes


main()
