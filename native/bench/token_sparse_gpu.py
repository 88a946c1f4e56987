#!/usr/bin/env python3
"""Times token-level sparse attention on a GPU: `token_sparse_gpu.py LIBRARY [indexer] [gather] [gqa] [whole] [train] [loss] [topk] [decode] [--seconds N]`.

indexer  FP8 logits, 2048 queries at the end of 65 536 keys, 64 heads of 128; beside it an FP8 matrix product of as many operations.
gather   4096 queries at the end of 65 536 keys, 2048 keys each, 128 heads of 128 over one key head (multi-query), bfloat16, against
         dense attention over 63 488 keys without a mask: as many pairs as under a causal mask.
gqa      the same with 32 heads over 8 key heads.
whole    indexer (64 heads of 128, FP8 rows given), selection and attention, for the geometry of `gather`.
train    attention forward and backward, lists given, for the geometry of `gather`, against dense attention's; not replayed.
loss     the indexer's training loss over the lists of `gather`, 64 heads of 128 in bfloat16, forward and backward; not replayed.
topk     exact top-k against torch.topk.
decode   one query of each of 16 sequences of 65 536 keys.
Graph replay, four input sets in turn, L2 flushed before every run, candidates interleaved; prints p50 [p10, p90].
"""
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
START = time.time()
LIMIT = float(sys.argv[sys.argv.index("--seconds") + 1]) if "--seconds" in sys.argv else 1e9
FLUSH = torch.empty(256 << 20, dtype=torch.int8, device="cuda")
SETS, KEYS, DIM = 4, 65536, 128
generator = torch.Generator(device="cuda").manual_seed(1)


def normal(*shape, dtype=torch.float32):
    return torch.randn(*shape, device="cuda", generator=generator).to(dtype)


def record(call):
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        kept = call()
    return graph, kept


class Eager:
    def __init__(self, call):
        self.replay = call
        call()
        torch.cuda.synchronize()


def compare(title, candidates, runs, work, baseline=None, replayed=True):
    """candidates: {name: (one call per input set, TFLOP or GB of a call)}; unit of `work`: what the second number counts."""
    graphs, times = {}, {}
    for name, (calls, _) in candidates.items():
        try:
            graphs[name] = [record(call) if replayed else (Eager(call), None) for call in calls]
        except RuntimeError as error:
            print(f"{title:28s} {name:10s} not run: {str(error).splitlines()[0][:120]}")
    times = {name: [] for name in graphs}
    for run in range(runs + 1):
        for name, of in graphs.items():
            FLUSH.zero_()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            of[run % len(of)][0].replay()
            end.record()
            end.synchronize()
            if run > 0:
                times[name].append(start.elapsed_time(end))
    best = min((statistics.median(times[n]) for n in (baseline or ()) if n in times), default=None)
    for name, t in times.items():
        p10, *_, p90 = (q := statistics.quantiles(t, n=10))
        text = f"{title:28s} {name:10s} {q[4]:9.4f} [{p10:.4f}, {p90:.4f}] ms {candidates[name][1] / q[4] * 1e3:8.1f} {work}"
        print(text + (f"  {best / q[4]:5.2f}x" if best and name not in baseline else ""), flush=True)


def codes(*shape):
    return ds.quantize_rows(normal(*shape))


def index_set(queries, heads=64):
    (q, q_scale), (k, k_scale) = codes(1, queries, heads, DIM), codes(1, KEYS, DIM)
    return q, k, normal(1, queries, heads), q_scale, k_scale


def indexer():
    queries = 2048
    sets = [index_set(queries) for _ in range(SETS)]
    pairs = queries * (KEYS - queries) + queries * (queries + 1) // 2
    a, b, one = normal(8192, 16384).to(torch.float8_e4m3fn), normal(8192, 16384).to(torch.float8_e4m3fn).t(), torch.ones((), device="cuda")
    compare(
        "indexer 2048x65536 64x128",
        {
            "ours": ([lambda s=s: ds.indexer_logits(s[0], s[1], s[2], True, s[3], s[4]) for s in sets], 2 * 64 * DIM * pairs / 1e12),
            "scaled_mm": ([lambda: torch._scaled_mm(a, b, one, one, out_dtype=torch.bfloat16, use_fast_accum=True)], 2 * 8192 * 8192 * 16384 / 1e12),
        },
        20,
        "TFLOP/s",
    )


def scattered(queries, most):
    """Ascending lists spread over all keys before the queries."""
    step = (KEYS - queries) // most
    return (torch.arange(most, device="cuda") * step + torch.randint(0, step, (1, queries, most), device="cuda", generator=generator)).to(torch.int32)


def dense(backend, keys):
    def attend(q, k, v):
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k[:, :, :keys], v[:, :, :keys], enable_gqa=True)

    return attend


def attention_sets(heads, kv_heads, queries):
    half = torch.bfloat16
    return [(normal(1, heads, queries, DIM, dtype=half), normal(1, kv_heads, KEYS, DIM, dtype=half), normal(1, kv_heads, KEYS, DIM, dtype=half)) for _ in range(SETS)]


