#!/usr/bin/env python3
"""Times block-sparse attention against the best dense attention of PyTorch: `sparse_attention_gpu.py LIBRARY [LENGTH...] [--select] [--flex] [--stages] [--prepare] [--forward]`.

Hq 32, Hkv 8, D 128, bfloat16, causal; blocks of 128, 10 % of the causal blocks: the diagonal, the first and random others.
Four input sets in turn, L2 flushed before every run, candidates interleaved, CUDA events; prints p50 [p10, p90] in ms.
--forward leaves out the backward pass. --flex adds FlexAttention, compiled, with the same blocks; --prepare only compiles it (a later run finds it in Inductor's cache).
"""
import os
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from turns import measure

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
HEADS, KV, DIM, BLOCK, SETS = 32, 8, 128, 128, 4


def lists(length, density, generator):
    blocks = length // BLOCK
    score = torch.rand(1, HEADS, blocks, blocks, device="cuda", generator=generator)
    row, column = torch.arange(blocks, device="cuda").view(-1, 1), torch.arange(blocks, device="cuda")
    score = score + 2.0 * (column == row) + 1.0 * (column == 0)
    score = score.masked_fill(column > row, -1.0)
    target = ((torch.arange(blocks, device="cuda") + 1) * density).ceil().to(torch.int32)
    most = int(target.max())
    chosen = score.topk(most, dim=-1).indices.to(torch.int32)
    place = torch.arange(most, device="cuda")
    chosen = torch.where(place < target.view(-1, 1), chosen, torch.full_like(chosen, blocks)).sort(-1).values
    return chosen.contiguous(), target.expand(1, HEADS, blocks).contiguous()


def dense(backend):
    def attend(q, k, v):
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return attend


def flex(index, count):
    from torch.nn.attention.flex_attention import BlockMask, flex_attention
    compiled = torch.compile(flex_attention, dynamic=False)
    # The library's own choice of tiles; its autotuned ones (mode="max-autotune-no-cudagraphs") where FLEX_AUTOTUNE is set.
    if os.environ.get("FLEX_AUTOTUNE"):
        compiled = torch.compile(flex_attention, dynamic=False, mode="max-autotune-no-cudagraphs")
    # Diagonal blocks need the mask, the others are seen whole.
    blocks = index.shape[2]
    diagonal = torch.arange(blocks, device="cuda", dtype=torch.int32)
    partial = torch.zeros(1, HEADS, blocks, blocks, device="cuda", dtype=torch.int32)
    partial[..., 0] = diagonal
    whole = torch.zeros_like(partial)
    whole[..., : index.shape[3]] = torch.where(index < diagonal.view(1, 1, -1, 1), index, torch.zeros_like(index))
    mask = BlockMask.from_kv_blocks(torch.ones_like(count), partial, count - 1, whole, BLOCK_SIZE=BLOCK, mask_mod=lambda b, h, i, j: i >= j)
    return lambda q, k, v: compiled(q, k, v, block_mask=mask, enable_gqa=True)


def main():
    numbers = [int(a) for a in sys.argv[2:] if a.isdigit()]
    skip_flash = "--no-flash" in sys.argv
    props = torch.cuda.get_device_properties(0)
    print(f"{props.name}, {props.multi_processor_count} processors; PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    for length in numbers or [32768]:
        g = torch.Generator(device="cuda").manual_seed(1)
        make = lambda h: torch.randn(1, h, length, DIM, device="cuda", generator=g).to(torch.bfloat16).requires_grad_()
        sets = [(make(HEADS), make(KV), make(KV)) for _ in range(SETS)]
        grad = torch.randn(1, HEADS, length, DIM, device="cuda", generator=g).to(torch.bfloat16)
        index, count = lists(length, 0.1, g)
        blocks = length // BLOCK
        density = count.sum().item() / (HEADS * blocks * (blocks + 1) / 2)
        ours = lambda q, k, v: ds.block_sparse_attention(q, k, v, index, count, BLOCK, BLOCK, True)[0]
        forms = {"ours": ours, "cudnn": dense(SDPBackend.CUDNN_ATTENTION), "flash": dense(SDPBackend.FLASH_ATTENTION)}
        if skip_flash:  # half as fast as cuDNN's where both were timed
            del forms["flash"]
        if "--select" in sys.argv:
            def whole(q, k, v):
                scores = ds.block_scores(q, k, BLOCK, BLOCK, True)
                chosen = ds.select_blocks(scores, length, length, BLOCK, BLOCK, True, 0.1)
                return ds.block_sparse_attention(q, k, v, *chosen, BLOCK, BLOCK, True)[0]
            forms["whole"] = whole
        if "--flex" in sys.argv:
            forms["flex"] = flex(index, count)
        if "--prepare" in sys.argv:
            with torch.no_grad():
                forms["flex"](*sets[0])
            torch.autograd.grad(forms["flex"](*sets[0]), sets[0], grad)
            torch.cuda.synchronize()
            continue
        if "flex" in forms:
            with torch.no_grad():
                a, b = ours(*sets[0]).float(), forms["flex"](*sets[0]).float()
            print(f"ours against flex: relative difference {((a - b).norm() / b.norm()).item():.2e}", flush=True)
            del a, b
        def forward(f):
            def step(i):
                with torch.no_grad():
                    f(*sets[i])
            return step
        def both(f):
            def step(i):
                torch.autograd.grad(f(*sets[i]), sets[i], grad)
            return step
        for kind, wrap, runs in (("forward", forward, 24), ("forward+backward", both, 12))[: 1 if "--forward" in sys.argv else 2]:
            times = measure({n: wrap(f) for n, f in forms.items()}, runs, SETS)
            best = min(times[n][0] for n in ("cudnn", "flash") if n in times)
            if kind == "forward":
                forward_best = best
            for name, (p50, p10, p90) in times.items():
                line = f"S={length} {kind:16s} {name:6s} {p50:8.3f} [{p10:.3f}, {p90:.3f}] ms  {best / p50:5.2f}x"
                if name in ("ours", "whole", "flex"):
                    line += f"  density {density:.4f}, efficiency {best / p50 * density:.3f}"
                print(line, flush=True)
        if "--select" in sys.argv:
            def scoring(i):
                scores = ds.block_scores(*sets[i][:2], BLOCK, BLOCK, True)
                ds.select_blocks(scores, length, length, BLOCK, BLOCK, True, 0.1)
            p50, p10, p90 = measure({"selection": scoring}, 24, SETS)["selection"]
            print(f"S={length} scoring and selection {p50:.3f} [{p10:.3f}, {p90:.3f}] ms, {100 * p50 / forward_best:.2f} % of dense", flush=True)
        if "--stages" in sys.argv:
            stages(sets, grad, index, count)


def stages(sets, grad, index, count):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for i in range(SETS):
            length = sets[i][0].shape[2]
            ds.select_blocks(ds.block_scores(*sets[i][:2], BLOCK, BLOCK, True), length, length, BLOCK, BLOCK, True, 0.1)
            out, _ = ds.block_sparse_attention(*sets[i], index, count, BLOCK, BLOCK, True)
            torch.autograd.grad(out, sets[i], grad)
        torch.cuda.synchronize()
    for event in sorted(profile.key_averages(), key=lambda e: -e.device_time_total)[:11]:
        print(f"  {event.device_time_total / event.count / 1000:8.3f} ms x{event.count} {event.key[:90]}")


main()
