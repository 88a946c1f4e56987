#!/usr/bin/env python3
"""The indexer, gather attention and top-k on a GPU against float64, stable sorts and the CPU kernels: `token_sparse_gpu.py LIBRARY [--small] [--hopper]`.

Needs PyTorch with CUDA and a build of the engine's library for it (cmake on native/). On Hopper every case runs through the
tensor-core kernels and through the portable ones (DEEPSEEK_KERNELS; --hopper: not these). Prints one line a case and a closing count; exits 1 when
a case fails, and when there is no GPU.
"""
import os
import sys

import torch

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
# Relative errors (Frobenius): sums are float32 throughout; halves round results, the saved output and, on tensor cores, the
# weights once. FP8 products on tensor cores keep 13 bits of the greatest addend of a sum: 2^-13 = 1.2e-4 each.
ERROR = {torch.bfloat16: 6e-3, torch.float16: 8e-4, torch.float32: 2e-6}
FP8 = {"hopper": 1e-3, "portable": 2e-6}
PATH = "portable"
passed = failed = 0


def report(name, good, text=""):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    print(f"{'ok  ' if good else 'FAIL'} {PATH:8s} {name}: {text}", flush=True)


def take(path):
    """Which kernels the next calls take."""
    global PATH
    PATH = path
    os.environ["DEEPSEEK_KERNELS"] = "portable" if path == "portable" else ""


def poison():
    """Leaves NaN in the memory that the next results are made in."""
    blocks = [torch.full((n,), float("nan"), device="cuda") for n in (1 << 12, 1 << 16, 1 << 20, 1 << 22)]
    del blocks


def relative(x, reference):
    norm = reference.norm().item()
    return (x.double() - reference.double()).norm().item() / norm if norm > 0 else x.double().norm().item()


def lists(batch, queries, keys, most, g):
    """Ascending random lists, every third of them short, the second empty; entries behind the count lie far outside."""
    order = torch.rand(batch, queries, keys, device="cuda", generator=g).argsort(-1)[..., :most].to(torch.int32)
    count = torch.full((batch, queries), min(most, keys), device="cuda", dtype=torch.int32)
    count[:, ::3] = torch.randint(1, min(most, keys) + 1, count[:, ::3].shape, device="cuda", generator=g, dtype=torch.int32)
    if queries > 1:
        count[:, 1] = 0
    place = torch.arange(order.shape[-1], device="cuda")
    return torch.where(place < count.unsqueeze(-1), order, torch.full_like(order, 1 << 28)).sort(-1).values.contiguous(), count


def gather(batch, heads, kv_heads, queries, keys, dim, most, dtype, strided=False):
    g = torch.Generator(device="cuda").manual_seed(queries * 7 + keys)

    def make(h, rows):
        if strided:
            return torch.randn(batch, rows, h, dim, device="cuda", generator=g).to(dtype).transpose(1, 2)
        return torch.randn(batch, h, rows, dim, device="cuda", generator=g).to(dtype)

    q, grad, k, v = make(heads, queries), make(heads, queries), make(kv_heads, keys), make(kv_heads, keys)
    index, count = lists(batch, queries, keys, most, g)
    named = torch.zeros(batch, keys, dtype=torch.bool, device="cuda")
    for b in range(batch):
        named[b, index[b][index[b] < keys].long()] = True
    for x in (k, v):  # keys that no list names are never read
        x.masked_fill_(~named.view(batch, 1, keys, 1), float("nan"))
    wide = [x.double().requires_grad_() for x in (q, k, v)]
    out_ref, lse_ref = ds.gather_attention(*wide, index, count)
    grads_ref = torch.autograd.grad(out_ref, wide, grad.double())
    poison()
    leaves = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in (q, k, v)]
    out, lse = ds.gather_attention(*leaves, index, count)
    poison()
    grads = torch.autograd.grad(out, leaves, grad)
    seen = lse_ref > -float("inf")
    errors = [relative(out.detach(), out_ref.detach())] + [relative(a, b.nan_to_num(0.0)) for a, b in zip(grads, grads_ref)]
    good = max(errors) <= 2 * ERROR[dtype] and errors[0] <= ERROR[dtype] and torch.equal(seen, lse > -float("inf"))
    good = good and (not seen.any() or (lse.double() - lse_ref)[seen].abs().max().item() < 1e-4)
    report(f"gather {dtype} H{heads}/{kv_heads} {queries}x{keys} D{dim} top {most} strided {strided}", good, " ".join(f"{e:.2e}" for e in errors))


