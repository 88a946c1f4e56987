#!/usr/bin/env python3
"""Block-sparse attention on a GPU against its definition in float64: `sparse_attention_gpu.py LIBRARY`.

Needs PyTorch with CUDA and a build of the engine's library (or of its kernels alone) for it. Prints one line a case and
a closing count; exits 1 when a case fails, and when there is no GPU.
"""
import itertools
import sys

import torch

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
# Relative errors (Frobenius). bfloat16 keeps 8 bits: probabilities, their gradients and results are each rounded by up to
# 2^-9; float16 has three bits more. float32 is summed in another order than the reference.
FORWARD = {torch.bfloat16: 6e-3, torch.float16: 8e-4, torch.float32: 2e-6}
BACKWARD = {torch.bfloat16: 1.2e-2, torch.float16: 1.6e-3, torch.float32: 5e-6}
passed = failed = 0


def report(name, good, text):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    print(f"{'ok  ' if good else 'FAIL'} {name}: {text}", flush=True)


def poison():
    """Leaves NaN in the memory that the next results are made in."""
    blocks = [torch.full((n,), float("nan"), device="cuda") for n in (1 << 12, 1 << 16, 1 << 20, 1 << 22, 1 << 22, 1 << 23)]
    del blocks


def random_lists(batch, heads, queries, keys, block_q, block_k, density, generator, empty_rows=False, sink=False):
    rows, columns = -(-queries // block_q), -(-keys // block_k)
    kept = torch.rand(batch, heads, rows, columns, device="cuda", generator=generator) < density
    if sink:
        kept[..., 0] = True
    if empty_rows:
        kept[:, :, ::3] = False
    count = kept.sum(-1, dtype=torch.int32)
    order = torch.argsort((~kept).to(torch.int8), dim=-1, stable=True).to(torch.int32)
    place = torch.arange(columns, device="cuda")
    # Entries after the count are never read: poison them with a block far outside.
    return torch.where(place < count.unsqueeze(-1), order, torch.full_like(order, 1 << 28)).contiguous(), count


def relative(x, reference):
    norm = reference.norm().item()
    return ((x.double() - reference).norm().item()) / norm if norm > 0 else x.double().norm().item()


def check(name, batch, heads, kv_heads, index_heads, queries, keys, dim, block_q, block_k, causal, dtype, density, lengths=None, strided=False, empty_rows=False, sink=False, seed=0):
    g = torch.Generator(device="cuda").manual_seed(seed + queries * 7 + keys)

    def make(h, rows):
        if strided:  # heads beside each other in a row, as a projection leaves them
            return torch.randn(batch, rows, h, dim, device="cuda", generator=g).to(dtype).transpose(1, 2)
        return torch.randn(batch, h, rows, dim, device="cuda", generator=g).to(dtype)

    q, grad, k, v = make(heads, queries), make(heads, queries), make(kv_heads, keys), make(kv_heads, keys)
    index, count = random_lists(batch, index_heads, queries, keys, block_q, block_k, density, g, empty_rows, sink)
    q_lengths = k_lengths = None
    if lengths is not None:
        q_lengths, k_lengths = (torch.tensor(x, device="cuda", dtype=torch.int32) for x in lengths)
        for b in range(batch):
            for x, n in ((q, lengths[0][b]), (grad, lengths[0][b]), (k, lengths[1][b]), (v, lengths[1][b])):
                x[b, :, n:] = float("nan")
    rest = (index, count, block_q, block_k, causal, None, q_lengths, k_lengths)
    wide = [x.double() for x in (q, k, v)]
    out_ref, lse_ref = ds.block_sparse_attention(*wide, *rest)
    grads_ref = ds.block_sparse_attention_backward(grad.double(), *wide, out_ref, lse_ref, *rest)
    poison()
    leaves = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in (q, k, v)]
    out, lse = ds.block_sparse_attention(*leaves, *rest)
    poison()
    grads = torch.autograd.grad(out, leaves, grad)
    seen = lse_ref > -float("inf")
    errors = {"out": relative(out, out_ref)}
    lse_error = (lse.double() - lse_ref)[seen].abs().max().item() if seen.any() else 0.0
    for n, x, r in zip("qkv", grads, grads_ref):
        errors["d" + n] = relative(x, r)
    good = errors["out"] <= FORWARD[dtype] and lse_error <= 1e-3 and bool((lse[~seen] == -float("inf")).all()) and bool((out[~seen] == 0).all())
    good = good and all(errors["d" + n] <= BACKWARD[dtype] for n in "qkv")
    report(name, good, " ".join(f"{n} {e:.2e}" for n, e in errors.items()) + f" lse {lse_error:.1e}")
    return out, lse, grads


