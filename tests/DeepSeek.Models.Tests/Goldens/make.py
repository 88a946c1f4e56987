"""Makes losses.json and snapshots/*.txt anew: python3 make.py [FOLDER], with PyTorch, torchvision and transformers, best on a CUDA machine.

losses.json: ten training losses of each model family in a small configuration, as the Python ecosystem's own models give them:
float32 on the CPU, float32 on CUDA, bfloat16 autocast on the CPU and on CUDA. Weights, inputs and targets are drawn by `noise`, a hash
that C# repeats bit for bit, seeded with the tensor's name. Where an input of a ReLU in the first step lies so close to zero that rounding
decides whether its gradient passes, the losses with that one input on the other side are recorded too ("cpu float32 ties").
snapshots: names and shapes of the state of the published models at full size, built on the meta device, a line each, sorted.
"""
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
import transformers
from torchvision.models import efficientnet, resnet

STEPS = 10
# From zero, of values whose deviation is 1: an order above what the layers in front of them round by.
TIE = 2e-6
# Buffers that follow from the sizes, or that nothing reads.
DERIVED = ("num_batches_tracked", "position_ids", "token_type_ids", ".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq", "original_inv_freq")


def fnv(text):
    value = 2166136261
    for byte in text.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def noise(name, count):
    """32-bit hashes of 0..count-1 under a name: murmur3's finaliser over a Weyl sequence."""
    h = np.arange(count, dtype=np.uint64) * 0x9E3779B1 + fnv(name) & 0xFFFFFFFF
    h = (h ^ h >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return h ^ h >> 16


def uniform(name, shape):
    """Over [-1, 1), multiples of 2^-23: exact in float32."""
    h = noise(name, int(np.prod(shape)))
    return torch.from_numpy(((h >> 8).astype(np.float64) / 2**23 - 1).astype(np.float32)).reshape(shape)


def integers(name, shape, limit):
    return torch.from_numpy((noise(name, int(np.prod(shape))) % limit).astype(np.int64)).reshape(shape)


def fill(net, prefix):
    """Matrices and kernels u/2^k with 4^k the first power not below the inputs, offsets u/16, scales 1 + u/8."""
    with torch.no_grad():
        for name, p in net.named_parameters():
            name = name.removeprefix(prefix)
            u = uniform(name, p.shape)
            if p.dim() >= 2:
                inputs, k = p.numel() // p.shape[0], 0
                while 4**k < inputs:
                    k += 1
                p.copy_(u / 2**k)
            else:
                p.copy_(u / 16 if "bias" in name else 1 + u / 8)


class Residual(nn.Module):
    def __init__(self, *body):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x):
        return x + self.body(x)


class Wrapped(nn.Module):
    def __init__(self, *parts):
        super().__init__()
        self.net = nn.Sequential(*parts)

    def forward(self, x):
        return self.net(x)


def tabular(norm, act, outputs):
    def block():
        return Residual(norm(16), nn.Linear(16, 32), act(), nn.Dropout(0), nn.Linear(32, 16))
    return Wrapped(nn.Linear(8, 16), block(), block(), norm(16), act(), nn.Linear(16, outputs))


def convnet():
    return Wrapped(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU(),
                   nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.ReLU(),
                   nn.Flatten(), nn.Linear(72, 16), nn.ReLU(), nn.Dropout(0), nn.Linear(16, 5))


class LstmClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(53, 12)
        self.lstm = nn.LSTM(12, 10, 2, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(20, 8)
        self.context = nn.Linear(8, 1, bias=False)
        self.head = nn.Linear(20, 4)

    def forward(self, ids):
        states, _ = self.lstm(self.embedding(ids))
        weights = self.context(self.attention(states).tanh()).softmax(1)
        return self.head((states * weights).sum(1))


class DoubleConv(nn.Module):
    def __init__(self, conv, norm, inputs, outputs):
        super().__init__()
        self.double_conv = nn.Sequential(conv(inputs, outputs, 3, padding=1, bias=False), norm(outputs), nn.ReLU(),
                                         conv(outputs, outputs, 3, padding=1, bias=False), norm(outputs), nn.ReLU())

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, pool, double):
        super().__init__()
        self.maxpool_conv = nn.Sequential(pool, double)

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, up, double):
        super().__init__()
        self.up, self.conv = up, double

    def forward(self, x, kept):
        return self.conv(torch.cat([kept, self.up(x)], 1))