def faulty_lists(dim, dtype):
    x = torch.randn(1, 2, 9, dim, device="cuda").to(dtype)
    for entries in ([3, 1, 5], [1, 1, 5], [1, 5, 9], [-1, 5, 6]):
        index = torch.tensor([[[0, 2, 4], entries]], device="cuda", dtype=torch.int32)
        out, _ = ds.gather_attention(x[:, :, :2], x, x, index, torch.full((1, 2), 3, device="cuda", dtype=torch.int32))
        report(f"a list {entries} gives NaN, its neighbour does not", bool(out[:, :, 1].isnan().all() and out[:, :, 0].isfinite().all()))


def indexer(batch, heads, dim, queries, keys, causal, kind, lengths=None, order="any"):
    """order: "any", "rising" (logits grow along the keys, so that the latest are the greatest) or "ties" (three values)."""
    g = torch.Generator(device="cuda").manual_seed(queries + keys)
    q, k = torch.randn(batch, queries, heads, dim, device="cuda", generator=g), torch.randn(batch, keys, dim, device="cuda", generator=g)
    w = torch.randn(batch, queries, heads, device="cuda", generator=g)
    if order == "rising":
        k, w = k * torch.linspace(0.1, 3, keys, device="cuda").view(1, -1, 1), w.abs()
    if order == "ties":
        k = k[:, torch.arange(keys, device="cuda") % 3].contiguous()
    limit = None if lengths is None else torch.tensor(lengths, device="cuda", dtype=torch.int32)
    if kind == "fp8":
        (cq, sq), (ck, sk) = ds.quantize_rows(q), ds.quantize_rows(k)
        same = all(torch.equal(a.cpu(), b) for x, pair in ((q, (cq, sq)), (k, (ck, sk))) for a, b in zip(pair, ds.quantize_rows(x.cpu())))
        report(f"  FP8 rows equal the CPU's, {queries}x{keys}", same)
        decode = lambda c, s: c.view(torch.float8_e4m3fn).double() * s.double().unsqueeze(-1)
        args, wide = (cq, ck, w, causal, sq, sk, limit), (decode(cq, sq), decode(ck, sk), w.double(), causal, None, None, limit)
    else:
        q, k = q.to(kind), k.to(kind)
        args, wide = (q, k, w, causal, None, None, limit), (q.double(), k.double(), w.double(), causal, None, None, limit)
    poison()
    logits, reference = ds.indexer_logits(*args), ds.indexer_logits(*wide)
    hidden = reference == -float("inf")
    error = relative(logits.masked_fill(hidden, 0), reference.masked_fill(hidden, 0))
    report(f"logits {kind} H{heads} D{dim} {queries}x{keys} causal {causal} {order}", error < (FP8[PATH] if kind == "fp8" else 2e-6) and torch.equal(hidden, logits == -float("inf")), f"{error:.2e}")
    for most in (1, 64, min(keys, 2048)):
        poison()
        index, count = ds.indexer_select(args[0], args[1], args[2], most, *args[3:])
        # A sort of the logits themselves, ties by the lowest key.
        order = torch.argsort(logits, dim=-1, descending=True, stable=True)[..., :most]
        order = torch.nn.functional.pad(order, (0, most - order.shape[-1]), value=keys)
        wanted = (~hidden).sum(-1).clamp_max(most)
        kept = torch.arange(most, device="cuda") < wanted.unsqueeze(-1)
        good = torch.equal(count.long(), wanted) and torch.equal(index.long(), torch.where(kept, order, keys).sort(-1).values)
        report(f"  selection of {most}", good)


