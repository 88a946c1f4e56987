"""Checks the CUDA kernels against float64 references and times them against PyTorch on the same GPU, by graph replay.

  python3 kernels_gpu.py <libdeepseek.so> [check] [bench] [sanitize] [--out FILE]

Needs a GPU and PyTorch; baselines are eager PyTorch, torch.compile and torch.topk, in the same process.
"""
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys

import torch
import torch.nn.functional as F

torch.ops.load_library(sys.argv[1])
ops = torch.ops.deepseek
results = {}
failures = []


def check(name, error, allowed):
    good = bool(error <= allowed)  # NaN is not
    if not good:
        failures.append(name)
    print(f"{'ok  ' if good else 'FAIL'} {name}: {error:.2e} (allowed {allowed:.0e})", flush=True)


def distance(a, b):
    a, b = a.double(), b.double()
    return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()


class Replay:
    """Graphs of one call over several input sets; replayed in turn, after a write that clears the cache."""

    flush = None

    def __init__(self, calls):
        self.graphs = []
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for call in calls:
                for _ in range(3):
                    call()
        torch.cuda.synchronize()
        # A graph of before that is collected during a capture would free memory there and spoil it.
        gc.collect()
        torch.cuda.empty_cache()
        gc.disable()
        for call in calls:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                kept = call()
            self.graphs.append((graph, kept))
        gc.enable()

    def once(self, turn, repeat):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        if repeat == 1:
            Replay.flush.zero_()
        start.record()
        for i in range(repeat):
            self.graphs[(turn + i) % len(self.graphs)][0].replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / repeat