class Out(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return self.conv(x)


class UNet(nn.Module):
    def __init__(self, dims, inputs, outputs, width, levels, norm):
        super().__init__()
        conv, transposed, pool = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d) if dims == 2 else (nn.Conv3d, nn.ConvTranspose3d, nn.MaxPool3d)
        self.levels = levels
        self.inc = DoubleConv(conv, norm, inputs, width)
        for i in range(levels):
            setattr(self, f"down{i + 1}", Down(pool(2), DoubleConv(conv, norm, width << i, width << i + 1)))
        for i in range(levels):
            c = width << levels - i
            setattr(self, f"up{i + 1}", Up(transposed(c, c // 2, 2, 2), DoubleConv(conv, norm, c, c // 2)))
        self.outc = Out(conv(width, outputs, 1))

    def forward(self, x):
        kept = [self.inc(x)]
        for i in range(self.levels):
            kept.append(getattr(self, f"down{i + 1}")(kept[-1]))
        x = kept.pop()
        for i in range(self.levels):
            x = getattr(self, f"up{i + 1}")(x, kept.pop())
        return self.outc(x)


def classify(y, target):
    return F.cross_entropy(y.float(), target)


def segment(y, target):
    y = y.float()
    p, t = y.sigmoid().flatten(2), target.flatten(2)
    dice = 1 - ((2 * (p * t).sum(2) + 1) / (p.sum(2) + t.sum(2) + 1)).mean()
    return F.binary_cross_entropy_with_logits(y, target) + dice


def image_family(net, batch, shape, classes):
    return dict(net=net, adamw=False, input=lambda s: uniform(f"input {s}", (batch, *shape)) * 2,
                target=lambda s: integers(f"target {s}", (batch,), classes), loss=classify)


def masked(net):
    """Rows of a batch of 4 end after 12, 10, 8 and 6 tokens; the second half is segment 1."""
    mask = (torch.arange(12)[None] < 12 - 2 * torch.arange(4)[:, None]).long()
    segments = (torch.arange(12) >= 6).long().expand(4, 12)
    return lambda ids: net(input_ids=ids, attention_mask=mask.to(ids.device), token_type_ids=segments.to(ids.device)).logits


def families():
    tokens = lambda batch, length, limit: lambda s: integers(f"input {s}", (batch, length), limit)
    flat = lambda y, t: classify(y.flatten(0, 1), t.flatten())
    bert = transformers.BertForSequenceClassification(transformers.BertConfig(
        vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=24,
        hidden_dropout_prob=0, attention_probs_dropout_prob=0, num_labels=3))
    gpt = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=101, n_positions=32, n_embd=32, n_layer=2, n_head=4,
                                                               resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=101, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=32, rms_norm_eps=1e-5, tie_word_embeddings=False))
    stages = [efficientnet.MBConvConfig(1, 3, 1, 16, 8, 1), efficientnet.MBConvConfig(6, 3, 2, 8, 16, 2), efficientnet.MBConvConfig(4, 5, 2, 16, 24, 1)]
    unet = lambda dims, net, size: dict(net=net, input=lambda s: uniform(f"input {s}", (2, 1, *(size,) * dims)),
                                        target=lambda s: integers(f"target {s}", (2, 2, *(size,) * dims), 2).float(), loss=segment)
    return {
        "mlp": dict(net=tabular(nn.BatchNorm1d, nn.ReLU, 3), input=lambda s: uniform(f"input {s}", (16, 8)) * 2,
                    target=lambda s: integers(f"target {s}", (16,), 3), loss=classify),
        "mlp regression": dict(net=tabular(nn.LayerNorm, nn.GELU, 1), input=lambda s: uniform(f"input {s}", (16, 8)) * 2,
                               target=lambda s: uniform(f"target {s}", (16,)), loss=lambda y, t: F.mse_loss(y.float().flatten(), t)),
        "convnet": image_family(convnet(), 16, (1, 12, 12), 5),
        "resnet basic": image_family(resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=10), 4, (3, 48, 48), 10),
        "resnet bottleneck": image_family(resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], num_classes=10), 4, (3, 48, 48), 10),
        "efficientnet": image_family(efficientnet.EfficientNet(stages, 0.0, stochastic_depth_prob=0.0, num_classes=10), 8, (3, 64, 64), 10),
        "lstm": dict(net=LstmClassifier(), input=tokens(8, 9, 53), target=lambda s: integers(f"target {s}", (8,), 4), loss=classify),
        "bert": dict(net=bert, call=masked(bert), input=tokens(4, 12, 97), target=lambda s: integers(f"target {s}", (4,), 3), loss=classify),
        "gpt2": dict(net=gpt, prefix="transformer.", call=lambda ids: gpt(ids).logits, input=tokens(4, 16, 101),
                     target=lambda s: integers(f"target {s}", (4, 16), 101), loss=flat),
        "llama": dict(net=llama, call=lambda ids: llama(ids).logits, input=tokens(4, 16, 101),
                      target=lambda s: integers(f"target {s}", (4, 16), 101), loss=flat),
        "unet2d": unet(2, UNet(2, 1, 2, 8, 2, nn.BatchNorm2d), 32),
        "unet3d": unet(3, UNet(3, 1, 2, 4, 2, lambda c: nn.GroupNorm(2, c)), 16),
    }