def loss(dtype, listed):
    g = torch.Generator(device="cuda").manual_seed(11)
    q, k = torch.randn(2, 6, 37, 64, device="cuda", generator=g).to(dtype), torch.randn(2, 2, 90, 64, device="cuda", generator=g).to(dtype)
    inputs = [torch.randn(*shape, device="cuda", generator=g).to(dtype) for shape in ((2, 37, 3, 16), (2, 90, 16), (2, 37, 3))]
    given = lists(2, 37, 90, 20, g) if listed else (None, None)
    wide = [x.double().cpu().requires_grad_() for x in inputs]
    reference = ds.indexer_loss(q.double().cpu(), k.double().cpu(), *wide, *(x if x is None else x.cpu() for x in given))
    leaves = [x.requires_grad_() for x in inputs]
    ours = ds.indexer_loss(q, k, *leaves, *given)
    errors = [abs(ours.item() / reference.item() - 1)] + [relative(a.cpu(), b) for a, b in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(reference, wide))]
    report(f"loss {dtype} lists {listed}", max(errors) < max(ERROR[dtype], 1e-5), " ".join(f"{e:.2e}" for e in errors))


def greatest(rows, columns, k, kind, dtype=torch.float32):
    g = torch.Generator(device="cuda").manual_seed(rows + columns + k)
    x = torch.randn(rows, columns, device="cuda", generator=g)
    if kind == "few values":
        x = x.round()
    if kind == "constant":
        x = torch.zeros_like(x)
    if kind == "rising":
        x = x.sort(-1).values
    if kind == "special":
        x[:, ::7], x[:, 1::11], x[:, 2::13], x[:, 3::5] = float("nan"), -float("inf"), float("inf"), -0.0
    x = x.to(dtype)
    for largest in (True, False):
        poison()
        values, indices = ds.topk(x, k, largest)
        # NaN counts as greater than every number, and -0 equals +0.
        key = torch.where(x.isnan(), torch.tensor(float("inf"), dtype=torch.float64, device="cuda"), x.double().clamp(-1e300, 1e300) + 0.0)
        order = torch.argsort(key, dim=-1, descending=largest, stable=True)[..., :k]
        report(f"top {k} of {rows}x{columns} {kind} {dtype} largest {largest}", torch.equal(indices, order) and torch.equal(values.nan_to_num(7.0), x.gather(-1, order).nan_to_num(7.0)))


def launches():
    """Gradients of so many queries that their workspace takes several launches, against two halves of the queries."""
    g = torch.Generator(device="cuda").manual_seed(3)
    q, grad = (torch.randn(1, 66, 700, 128, device="cuda", generator=g).to(torch.bfloat16) for _ in range(2))
    k, v = (torch.randn(1, 1, 5000, 128, device="cuda", generator=g).to(torch.bfloat16) for _ in range(2))
    index, count = lists(1, 700, 5000, 2048, g)

    def gradients(rows):
        leaves = [x.detach().requires_grad_() for x in (q[:, :, rows], k, v)]
        out, _ = ds.gather_attention(*leaves, index[:, rows], count[:, rows])
        return torch.autograd.grad(out, leaves, grad[:, :, rows])

    whole, first, second = gradients(slice(0, 700)), gradients(slice(0, 300)), gradients(slice(300, 700))
    errors = [relative(whole[0], torch.cat((first[0], second[0]), 2))] + [relative(a, b.float() + c.float()) for a, b, c in zip(whole[1:], first[1:], second[1:])]
    report("gradients in several launches", max(errors) < ERROR[torch.bfloat16], " ".join(f"{e:.2e}" for e in errors))