def compare(name, versions, bytes_moved, rounds=41, repeat=1):
    """versions: {label: list of calls, one per input set}. Rounds alternate between the versions."""
    if Replay.flush is None:
        Replay.flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    replays = {label: Replay(calls) for label, calls in versions.items()}
    times = {label: [] for label in versions}
    for turn in range(rounds + 2):
        for label, replay in replays.items():
            t = replay.once(turn, repeat)
            if turn >= 2:
                times[label].append(t)
    row = {"bytes": bytes_moved}
    ours = statistics.median(times["ours"])
    for label, values in times.items():
        values.sort()
        median = statistics.median(values)
        row[label] = {"ms": median, "p10": values[len(values) // 10], "p90": values[-1 - len(values) // 10]}
        print(f"{name:34s} {label:10s} {median:8.4f} ms [{row[label]['p10']:.4f}, {row[label]['p90']:.4f}]  {bytes_moved / median / 1e9:6.3f} TB/s  x{median / ours:.2f}", flush=True)
    results[name] = row
    return ours


def norm_reference(x, r, w, b, rms, mask, eps=1e-5):
    z = x * mask + (r if r is not None else 0)
    mean = 0 if rms else z.mean(-1, keepdim=True)
    rstd = (((z - mean) ** 2).mean(-1, keepdim=True) + eps).rsqrt()
    y = (z - mean) * rstd
    if w is not None:
        y = y * w
    return (y + b if b is not None else y), z


def check_norm():
    for rows, columns in [(1, 1), (5, 13), (7, 130), (33, 256), (40, 504), (64, 1024), (9, 1032), (6, 2048), (300, 4096), (5, 8192), (4, 16384), (3, 20000), (2, 4099)]:
        for dtype, stream in [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)]:
            for rms in [False, True]:
                torch.manual_seed(rows)
                x = torch.randn(rows, columns, device="cuda").to(dtype).requires_grad_()
                r = torch.randn(rows, columns, device="cuda").to(stream).requires_grad_()
                w = torch.randn(columns, device="cuda", requires_grad=True)
                b = None if rms else torch.randn(columns, device="cuda", requires_grad=True)
                dy, dz = torch.randn(rows, columns, device="cuda").to(dtype), torch.randn(rows, columns, device="cuda").to(stream)
                mask = ops.dropout_add_norm(torch.ones_like(x, dtype=torch.float32), None, None, None, 0.2, 1e-5, True, 5, 6)[1].double()
                cpu_mask = ops.dropout_add_norm(torch.ones(rows, columns), None, None, None, 0.2, 1e-5, True, 5, 6)[1]
                name = f"norm {rows}x{columns} {dtype} {stream} rms={rms}"
                if not torch.equal(mask.cpu().float(), cpu_mask):
                    failures.append(name + " mask")
                y, z = ops.dropout_add_norm(x, r, w, b, 0.2, 1e-5, rms, 5, 6)
                torch.autograd.backward([y, z], [dy, dz])
                leaves = [t.detach().double().requires_grad_() if t is not None else None for t in (x, r, w, b)]
                y64, z64 = norm_reference(*leaves, rms, mask)
                torch.autograd.backward([y64, z64], [dy.double(), dz.double()])
                error = max(distance(y, y64), distance(z, z64), *(distance(a.grad, c.grad) for a, c in zip((x, r, w, b), leaves) if a is not None))
                # A row of one column normalises to zero: its relative error means nothing.
                if columns > 1:
                    check(name, error, {torch.float32: 2e-6, torch.bfloat16: 6e-3, torch.float16: 1e-3}[dtype])
    x = torch.randn(64, 1000, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    w = torch.randn(1000, device="cuda", requires_grad=True)
    runs = []
    for _ in range(20):
        x.grad = w.grad = None
        ops.dropout_add_norm(x, x, w, None, 0.1, 1e-5, True, 1, 2)[0].sum().backward()
        runs.append((x.grad.clone(), w.grad.clone()))
    check("norm twenty runs", 0.0 if all(torch.equal(a, runs[0][0]) and torch.equal(c, runs[0][1]) for a, c in runs) else 1.0, 0)
    rng = torch.tensor([1, 2], device="cuda")
    same = torch.equal(ops.dropout_add_norm(x, None, None, None, 0.5, 1e-5, True, 0, 0, rng)[1], ops.dropout_add_norm(x, None, None, None, 0.5, 1e-5, True, 1, 2)[1])
    check("norm rng on the device", 0.0 if same else 1.0, 0)
    check("norm dropped share", abs((ops.dropout_add_norm(torch.ones(999, 1001, device="cuda"), None, None, None, 0.3, 1e-5, True, 1, 2)[1] == 0).float().mean().item() - 0.3), 0.01)


def check_topk():
    def one(name, x, k, largest=True):
        v, i = ops.topk(x, k, largest)
        cv, ci = ops.topk(x.cpu(), k, largest)
        good = torch.equal(i.cpu(), ci) and torch.equal(v.cpu().nan_to_num(7e4), cv.nan_to_num(7e4))
        check(name + f" k={k}", 0.0 if good else 1.0, 0)

    for rows, columns, k in [(1, 1, 1), (3, 100, 100), (2, 4096, 2048), (3, 4097, 2048), (5, 5000, 17), (64, 131072, 2048), (300, 32768, 512), (1, 1 << 20, 2048), (30, 70003, 2047), (100, 20000, 2048), (3, 100001, 1024)]:
        for dtype in [torch.float32, torch.bfloat16, torch.float16]:
            one(f"topk {rows}x{columns} {dtype}", torch.randn(rows, columns, device="cuda").to(dtype), k)
    n = 50_000
    third, wide = torch.arange(n) % 3 > 0, torch.exp(torch.randn(n) * 20)
    for name, row in {"constant": torch.full((n,), 3.0), "few values": torch.arange(n).remainder(5).float(), "rising": torch.arange(n).float(), "falling": -torch.arange(n).float(),
                      "mostly zero": torch.where(torch.arange(n) % 50 == 0, torch.randn(n), 0.0), "specials": torch.randn(n).where(third, torch.tensor(float("nan"))),
                      "infinities": torch.randn(n).where(third, torch.tensor(float("-inf"))), "zeros of both signs": torch.where(third, -torch.zeros(n), torch.zeros(n)),
                      "wide": wide, "an outlier": torch.cat([torch.randn(n - 1), torch.tensor([1e30])]), "many ties": (torch.randn(n) * 64).round() / 64,
                      "uneven halves": torch.randn(n) + 3 * (torch.arange(n) < n // 2)}.items():
        for rows, dtype, largest in itertools.product((2, 50, 140), (torch.float32, torch.bfloat16), (True, False)):
            one(f"topk {name} {rows} rows {dtype} largest={largest}", row.to(dtype).cuda().repeat(rows, 1), 2000, largest)
    x = torch.randn(64, 131072, device="cuda")
    first = ops.topk(x, 2048)
    same = all(torch.equal(a, b) for _ in range(20) for a, b in zip(first, ops.topk(x, 2048)))
    check("topk 20 runs equal bit for bit", 0.0 if same else 1.0, 0)


def check_fused():
    """Activations, rotary embedding and chunked cross entropy: values and gradients against float64."""

    def one(name, ours, reference, inputs, dtype, allowed):
        leaves = [t.to(dtype, copy=True).requires_grad_() for t in inputs]  # own ones: gradients add up otherwise
        exact = [t.detach().double().requires_grad_() for t in leaves]
        y, y64 = ours(*leaves), reference(*exact)
        dy = torch.randn_like(y)
        y.backward(dy)
        y64.backward(dy.double())
        check(f"{name} {dtype}", max(distance(y, y64), *(distance(a.grad, b.grad) for a, b in zip(leaves, exact))), allowed)

    def rotate(x, cosine, sine, interleaved):
        a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)
        pair = (a * cosine - b * sine, a * sine + b * cosine)
        return torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)

    for dtype, allowed in [(torch.float32, 5e-6), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)]:
        for columns in (13, 768):
            x, gate, bias = torch.randn(37, columns, device="cuda"), torch.randn(37, columns, device="cuda"), torch.randn(columns, device="cuda")
            one(f"gelu {columns}", lambda x, b: ops.bias_gelu(x, b), lambda x, b: F.gelu(x + b), [x, bias], dtype, allowed)
            one(f"gelu tanh {columns}", lambda x, b: ops.bias_gelu(x, b, True), lambda x, b: F.gelu(x + b, approximate="tanh"), [x, bias], dtype, allowed)
            one(f"swiglu {columns}", ops.swiglu, lambda x, g: F.silu(x) * g, [x, gate], dtype, allowed)
        for width, interleaved in [(6, False), (64, False), (64, True), (128, False)]:
            angle = torch.randn(9, width // 2, device="cuda")
            cosine, sine = angle.cos(), angle.sin()
            one(f"rotary {width} {interleaved}", lambda x: ops.rotary(x, cosine, sine, interleaved), lambda x: rotate(x, cosine.double(), sine.double(), interleaved), [torch.randn(2, 3, 9, width, device="cuda")], dtype, allowed)
        for classes in (37, 1000):
            target = torch.randint(0, classes, (50,), device="cuda")
            target[::7] = -100
            one(f"cross entropy {classes}", lambda h, w: ops.linear_cross_entropy(h, w, target, -100, 16), lambda h, w: F.cross_entropy(h @ w.t(), target), [torch.randn(50, 64, device="cuda"), torch.randn(classes, 64, device="cuda") * 0.3], dtype, allowed)


def bench_fused():
    hidden = torch.randn(16384, 768, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(50304, 768, device="cuda", dtype=torch.bfloat16) * 0.02
    target = torch.randint(0, 50304, (16384,), device="cuda")
    for label, f in [("ours", lambda h, w: ops.linear_cross_entropy(h, w, target)), ("eager", lambda h, w: F.cross_entropy((h @ w.t()).float(), target))]:
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        times = []
        torch.cuda.empty_cache()
        for turn in range(7):
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            torch.autograd.grad(f(h, w), [h, w])
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        results[f"cross entropy 16384x768x50304 {label}"] = {"ms": statistics.median(times[2:]), "extra_bytes": torch.cuda.max_memory_allocated() - before}
        print(f"cross entropy fwd+bwd 16384x768x50304 {label:6s} {statistics.median(times[2:]):.3f} ms, {(torch.cuda.max_memory_allocated() - before) / 2**20:.0f} MiB above its inputs", flush=True)


def bench_copy():
    a, b = torch.empty(1 << 30, dtype=torch.uint8, device="cuda"), torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    compare("copy 1 GiB (memcpy)", {"ours": [lambda: b.copy_(a)]}, 2 << 30, rounds=11)
    c, d = a.view(torch.bfloat16), b.view(torch.bfloat16)
    compare("copy 1 GiB (kernel)", {"ours": [lambda: torch.neg(c, out=d)]}, 2 << 30, rounds=11)


def bench_norm():
    """A process a shape: torch.compile's graphs of one shape must not be near the capture of another."""
    subprocess.run([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "fused_norm_gpu.py"), sys.argv[1]], check=True)


def bench_topk():
    for rows, columns, k, sets in [(64, 131072, 2048, 4), (2048, 131072, 2048, 2), (1, 131072, 2048, 8), (64, 32768, 512, 8)]:
        xs = [torch.randn(rows, columns, device="cuda") for _ in range(sets)]
        versions = {"ours": [lambda x=x: ops.topk(x, k) for x in xs], "torch": [lambda x=x: torch.topk(x, k, sorted=False) for x in xs], "sorted": [lambda x=x: torch.topk(x, k) for x in xs]}
        compare(f"topk {rows}x{columns} k={k}", versions, 4 * rows * columns, rounds=21)


def sanitize():
    """Small shapes of every kernel, for compute-sanitizer."""
    for columns in (13, 200, 512, 1024, 2048, 4096, 8192, 10000):
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(5, columns, device="cuda", dtype=dtype, requires_grad=True)
            w = torch.ones(columns, device="cuda", requires_grad=True)
            y, z = ops.dropout_add_norm(x, x.detach(), w, w, 0.2, 1e-5, False, 5, 6)
            (y.float().sum() + z.float().sum()).backward()
    for columns in (100, 9000, 20000):
        ops.topk(torch.randn(2, columns, device="cuda"), 50)
    ops.topk(torch.zeros(1, 9000, device="cuda"), 50)
    ops.topk(torch.exp(20 * torch.randn(3, 20000, device="cuda")), 2000)  # most of them in few buckets
    ops.topk(torch.randn(200, 9000, device="cuda", dtype=torch.bfloat16), 600)
    ops.swiglu(torch.randn(3, 13, device="cuda"), torch.randn(3, 13, device="cuda"))
    ops.bias_gelu(torch.randn(3, 64, device="cuda", requires_grad=True), torch.randn(64, device="cuda")).sum().backward()
    ops.rotary(torch.randn(2, 5, 32, device="cuda", requires_grad=True), torch.randn(5, 16, device="cuda"), torch.randn(5, 16, device="cuda")).sum().backward()
    for classes in (37, 1000):
        ops.linear_cross_entropy(torch.randn(9, 16, device="cuda", requires_grad=True), torch.randn(classes, 16, device="cuda"), torch.randint(0, 37, (9,), device="cuda"), -100, 4).backward()
    torch.cuda.synchronize()
    print("sanitize: done")


if __name__ == "__main__":
    wanted = [a for a in sys.argv[2:] if not a.startswith("--")]
    torch.cuda.init()
    print(torch.cuda.get_device_name(), torch.__version__)
    if "sanitize" in wanted:
        sanitize()
        sys.exit()
    if "check" in wanted:
        check_norm()
        check_topk()
        check_fused()
        print(f"{len(failures)} failures: {failures[:10]}", flush=True)
    if "bench" in wanted:
        for part in (bench_copy, bench_topk, bench_norm, bench_fused):
            try:
                part()
            except Exception as fault:  # one baseline that fails must not hide the rest
                print(f"{part.__name__} failed: {fault!r}"[:2000], flush=True)
    if "--out" in sys.argv:
        with open(sys.argv[sys.argv.index("--out") + 1], "w") as out:
            json.dump(results, out, indent=1)
    sys.exit(1 if failures else 0)
