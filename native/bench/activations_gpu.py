"""Checks bias+GELU, SwiGLU, rotary embedding and chunked cross entropy on a GPU and times them against eager PyTorch.

  python3 activations_gpu.py <libdeepseek.so> [check] [bench] [--compile]

Shapes of a GPT-2 and a TinyLlama step, bfloat16; graph replay, four input sets, cache flushed, by turns (kernels_gpu.py). `--compile` adds torch.compile.
"""
import sys

import torch
import torch.nn.functional as F

import kernels_gpu as base

ops = base.ops


def timed(name, leaves, functions, bytes_forward, bytes_both):
    """leaves: input sets; functions: {label: f}. The forward pass alone, then with its backward pass."""
    gradient = torch.randn_like(functions["ours"](*leaves[0]))
    if "--compile" in sys.argv:
        torch._dynamo.reset()
        functions["compile"] = torch.compile(functions["eager"])
    with torch.no_grad():
        base.compare(f"{name} forward", {label: [lambda f=f, s=s: f(*s) for s in leaves] for label, f in functions.items()}, bytes_forward, rounds=21)
    both = lambda f, s: torch.autograd.grad(f(*s), [t for t in s if t.requires_grad], gradient)
    base.compare(f"{name} fwd+bwd", {label: [lambda f=f, s=s: both(f, s) for s in leaves] for label, f in functions.items()}, bytes_both, rounds=21)


def leaf(*sizes):
    return torch.randn(*sizes, device="cuda", dtype=torch.bfloat16).requires_grad_()


def bench():
    rows = 16384
    n = rows * 3072
    bias = leaf(3072)
    timed("bias+GELU 16384x3072", [(leaf(rows, 3072), bias) for _ in range(4)],
          {"ours": ops.bias_gelu, "eager": lambda x, b: F.gelu(x + b)}, 4 * n, 12 * n)
    n = rows * 5632
    timed("SwiGLU 16384x5632", [(leaf(rows, 5632), leaf(rows, 5632)) for _ in range(4)],
          {"ours": ops.swiglu, "eager": lambda x, g: F.silu(x) * g}, 6 * n, 16 * n)
    angle = torch.randn(2048, 32, device="cuda")
    cosine, sine = angle.cos(), angle.sin()
    whole = (torch.cat([cosine, cosine], -1).bfloat16(), torch.cat([sine, sine], -1).bfloat16())
    n = 8 * 32 * 2048 * 64

    def turned(x):
        a, b = x.chunk(2, -1)
        return x * whole[0] + torch.cat([-b, a], -1) * whole[1]

    timed("rotary 8x32x2048x64", [(leaf(8, 32, 2048, 64),) for _ in range(4)],
          {"ours": lambda x: ops.rotary(x, cosine, sine, False), "eager": turned}, 4 * n, 8 * n)
    base.bench_fused()


if __name__ == "__main__":
    print(torch.cuda.get_device_name(), torch.__version__)
    if "check" in sys.argv:
        base.check_fused()
        print(f"{len(base.failures)} failures: {base.failures[:10]}", flush=True)
    if "bench" in sys.argv:
        bench()
    sys.exit(1 if base.failures else 0)