def before_relus(net, see):
    """Has see(call, input) called in front of every ReLU; what it returns, if anything, takes the input's place."""
    calls = itertools.count()
    return [m.register_forward_pre_hook(lambda _, inputs: see(next(calls), inputs[0])) for m in net.modules() if isinstance(m, nn.ReLU)]


def ties(family):
    """Losses in float32 on the CPU with one input of a ReLU in the first step moved across zero, for each that lies within TIE of it."""
    found, entry = [], {}

    def find(call, x):
        flat = x.detach().flatten()
        found.extend((call, i, flat[i].item()) for i in ((flat != 0) & (flat.abs() < TIE)).nonzero().flatten().tolist())

    losses(family, "cpu", False, find)
    for call, index, value in found:
        def move(number, x):
            if number != call:
                return None
            step = torch.zeros_like(x)
            step.view(-1)[index] = -value - (1e-9 if value > 0 else -1e-9)
            return x + step

        entry[f"relu {call} [{index}] {value:.2g}"] = losses(family, "cpu", False, move)
    return entry


def losses(family, device, half, see=None):
    net = family["net"].to(device).train()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    fill(net, family.get("prefix", ""))
    call = family.get("call", net)
    groups = [{"params": [p for p in net.parameters() if p.dim() >= 2], "weight_decay": 1e-2},
              {"params": [p for p in net.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    if family.get("adamw", True):
        optimizer = torch.optim.AdamW(groups, lr=1e-3, eps=1e-6)
    else:
        optimizer = torch.optim.SGD(groups, lr=1e-3, momentum=0.9)
    values = []
    for step in range(STEPS):
        optimizer.zero_grad()
        hooks = before_relus(net, see) if see and step == 0 else []
        with torch.autocast(device, torch.bfloat16, enabled=half):
            y = call(family["input"](step).to(device))
        for hook in hooks:
            hook.remove()
        loss = family["loss"](y, family["target"](step).to(device))
        loss.backward()
        optimizer.step()
        values.append(float(f"{loss.item():.9g}"))
    return values


def published():
    meta = torch.device("meta")
    with meta:
        yield "resnet18", torchvision.models.resnet18()
        yield "resnet50", torchvision.models.resnet50()
        yield "efficientnet_b0", torchvision.models.efficientnet_b0()
        yield "gpt2", transformers.GPT2Model(transformers.GPT2Config())
        yield "bert-base-uncased", transformers.BertModel(transformers.BertConfig())
        yield "TinyLlama-1.1B", transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4))
        yield "unet", UNet(2, 3, 2, 64, 4, nn.BatchNorm2d)
        yield "lstm", LstmClassifier()


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    (folder / "snapshots").mkdir(parents=True, exist_ok=True)
    for name, net in published():
        lines = sorted(" ".join(map(str, (key, *value.shape))) for key, value in net.state_dict().items() if not key.endswith(DERIVED))
        (folder / "snapshots" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(4)
    out = {"torch": torch.__version__, "torchvision": torchvision.__version__, "transformers": transformers.__version__,
           "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None, "families": {}}
    for name, family in families().items():
        out["families"][name] = entry = {}
        for kind, device, half in (("cpu float32", "cpu", False), ("cpu bfloat16", "cpu", True), ("cuda float32", "cuda", False), ("cuda bfloat16", "cuda", True)):
            if device == "cuda" and not torch.cuda.is_available():
                continue
            try:
                entry[kind] = losses(family, device, half)
            except Exception as error:  # one family's failure must not cost the others'
                print(name, kind, repr(error)[:300], file=sys.stderr, flush=True)
        if found := ties(family):
            entry["cpu float32 ties"] = found
        print(name, entry, flush=True)
    text = json.dumps(out, indent=1).replace("\n     ", " ").replace("\n    ]", "]").replace("\n    ", " ").replace("\n   ]", "]")
    (folder / "losses.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
