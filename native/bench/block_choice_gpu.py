#!/usr/bin/env python3
"""Times the choice of key blocks by estimate, and the whole of scores, choice and attention: `block_choice_gpu.py LIBRARY [LENGTH...]`.

Hq 32, Hkv 8, D 128, bfloat16, causal, 10 % of the visible blocks. Forms are estimate/stride/block, then row or shared (the choice), newest (the newest
block by the maximum over its queries), causal (a causal choice), odd (five tokens fewer, so that the last group is short). Beside them cuDNN's dense attention.
Four input sets in turn, L2 flushed before every run, candidates interleaved, CUDA events; prints p50 [p10, p90] in ms.
"""
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from turns import measure

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
HEADS, KV, DIM, DENSITY, SETS, RUNS = 32, 8, 128, 0.1, 4, 16
FORMS = ["antidiagonal/16/128/row", "antidiagonal/8/64/row", "antidiagonal/8/64/row/newest", "sampled/16/64/row", "sampled/16/64/row/newest", "sampled/8/64/row", "sampled/8/64/row/newest",
         "sampled/8/64/row/odd", "sampled/8/64/row/causal", "sampled/8/64/shared", "sampled/8/128/row"]


def steps(form, sets):
    """What a form is timed by: its scores, and all of it."""
    estimate, stride, block, choice, *more = form.split("/")
    stride, block, kind = int(stride), int(block), {"antidiagonal": 0, "sampled": 2}[estimate]

    def inputs(i):
        return [x[:, :, :-5] for x in sets[i]] if "odd" in more else sets[i]

    def score(i):
        q, k, _ = inputs(i)
        return ds.block_scores(q, k, block, block, True, None, stride, kind, 2.0, None, None, float("inf") if "newest" in more else 0.0, "causal" in more)

    def whole(i):
        q, k, v = inputs(i)
        length = q.shape[2]
        index, count = ds.select_blocks(score(i), length, length, block, block, True, DENSITY, 1.0, 1, 1, 1, choice == "shared")
        return ds.block_sparse_attention(q, k, v, index, count, block, block, True)[0]
    return score, whole


def dense(i, sets):
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return F.scaled_dot_product_attention(*sets[i], is_causal=True, enable_gqa=True)


def main():
    print(torch.cuda.get_device_name(), torch.__version__, torch.version.cuda)
    for length in [int(a) for a in sys.argv[2:]] or [32768, 65536]:
        generator = torch.Generator(device="cuda").manual_seed(1)
        sets = [[torch.randn(1, h, length, DIM, device="cuda", dtype=torch.bfloat16, generator=generator) for h in (HEADS, KV, KV)] for _ in range(SETS)]
        with torch.no_grad():
            candidates = {"dense": lambda i: dense(i, sets)}
            for form in FORMS:
                candidates[f"{form}: scores"], candidates[f"{form}: whole"] = steps(form, sets)
            times = measure(candidates, RUNS, SETS)
        for name, (p50, p10, p90) in times.items():
            print(f"S={length} {name:40s} {p50:8.3f} [{p10:.3f}, {p90:.3f}] ms  {times['dense'][0] / p50:5.2f}x dense", flush=True)
        del sets, candidates
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
