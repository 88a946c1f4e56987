#!/usr/bin/env python3
"""Layers in eight-bit floats on a GPU against the same arithmetic in float64: `fp8_gpu.py LIBRARY [--small | --own]`.

The reference casts what the layer casts, under the scale that a layer's first tensors set for themselves, and multiplies the decoded
numbers in float64. Prints one line a case and a closing count; exits 1 when a case fails, and when there is no GPU.
`--small`: few shapes, for compute-sanitizer; `--own`: products of sizes that cuBLASLt does not take, between casts of sizes that go in one pass, for its racecheck.
"""
import math
import sys

import torch
from torch.nn import functional as F

from plain_products import use_plain_products

torch.ops.load_library(sys.argv[1])
ds = torch.ops.deepseek
bf16, f32 = torch.bfloat16, torch.float32
E4M3, E5M2 = (0, 448.0), (1, 57344.0)
STEPS, MARGIN, FIRST = 16, 1, 3
passed = failed = 0


def report(name, good, text=""):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    print(f"{'ok  ' if good else 'FAIL'} {name} {text}", flush=True)


def close(name, ours, wanted, bound):
    error = ((ours.double() - wanted).norm() / wanted.norm()).item()
    report(name, error <= bound, f"relative error {error:.1e} of at most {bound:.1e}")


def rounded(x, format):
    """What the codes of x stand for, in float64."""
    scale = 2.0 ** (math.floor(math.log2(format[1] / x.abs().max().item())) - MARGIN)
    s = torch.tensor([scale], device=x.device)
    return ds.fp8_decode(ds.fp8_encode(x.float(), s, format[0])[0], s, format[0], f32).double()


def state():
    made = torch.zeros(3, STEPS + 4, device="cuda")
    made[:, STEPS] = 1
    return made


def draw(seed, *sizes, dtype=bf16, by=1.0):
    return (torch.randn(*sizes, generator=torch.Generator().manual_seed(seed)) * by).to(dtype).cuda()


def turned(weight):
    """The same weight [out, in], kept [in, out]."""
    return weight.t().contiguous().t()


def linear(rows, inputs, outputs, dtype, type, lies):
    x, w, b, g = draw(1, rows, inputs, dtype=dtype), lies(draw(2, outputs, inputs, dtype=dtype)), draw(3, outputs, dtype=dtype), draw(4, rows, outputs, dtype=type)
    x, w, b = (t.requires_grad_() for t in (x, w, b))
    s = state()
    y = ds.fp8_linear(x, w, b, s, MARGIN, FIRST, type)
    dx, dw, db = torch.autograd.grad(y, (x, w, b), g)
    rx, rw, rg = rounded(x.detach(), E4M3), rounded(w.detach(), E4M3), rounded(g, E5M2)
    name = f"linear {rows} x {inputs} -> {outputs} {dtype} -> {type}{' turned' if lies is turned else ''}"
    # One rounding of the result; the matrix cores' sums keep 13 bits forward, and more backward.
    bound = 4e-3 if bf16 in (dtype, type) else 1e-3
    close(f"{name}: y", y, rx @ rw.t() + b.double(), bound)
    close(f"{name}: dx", dx, rg @ rw, bound)
    close(f"{name}: dw", dw, rg.t() @ rx, bound)
    close(f"{name}: db", db, g.double().sum(0), bound)
    report(f"{name}: layout and state", dw.stride() == w.stride() and not s[:, STEPS + 2:].any() and (s[:, STEPS - 1] > 0).all() and y.dtype == type and dx.dtype == dtype)
    # The next step takes the scale that this one left, and gives the same bits again.
    again = [s.clone(), s.clone()]
    results = [torch.autograd.grad(ds.fp8_linear(x, w, b, a, MARGIN, 0, type), (x, w, b), g) for a in again]
    before = s.clone()
    before[:2, STEPS:STEPS + 1] *= 4  # a repeated pass takes the last cast's scales, not these
    keeps = before.clone()
    report(f"{name}: computed again", torch.equal(ds.fp8_linear(x, w, b, before, MARGIN, 4, type), y) and torch.equal(keeps, before))
    report(f"{name}: repeats", all(torch.equal(p, q) for p, q in zip(*results)) and torch.equal(*again))


def slope(x):
    x = x.double().requires_grad_()
    return torch.autograd.grad(F.gelu(x, approximate="tanh").sum(), x)[0]