def cases(small):
    bf, half, single = torch.bfloat16, torch.float16, torch.float32
    for dtype in (single, bf, half):
        gather(2, 4, 2, 9, 33, 64, 8, dtype)
        gather(1, 6, 2, 40, 100, 128, 64, dtype, strided=True)
    gather(2, 3, 1, 1, 130, 24, 40, single)
    gather(1, 1, 1, 1, 1, 1, 1, single)
    for dtype, dim in ((bf, 128), (half, 64)):  # more than 64 heads a key head: two warpgroups
        gather(1, 130, 1, 5, 300, dim, 140, dtype)
        gather(2, 96, 1, 7, 200, dim, 200, dtype, strided=True)
        gather(1, 1, 1, 1, 1, dim, 1, dtype)
    for dtype in (single, bf):
        for listed in (False, True):
            loss(dtype, listed)
    faulty_lists(16, single)
    faulty_lists(64, bf)
    for kind in (single, bf, half, "fp8"):
        indexer(2, 3, 24, 33, 70, True, kind, lengths=(70, 51))
    indexer(1, 5, 40, 12, 5, True, single)
    for heads, dim in ((64, 128), (64, 64), (32, 128), (16, 64), (8, 128)):
        indexer(2, heads, dim, 13, 300, True, "fp8", lengths=(300, 141))
    indexer(1, 64, 128, 1, 5, False, "fp8")
    for dim in (64, 128):  # queries enough for logits and lists in one kernel
        indexer(2, 64, dim, 198, 300, True, "fp8", lengths=(300, 141))
    greatest(3, 5000, 64, "any")
    greatest(2, 9000, 2048, "special")
    if not small:
        gather(1, 32, 8, 500, 4096, 128, 2048, bf)
        gather(1, 128, 1, 300, 4096, 128, 2048, bf)
        gather(1, 16, 16, 300, 2000, 64, 512, half)
        gather(1, 4, 2, 100, 300, 256, 100, single)
        indexer(1, 8, 64, 1000, 8192, True, "fp8")
        indexer(1, 64, 128, 64, 8192, False, "fp8")
        indexer(4, 8, 64, 1, 70000, True, bf)
        for order in ("any", "rising", "ties"):
            indexer(1, 64, 128, 520, 9000, True, "fp8", order=order)
        indexer(2, 64, 64, 203, 20000, False, "fp8", lengths=(17000, 3000))
        for kind in ("any", "few values", "constant", "rising", "special"):
            for rows, columns, most in ((1, 1, 1), (5, 2000, 7), (64, 131072, 2048), (300, 20001, 2048), (140, 10000, 700)):
                greatest(rows, columns, most, kind)
            greatest(150, 30000, 512, kind, bf)
        if PATH == "hopper":
            launches()
        g = torch.Generator(device="cuda").manual_seed(5)
        q, grad = (torch.randn(2, 8, 300, 64, device="cuda", generator=g).to(bf) for _ in range(2))
        k, v = (torch.randn(2, 2, 900, 64, device="cuda", generator=g).to(bf) for _ in range(2))
        index, count = lists(2, 300, 900, 128, g)
        first, same = None, True
        for _ in range(20):
            poison()
            leaves = [x.detach().requires_grad_() for x in (q, k, v)]
            out, lse = ds.gather_attention(*leaves, index, count)
            results = [x.detach().clone() for x in (out, lse, *torch.autograd.grad(out, leaves, grad))]
            first = first or results
            same = same and all(torch.equal(a, b) for a, b in zip(first, results))
        report("20 runs", same, "every bit equal")
        cpu, _ = ds.gather_attention(q.cpu(), k.cpu(), v.cpu(), index.cpu(), count.cpu())
        report("the CPU kernel agrees", relative(out.detach().cpu(), cpu) < ERROR[bf])


def main():
    if not torch.cuda.is_available():
        print("FAIL no GPU")
        return 1
    small = "--small" in sys.argv  # under compute-sanitizer
    paths = ("hopper", "portable") if torch.cuda.get_device_capability() == (9, 0) else ("portable",)
    for path in paths[:1] if "--hopper" in sys.argv else paths:
        take(path)
        cases(small)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
