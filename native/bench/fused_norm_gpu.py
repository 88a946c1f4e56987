#!/usr/bin/env python3
"""Times dropout + residual + LayerNorm against PyTorch by graph replay: `fused_norm_gpu.py LIBRARY [ROWSxCOLUMNS...] [--prepare] [--autotune]`.

bfloat16, p = 0.1, the gradient reaches y and z. Every shape runs in a process of its own, so that no graph or compiled code of
another one is in the way of a capture. Candidates take turns over several input sets, L2 flushed before each replay; prints
p50 [p10, p90] in ms, TB/s of the bytes that must move (8 an element forward, 10 backward) and the ratio to ours.
--prepare only compiles (a later run finds the code in Inductor's cache), --autotune adds torch.compile with max-autotune.
"""
import gc
import statistics
import subprocess
import sys

import torch
import torch._functorch.config
import torch.nn.functional as F

ROUNDS, P = 41, 0.1


class Replay:
    """Graphs of one call over the input sets. `make(set)` runs on the stream of the capture and returns the call, so that a
    backward pass belongs to the stream its forward pass ran on."""

    def __init__(self, make, sets, stream):
        self.graphs, self.kept = [], []
        with torch.cuda.stream(stream):
            calls = [make(i) for i in range(sets)]
            for call in calls:
                for _ in range(3):
                    call()
        torch.cuda.synchronize()
        gc.collect()
        gc.disable()  # a graph that is collected during a capture would spoil it
        for call in calls:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self.kept.append((call, call()))
            self.graphs.append(graph)
        gc.enable()


def measure(versions, sets, stream, flush):
    """{name: make} -> {name: sorted ms}; a version that cannot be captured is reported and left out."""
    replays = {}
    for name, make in versions.items():
        try:
            replays[name] = Replay(make, sets, stream)
        except Exception as fault:
            gc.enable()
            torch.cuda.synchronize()
            print(f"  {name} left out: {str(fault).splitlines()[0][:200]}", flush=True)
    times = {name: [] for name in replays}
    for turn in range(ROUNDS + 3):
        for name, replay in replays.items():
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            flush.zero_()
            start.record()
            replay.graphs[turn % sets].replay()
            end.record()
            end.synchronize()
            if turn >= 3:
                times[name].append(start.elapsed_time(end))
    return {name: sorted(t) for name, t in times.items()}


def show(name, times, moved, copy):
    base = statistics.median(times["ours"])
    for label, t in times.items():
        p50 = statistics.median(t)
        rate = moved / p50 / 1e9
        print(f"{name:22s} {label:10s} {p50:8.4f} ms [{t[len(t) // 10]:.4f}, {t[-1 - len(t) // 10]:.4f}]  {rate:6.3f} TB/s ({100 * rate / copy:3.0f} % of a copy)  x{p50 / base:.2f}", flush=True)


def one(rows, columns, prepare, autotune):
    torch._functorch.config.donated_buffer = False  # the backward pass runs more than once
    ds, flush, stream = torch.ops.deepseek, torch.empty(256 << 20, dtype=torch.uint8, device="cuda"), torch.cuda.Stream()
    sets = 8 if rows * columns <= 1 << 20 else 4
    random = lambda *shape: torch.randn(*shape, device="cuda", dtype=torch.bfloat16)
    pairs = [(random(rows, columns).requires_grad_(), random(rows, columns).requires_grad_()) for _ in range(sets)]
    w, b = random(columns).requires_grad_(), random(columns).requires_grad_()
    dy, dz = random(rows, columns), random(rows, columns)

    def eager(x, r, w, b):
        z = r + F.dropout(x, P, True)
        return F.layer_norm(z, (columns,), w, b), z

    forms = {"ours": lambda x, r, w, b: ds.dropout_add_norm(x, r, w, b, P, 1e-5, False, 1, 2), "eager": eager, "compile": torch.compile(eager, dynamic=False)}
    if autotune:
        forms["autotune"] = torch.compile(eager, dynamic=False, mode="max-autotune-no-cudagraphs")

    def forward(f):
        def make(i):
            def call():
                with torch.no_grad():
                    return f(*pairs[i], w, b)
            return call
        return make

    def both(f):
        return lambda i: lambda: torch.autograd.grad(f(*pairs[i], w, b), [*pairs[i], w, b], [dy, dz])

    def backward(f):
        def make(i):
            out = f(*pairs[i], w, b)
            return lambda: torch.autograd.grad(out, [*pairs[i], w, b], [dy, dz], retain_graph=True)
        return make

    if prepare:
        for f in forms.values():
            forward(f)(0)(), backward(f)(0)()
        torch.cuda.synchronize()
        return
    a, c = (torch.empty(1 << 29, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    copied = statistics.median(measure({"ours": lambda i: lambda: torch.neg(a, out=c)}, 1, stream, flush)["ours"])
    copy = 4 * a.numel() / copied / 1e9
    del a, c
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; a kernel copies {copy:.3f} TB/s", flush=True)
    for name, wrap, each in (("forward", forward, 8), ("forward + backward", both, 18), ("backward", backward, 10)):
        show(f"{rows}x{columns} {name}", measure({n: wrap(f) for n, f in forms.items()}, sets, stream, flush), each * rows * columns, copy)


def main():
    shapes = [a for a in sys.argv[2:] if not a.startswith("--")] or ["1024x1024", "8192x4096"]
    flags = [a for a in sys.argv[2:] if a.startswith("--")]
    if "--one" in flags:
        torch.ops.load_library(sys.argv[1])
        return one(*map(int, shapes[0].split("x")), "--prepare" in flags, "--autotune" in flags)
    status = [subprocess.run([sys.executable, __file__, sys.argv[1], shape, *flags, "--one"]).returncode for shape in shapes]
    return max(status)


if __name__ == "__main__":
    sys.exit(main())