def mlp(rows, width, inner, dtype, type):
    x, w1, b1 = draw(1, rows, width, dtype=dtype), turned(draw(2, inner, width, dtype=dtype, by=width ** -0.5)), draw(3, inner, dtype=dtype, by=0.5)
    w2, b2, g = turned(draw(4, width, inner, dtype=dtype, by=inner ** -0.5)), draw(5, width, dtype=dtype), draw(6, rows, width, dtype=type)
    given = [t.requires_grad_() for t in (x, w1, b1, w2, b2)]
    y = ds.fp8_gelu_mlp(x, w1, b1, state(), w2, b2, state(), MARGIN, FIRST | FIRST << 3, type)
    made = torch.autograd.grad(y, given, g)
    x, w1, b1, w2, b2 = (t.detach() for t in given)
    rx, rw1, rw2 = rounded(x, E4M3), rounded(w1, E4M3), rounded(w2, E4M3)
    kept = (rx @ rw1.t() + b1.double()).to(type)
    h = rounded(F.gelu(kept.double(), approximate="tanh"), E4M3)
    g2 = rounded(g, E5M2)
    inner_gradient = (g2 @ rw2).to(type).double() * slope(kept)
    g1 = rounded(inner_gradient, E5M2)
    name = f"mlp {rows} x {width} -> {inner} {dtype} -> {type}"
    # Where the matrix cores' shorter sums move a value across a midpoint, its code is another: by 2^-4 of it in E4M3, 2^-3 in E5M2, for about one in fifty.
    for part, ours, wanted, bound in (("y", y, h @ rw2.t() + b2.double(), 1e-2), ("dx", made[0], g1 @ rw1, 2e-2), ("dw1", made[1], g1.t() @ rx, 2e-2), ("db1", made[2], inner_gradient.sum(0), 5e-3),
                                      ("dw2", made[3], g2.t() @ h, 1e-2), ("db2", made[4], g.double().sum(0), 4e-3)):
        close(f"{name}: {part}", ours, wanted, bound)


def attention(batch, length, width, heads, dtype, type, inputs=None):
    inputs = inputs or width
    x, w, b, g = draw(1, batch, length, inputs, dtype=dtype), turned(draw(2, 3 * width, inputs, dtype=dtype, by=inputs ** -0.5)), draw(3, 3 * width, dtype=dtype), draw(4, batch, length, width, dtype=type)
    given = [t.requires_grad_() for t in (x, w, b)]
    y = ds.fp8_projected_attention(x, w, b, state(), MARGIN, FIRST, heads, True, type)
    made = torch.autograd.grad(y, given, g)
    x, w, b = (t.detach() for t in given)
    rx, rw = rounded(x.reshape(-1, inputs), E4M3), rounded(w, E4M3)
    joint = (rx @ rw.t() + b.double()).to(type).double().view(batch, length, 3 * width).requires_grad_()
    q, k, v = (part.view(batch, length, heads, -1).transpose(1, 2) for part in joint.split(width, 2))
    wanted = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, width)
    dj = torch.autograd.grad(wanted, joint, g.double())[0].reshape(-1, 3 * width)
    rg = rounded(dj, E5M2)
    # cuDNN gives the gradients of q, k and v within one in a hundred, which turns one code of E5M2 in twelve into its neighbour.
    name = f"attention {batch} x {length} x {width}, {heads} heads, {dtype} -> {type}"
    for part, ours, expected, bound in (("y", y, wanted, 1e-2), ("dx", made[0].reshape(-1, inputs), rg @ rw, 5e-2), ("dw", made[1], rg.t() @ rx, 5e-2), ("db", made[2], dj.sum(0), 2e-2)):
        close(f"{name}: {part}", ours, expected.detach(), bound)


def main():
    if not torch.cuda.is_available():
        print("FAIL no GPU")
        return 1
    small, own = "--small" in sys.argv, "--own" in sys.argv
    if own:
        plain = use_plain_products()  # noqa: F841 (they last as long as this)
        for lies in (torch.Tensor.contiguous, turned):
            for shape in ((144, 272, 40), (144, 24, 80), (24, 272, 80)):  # the input, the gradient, the weight in one pass
                linear(*shape, bf16, bf16, lies)
        mlp(272, 24, 592, f32, bf16)
        attention(2, 64, 256, 4, bf16, bf16, 24)
    if small:
        linear(144, 272, 80, bf16, bf16, turned)
        linear(24, 40, 56, bf16, bf16, torch.Tensor.contiguous)
        mlp(272, 144, 592, f32, bf16)
        attention(2, 64, 256, 4, bf16, bf16)
    for tune in () if small or own else (False, True):
        ds.tune_products(tune)
        for lies in (torch.Tensor.contiguous, turned):
            linear(512, 384, 640, bf16, bf16, lies)
            linear(144, 272, 80, bf16, bf16, lies)
            linear(256, 256, 128, f32, bf16, lies)
        linear(256, 128, 256, f32, f32, turned)
        linear(24, 40, 56, bf16, bf16, torch.Tensor.contiguous)  # no multiples of 16: decoded
        mlp(512, 256, 1024, bf16, bf16)
        mlp(272, 144, 592, f32, bf16)
        attention(2, 256, 256, 4, bf16, bf16)
        torch.backends.cuda.enable_cudnn_sdp(True)
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        attention(2, 256, 256, 2, bf16, bf16)
        attention(2, 256, 256, 2, f32, bf16)
        torch.backends.cuda.enable_flash_sdp(True)
        torch.backends.cuda.enable_mem_efficient_sdp(True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