def attention(heads, kv_heads, whole=False, queries=4096, most=2048):
    sets = attention_sets(heads, kv_heads, queries)
    lists = [scattered(queries, most) for _ in range(SETS)]
    count = torch.full((1, queries), most, device="cuda", dtype=torch.int32)
    pair, keys = 4 * DIM * heads * queries / 1e12, KEYS - queries // 2
    candidates = {"gather": ([lambda s=s, i=i: ds.gather_attention(*s, i, count) for s, i in zip(sets, lists)], pair * most)}
    if whole:
        index = [index_set(queries) for _ in range(2)]

        def chosen(s, x):
            found, counts = ds.indexer_select(x[0], x[1], x[2], most, True, x[3], x[4])
            return ds.gather_attention(*s, found, counts)

        candidates["select"] = ([lambda x=x: ds.indexer_select(x[0], x[1], x[2], most, True, x[3], x[4]) for x in index], 2 * 64 * DIM * queries * keys / 1e12)
        candidates["whole"] = ([lambda s=s, x=x: chosen(s, x) for s, x in zip(sets, index)], pair * most)
    for name, backend in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
        candidates[name] = ([lambda s=s, f=dense(backend, keys): f(*s) for s in sets[:2]], pair * keys)
    compare(f"attention {heads}/{kv_heads} {queries} of 64k", candidates, 10, "TFLOP/s", ("cudnn", "flash"))


def train(heads=128, kv_heads=1, queries=4096, most=2048):
    sets = [tuple(x.requires_grad_() for x in of) for of in attention_sets(heads, kv_heads, queries)[:2]]
    lists, grad = [scattered(queries, most) for _ in sets], normal(1, heads, queries, DIM, dtype=torch.bfloat16)
    count = torch.full((1, queries), most, device="cuda", dtype=torch.int32)
    pair, keys = 14 * DIM * heads * queries / 1e12, KEYS - queries // 2  # 2 products forward, 5 backward

    def both(attend, s):
        return torch.autograd.grad(attend(*s), s, grad)

    candidates = {"gather": ([lambda s=s, i=i: both(lambda *x: ds.gather_attention(*x, i, count)[0], s) for s, i in zip(sets, lists)], pair * most)}
    for name, backend in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
        candidates[name] = ([lambda s=s, f=dense(backend, keys): both(f, s) for s in sets], pair * keys)
    compare(f"train {heads}/{kv_heads} {queries} of 64k", candidates, 5, "TFLOP/s", ("cudnn", "flash"), replayed=False)


def loss(heads=128, queries=4096, most=2048):
    half = torch.bfloat16
    q, k = normal(1, heads, queries, DIM, dtype=half), normal(1, 1, KEYS, DIM, dtype=half)
    leaves = [x.requires_grad_() for x in (normal(1, queries, 64, DIM, dtype=half), normal(1, KEYS, DIM, dtype=half), normal(1, queries, 64, dtype=half))]
    index, count = scattered(queries, most), torch.full((1, queries), most, device="cuda", dtype=torch.int32)
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    call = lambda: torch.autograd.grad(ds.indexer_loss(q, k, *leaves, index, count), leaves)
    compare(f"indexer loss, {queries} of 64k", {"ours": ([call], (2 * heads + 6 * 64) * DIM * queries * most / 1e12)}, 4, "TFLOP/s", replayed=False)
    print(f"  workspace {(torch.cuda.max_memory_allocated() - start) / 2**30:.1f} GiB")


def decode(sequences=16, heads=128, most=2048):
    half = torch.bfloat16
    sets = [(normal(sequences, heads, 1, DIM, dtype=half), normal(sequences, 1, KEYS, DIM, dtype=half), normal(sequences, 1, KEYS, DIM, dtype=half)) for _ in range(SETS)]
    index = scattered(sequences, most).view(sequences, 1, most)
    count = torch.full((sequences, 1), most, device="cuda", dtype=torch.int32)
    pair = 4 * DIM * heads * sequences / 1e12
    candidates = {"gather": ([lambda s=s: ds.gather_attention(*s, index, count) for s in sets], pair * most)}
    for name, backend in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
        candidates[name] = ([lambda s=s, f=dense(backend, KEYS): f(*s) for s in sets], pair * KEYS)
    compare(f"decode {sequences} x 1 of 64k, {heads}/1", candidates, 20, "TFLOP/s", ("cudnn", "flash"))


def topk():
    for rows, columns, runs in ((64, 131072, 30), (2048, 131072, 10)):
        sets = [normal(rows, columns) for _ in range(SETS)]
        moved = rows * columns * 4 / 1e9
        copy = torch.empty_like(sets[0])
        candidates = {
            "ours": ([lambda s=s: ds.topk(s, 2048) for s in sets], moved),
            "torch": ([lambda s=s: torch.topk(s, 2048, sorted=False) for s in sets], moved),
            "copy": ([lambda s=s: copy.copy_(s) for s in sets], 2 * moved),
        }
        compare(f"topk {rows}x{columns}", candidates, runs, "GB/s", ("torch",))


def main():
    props = torch.cuda.get_device_properties(0)
    print(f"{props.name}, {props.multi_processor_count} processors; PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    parts = {"indexer": indexer, "gather": lambda: attention(128, 1), "gqa": lambda: attention(32, 8), "whole": lambda: attention(128, 1, True), "train": train, "loss": loss, "topk": topk, "decode": decode}
    wanted = [a for a in sys.argv[2:] if a in parts] or [p for p in parts if p != "gather"]
    for part in wanted:
        if time.time() - START > LIMIT:
            print(f"no time left for {part}")
            continue
        parts[part]()
        torch.cuda.empty_cache()


main()