def selection(small):
    g = torch.Generator(device="cuda").manual_seed(9)
    bf, half = torch.bfloat16, torch.float16
    antidiagonal, means, samples, most = 0, 1, 2, float("inf")
    cases = [(1, 2, 1, 256, 256, 128, 128, 128, 16, True, antidiagonal, 1, bf), (3, 2, 1, 300, 420, 64, 128, 128, 16, True, antidiagonal, most, bf, ((300, 130, 0), (420, 75, 60))),
             (2, 4, 2, 300, 420, 128, 128, 128, 16, True, samples, 2, bf, ((300, 130), (420, 75))), (1, 2, 1, 320, 320, 64, 64, 64, 8, True, samples, 1, half)]
    if not small:
        cases += [(4, 4, 2, 2048, 2500, 128, 128, 128, 16, True, antidiagonal, 2, bf, ((2048, 1000, 17, 1900), (2500, 1500, 2500, 300))),
                  (3, 4, 2, 1500, 1500, 64, 128, 64, 8, False, antidiagonal, 1, half, ((1500, 700, 1), (900, 1500, 5))),
                  (2, 4, 4, 2048, 2048, 128, 128, 128, 16, True, means, 1, bf, ((2000, 900), (1999, 1800))), (2, 4, 2, 1000, 1400, 64, 128, 128, 16, True, antidiagonal, 1, half),
                  (1, 4, 2, 2048, 2048, 128, 128, 64, 16, False, antidiagonal, 1, bf), (1, 4, 4, 3000, 3000, 128, 64, 64, 8, True, antidiagonal, 1, bf),
                  (2, 4, 2, 2048, 4096, 128, 128, 128, 16, True, means, 1, bf), (1, 2, 2, 700, 300, 64, 128, 128, 8, True, antidiagonal, 1, bf), (1, 8, 2, 8192, 8192, 128, 128, 128, 16, True, antidiagonal, 1, bf),
                  (4, 4, 2, 2048, 2500, 128, 128, 128, 8, True, samples, most, bf, ((2048, 1000, 17, 1900), (2500, 1500, 2500, 300))), (1, 4, 4, 3000, 3000, 64, 64, 64, 4, False, samples, 1, bf),
                  (1, 2, 1, 2048, 2048, 128, 128, 128, 1, True, samples, 2, half), (1, 8, 2, 8192, 8192, 128, 128, 128, 8, True, samples, 1, bf), (1, 2, 2, 700, 300, 64, 128, 64, 8, True, samples, 1, bf),
                  # Short last groups: one query, a text of no whole stride, one group more than a tile, lengths that end within a stride, an empty sequence.
                  (1, 8, 2, 1, 4091, 64, 64, 64, 8, True, samples, 2, bf), (2, 8, 4, 4091, 4091, 64, 64, 64, 8, True, samples, 2, bf), (1, 2, 2, 1025, 1030, 128, 128, 128, 8, True, samples, 1, half),
                  (4, 4, 2, 1100, 1500, 64, 64, 64, 8, True, samples, 2, bf, ((1100, 0, 9, 1033), (1500, 700, 1500, 1033))),
                  # So many thread blocks that each walks all keys and averages by itself.
                  (13, 16, 8, 4096, 4096, 64, 64, 64, 8, True, samples, 2, bf), (13, 16, 8, 4000, 4090, 64, 128, 128, 8, False, samples, most, half), (1, 4, 1, 131, 131, 128, 64, 128, 16, False, samples, most, bf)]
    for batch, heads, kv_heads, queries, keys, dim, block_q, block_k, stride, causal, estimate, power, dtype, *lengths in cases:
        pooled = estimate == means
        q = torch.randn(batch, heads, queries, dim, device="cuda", generator=g).to(dtype) * (1 if pooled else 2)
        k = torch.randn(batch, kv_heads, keys, dim, device="cuda", generator=g).to(dtype)
        if pooled:  # what is multiplied is rounded to the element type
            q, k = q * 4, k * 4
        lengths = [torch.tensor(n, device="cuda", dtype=torch.int32) for n in lengths[0]] if lengths else [None, None]
        for x, ends in zip((q, k), lengths):
            for b in range(batch if ends is not None else 0):
                x[b, :, int(ends[b]):] = float("nan")
        poison()
        ours = ds.block_scores(q, k, block_q, block_k, causal, None, stride, estimate, power, *lengths)
        reference = ds.block_scores(q.double(), k.double(), block_q, block_k, causal, None, stride, estimate, power, *lengths)
        # Products are exact and summed in float32; exponentials are good to 2^-22. Pooled means are rounded to 8 bits first.
        error, bound = relative(ours, reference), 2e-2 if pooled else 2e-5
        report(f"scores {queries}x{keys} D{dim} {block_q}x{block_k}/{stride} causal {causal} estimate {estimate} power {power}{', varlen' if lengths[0] is not None else ''}", error < bound and ours.shape == reference.shape, f"{error:.2e}")
        if estimate != means:
            newest = ds.block_scores(q, k, block_q, block_k, causal, None, stride, estimate, power, *lengths, 2.0)
            reference = ds.block_scores(q.double(), k.double(), block_q, block_k, causal, None, stride, estimate, power, *lengths, 2.0)
            report("  newest block by each of its queries", relative(newest, reference) < bound, f"{relative(newest, reference):.2e}")
            if causal:
                chosen = ds.block_scores(q, k, block_q, block_k, True, None, stride, estimate, power, *lengths, 0.0, True)
                reference = ds.block_scores(q.double(), k.double(), block_q, block_k, True, None, stride, estimate, power, *lengths, 0.0, True)
                report("  causal choice", relative(chosen, reference) < bound, f"{relative(chosen, reference):.2e}")
        for density, mass, sink, window, least, shared in ((0.1, 1.0, 1, 1, 1, False), (1.0, 0.9, 0, 0, 2, False), (0.3, 0.5, 2, 3, 4, False), (1.0, 1.0, 0, 0, 1, False), (0.3, 1.0, 1, 1, 2, True)):
            rest = (queries, keys, block_q, block_k, causal, density, mass, sink, window, least, shared)
            index, count = ds.select_blocks(ours, *rest, *lengths)
            wanted_index, wanted_count = ds.select_blocks(ours.cpu(), *rest, *(n if n is None else n.cpu() for n in lengths))
            good = torch.equal(index.cpu(), wanted_index) and torch.equal(count.cpu(), wanted_count)
            report(f"  selection density {density}{", shared" if shared else ""} mass {mass} sink {sink} window {window}", good, f"{count.float().mean().item():.2f} blocks")
    tied = torch.zeros(1, 1, 8, 300, device="cuda")
    index, _ = ds.select_blocks(tied, 1024, 300 * 128, 128, 128, False, 0.05, 1.0, 0, 0, 1)
    wanted, _ = ds.select_blocks(tied.cpu(), 1024, 300 * 128, 128, 128, False, 0.05, 1.0, 0, 0, 1)
    report("  ties by lowest block", torch.equal(index.cpu(), wanted), "")
    # Scores that outgrow the first keys' by more than float32 holds of their exponentials, late in the walk.
    q, k = torch.randn(1, 4, 2048, 128, device="cuda", generator=g) * 2, torch.randn(1, 2, 2048, 128, device="cuda", generator=g)
    q, k = q.to(bf), (k * torch.linspace(0.1, 16.0, 2048, device="cuda").view(-1, 1)).to(bf)
    rest = (64, 64, True, None, 8, samples, 2.0)
    scores = ds.block_scores(q, k, *rest)
    error = relative(scores, ds.block_scores(q.double(), k.double(), *rest))
    report("scores that grow", error < 2e-5, f"{error:.2e}")
    same = True
    for _ in range(20):
        poison()
        again = ds.block_scores(q, k, *rest)
        lists, other = (ds.select_blocks(x, 2048, 2048, 64, 64, True, 1.0, 0.9) for x in (scores, again))
        same = same and torch.equal(bits(scores), bits(again)) and all(torch.equal(a, b) for a, b in zip(lists, other))
    report("20 runs of scores and selection", same, "every bit equal")
    # More blocks than a warp holds, and more of all heads than a thread block holds; half of the scores are tied.
    scores = torch.rand(2, 20, 3, 2000, device="cuda", generator=g) ** 8
    scores[..., ::2] = (scores[..., ::2] * 64).floor() / 64
    ends = [torch.tensor(n, device="cuda", dtype=torch.int32) for n in ((192, 130), (2000 * 64, 77777))]
    for density, mass, least, shared in ((0.1, 1.0, 1, False), (1.0, 0.6, 1, False), (0.2, 0.5, 500, False), (0.1, 1.0, 1, True)):
        rest = (192, 2000 * 64, 64, 64, True, density, mass, 1, 1, least, shared)
        index, count = ds.select_blocks(scores, *rest, *ends)
        wanted_index, wanted_count = ds.select_blocks(scores.cpu(), *rest, *(n.cpu() for n in ends))
        report(f"2000 blocks, density {density}{', shared' if shared else ''} mass {mass}", torch.equal(index.cpu(), wanted_index) and torch.equal(count.cpu(), wanted_count), f"{count.float().mean().item():.1f} blocks")


def bits(x):
    return x.view(torch.int16 if x.element_size() == 2 else torch.int32)


def main():
    if not torch.cuda.is_available():
        print("FAIL no GPU")
        return 1
    bf, half, single = torch.bfloat16, torch.float16, torch.float32
    small = "--small" in sys.argv  # under compute-sanitizer
    # The first case is one tile of scores and values: it localises an error of layout.
    check("one tile, everything seen", 1, 1, 1, 1, 128, 128, 128, 128, 128, False, bf, 1.0)
    check("one tile, causal", 1, 1, 1, 1, 128, 128, 128, 128, 128, True, bf, 1.0)
    check("two key blocks", 1, 1, 1, 1, 128, 256, 128, 128, 128, False, bf, 1.0)
    check("blocks of 64", 1, 2, 2, 2, 192, 256, 128, 64, 64, False, bf, 0.6)
    check("rows of 64 under blocks of 128", 2, 2, 1, 2, 256, 384, 64, 128, 64, True, half, 0.6)
    check("GQA, odd sizes", 2, 4, 2, 2, 333, 397, 128, 128, 128, True, bf, 0.5)
    check("varlen, NaN behind the ends", 3, 4, 2, 4, 300, 420, 128, 128, 128, True, bf, 0.7, lengths=((300, 7, 0), (420, 130, 33)))
    check("portable, float32, odd blocks", 2, 4, 2, 4, 101, 167, 40, 24, 17, True, single, 0.5, lengths=((101, 50), (167, 33)))
    if small:
        check("cut lists", 1, 6, 1, 6, 1500, 256, 64, 128, 128, True, bf, 0.5, sink=True)
        selection(small)
        return finish()
    for dtype, dim, (bq, bk), causal in itertools.product((bf, half), (64, 128), ((128, 128), (128, 64), (64, 64), (256, 256), (64, 128)), (False, True)):
        check(f"{dtype} D{dim} {bq}x{bk} causal {causal}", 2, 4, 2, 4, 700, 900, dim, bq, bk, causal, dtype, 0.4, strided=causal)
    check("varlen, blocks of 64", 3, 4, 2, 4, 300, 420, 64, 64, 64, False, bf, 0.7, lengths=((300, 7, 0), (420, 130, 33)))
    check("varlen, fp16, more queries than keys", 2, 4, 4, 2, 512, 256, 128, 128, 128, True, half, 0.8, lengths=((500, 257), (256, 129)))
    check("single row", 1, 4, 2, 4, 1, 1000, 128, 128, 128, True, bf, 1.0)
    check("single key", 1, 4, 2, 4, 130, 1, 128, 128, 128, False, bf, 1.0)
    check("lists that are empty", 1, 4, 2, 4, 512, 512, 128, 128, 128, True, bf, 0.5, empty_rows=True)
    check("nothing seen", 1, 2, 2, 2, 256, 256, 128, 128, 128, True, bf, 0.0)
    check("portable, bf16, D96", 1, 2, 1, 1, 200, 300, 96, 128, 128, True, bf, 0.5)
    check("portable, fp32, D256", 1, 2, 1, 2, 70, 90, 256, 32, 32, False, single, 0.7)
    check("a key block that all see: cut lists", 1, 4, 1, 4, 8192, 8192, 128, 128, 128, True, bf, 0.1, sink=True)
    check("cut lists, blocks of 64, odd end", 1, 4, 1, 2, 4090, 4090, 64, 64, 64, True, half, 0.1, sink=True)
    check("cut lists, blocks of 256, lengths", 2, 8, 1, 8, 6000, 6000, 128, 256, 256, False, bf, 0.3, sink=True, lengths=((6000, 5001), (6000, 100)))
    check("long", 1, 2, 1, 2, 8192, 8192, 128, 128, 128, True, bf, 0.15)
    empty = torch.empty(1, 2, 0, 128, device="cuda", dtype=bf)
    full = torch.randn(1, 2, 128, 128, device="cuda").to(bf)
    none = torch.empty(1, 2, 0, 4, device="cuda", dtype=torch.int32)
    out, _ = ds.block_sparse_attention(empty, full, full, none, none[..., 0].contiguous(), 128, 128, True)
    report("no queries", out.shape == empty.shape, "")
    zero = torch.zeros(1, 2, 1, 1, device="cuda", dtype=torch.int32)
    out, lse = ds.block_sparse_attention(full, empty, empty, zero, zero[..., 0].contiguous(), 128, 128, True)
    report("no keys", bool((out == 0).all()) and bool((lse == -float("inf")).all()), "")

    # Density 1 is dense attention: gradients against the framework's autograd in float64.
    q, k, v, grad = (torch.randn(2, 4, 600, 128, device="cuda", dtype=torch.float64) for _ in range(4))
    index = torch.arange(5, device="cuda", dtype=torch.int32).expand(2, 4, 5, 5).contiguous()
    count = torch.full((2, 4, 5), 5, device="cuda", dtype=torch.int32)
    leaves = [x.to(bf).requires_grad_() for x in (q, k, v)]
    wide = [x.detach().double().requires_grad_() for x in leaves]
    dense = torch.nn.functional.scaled_dot_product_attention(*wide, is_causal=True)
    ours, _ = ds.block_sparse_attention(*leaves, index, count, 128, 128, True)
    errors = [relative(ours, dense)] + [relative(a, b) for a, b in zip(torch.autograd.grad(ours, leaves, grad.to(bf)), torch.autograd.grad(dense, wide, grad.to(bf).double()))]
    report("density 1 against dense autograd", max(errors) < 1.2e-2, " ".join(f"{e:.2e}" for e in errors))

    g = torch.Generator(device="cuda").manual_seed(5)
    q, grad = (torch.randn(2, 8, 3000, 128, device="cuda", generator=g).to(bf) for _ in range(2))
    k, v = (torch.randn(2, 2, 3000, 128, device="cuda", generator=g).to(bf) for _ in range(2))
    index, count = random_lists(2, 8, 3000, 3000, 128, 128, 0.4, g, sink=True)
    first = None
    same = True
    for _ in range(20):
        poison()
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        out, lse = ds.block_sparse_attention(*leaves, index, count, 128, 128, True)
        results = [bits(x) for x in (out.detach(), lse, *torch.autograd.grad(out, leaves, grad))]
        first = first or [x.clone() for x in results]
        same = same and all(torch.equal(a, b) for a, b in zip(first, results))
    report("20 runs", same, "every bit equal")
    selection(False)
    return finish()


def finish():
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
