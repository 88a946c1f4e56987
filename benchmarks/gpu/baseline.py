"""The PyTorch contender of compare.py: the same nets, written as PyTorch users write them.

Reads one command a line on standard input and answers each with one line of JSON:
  make <case> <batch> <eager|compile> [weights.safetensors]
  time <steps>
  curve <steps> <rate> <tokens.npy>
  drop
"""
import gc
import json
import resource
import sys
import time

import numpy
import torch
from torch import nn
from torch.nn import functional as F

LENGTH, VOCABULARY = 1024, 50304


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x):
        rows, length, width = x.shape
        parts = (part.view(rows, length, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(width, dim=2))
        y = F.scaled_dot_product_attention(*parts, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(rows, length, width))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt2(nn.Module):
    def __init__(self, width=768, layers=12, heads=12):
        super().__init__()
        self.wte = nn.Embedding(VOCABULARY, width)
        self.wpe = nn.Embedding(LENGTH, width)
        self.h = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, ids, targets):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        for layer in self.h:
            x = layer(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))

    def initialise(self, path):
        """Weights from a file in Hugging Face's layout, whose matrices are [in, out]; or GPT-2's distribution."""
        if path is None:
            for name, weight in self.named_parameters():
                if weight.dim() == 2:
                    nn.init.normal_(weight, std=0.02 / 24 ** 0.5 if name.endswith("c_proj.weight") else 0.02)
            return self
        from safetensors.torch import load_file
        stored = load_file(path)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                given = stored[name]
                weight.copy_(given.T if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")) else given)
        return self


class Lstm(nn.Module):
    """Rows of an image as steps, weighed by additive attention."""

    def __init__(self, inputs=28, hidden=128, outputs=10):
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.attention = nn.Linear(hidden, hidden)
        self.context = nn.Linear(hidden, 1, bias=False)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x):
        states, _ = self.lstm(x)
        weights = self.context(torch.tanh(self.attention(states))).softmax(1)
        return self.head((states * weights).sum(1))


def small(name):
    if name == "lstm":
        return Lstm(), (28, 28)
    if name == "mlp":
        return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)), (784,)
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)), (1, 28, 28)


class Case:
    def __init__(self, name, batch, mode, weights):
        torch.manual_seed(1)
        self.name, self.batch, self.autocast = name, batch, name in ("gpt2", "resnet50")
        torch.cuda.reset_peak_memory_stats()
        if name == "gpt2":
            net = Gpt2().initialise(weights).cuda()
            groups = [{"params": [p for p in net.parameters() if p.dim() >= 2], "weight_decay": 0.01},
                      {"params": [p for p in net.parameters() if p.dim() < 2], "weight_decay": 0.0}]
            self.optimizer = torch.optim.AdamW(groups, 3e-4, fused=True)
            self.inputs = [torch.randint(0, VOCABULARY, (batch, LENGTH), device="cuda") for _ in range(2)]
        elif name == "resnet50":
            import torchvision
            net = torchvision.models.resnet50().cuda().to(memory_format=torch.channels_last)
            self.optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, fused=True)
            self.inputs = [torch.randn(batch, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last), torch.randint(0, 1000, (batch,), device="cuda")]
        else:
            net, shape = small(name)
            net = net.cuda()
            self.optimizer = torch.optim.AdamW(net.parameters(), 1e-3, fused=True)
            self.inputs = [torch.randn(batch, *shape, device="cuda"), torch.randint(0, 10, (batch,), device="cuda")]
        self.net = torch.compile(net) if mode == "compile" else net

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.autocast):
            loss = self.net(*self.inputs) if self.name == "gpt2" else F.cross_entropy(self.net(self.inputs[0]), self.inputs[1])
        loss.backward()
        self.optimizer.step()
        return loss

    def time(self, steps):
        torch.cuda.synchronize()
        used = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        torch.cuda.synchronize()
        elapsed = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        return {"ms": elapsed / steps * 1e3, "cpu_ms": (after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime) / steps * 1e3,
                "peak_gib": torch.cuda.max_memory_allocated() / 2 ** 30, "reserved_gib": torch.cuda.memory_reserved() / 2 ** 30}

    def curve(self, steps, rate, tokens):
        rows = torch.from_numpy(numpy.load(tokens)[: steps * self.batch])
        losses = []
        for step in range(steps):
            batch = rows[step * self.batch:(step + 1) * self.batch].cuda()
            self.inputs[0].copy_(batch[:, :-1])
            self.inputs[1].copy_(batch[:, 1:])
            for group in self.optimizer.param_groups:
                group["lr"] = rate * min(1, (step + 1) / 50)
            losses.append(self.step().item())
        return {"losses": losses}


def main():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    current = None
    for line in sys.stdin:
        try:
            match line.split():
                case ["make", name, batch, mode, *weights]:
                    current = None
                    current = Case(name, int(batch), mode, *(weights or [None]))
                    answer = {"ok": True}
                case ["time", steps]:
                    answer = current.time(int(steps))
                case ["curve", steps, rate, tokens]:
                    answer = current.curve(int(steps), float(rate), tokens)
                case ["drop"]:
                    current = None
                    gc.collect()
                    torch._dynamo.reset()
                    torch.cuda.empty_cache()
                    answer = {"ok": True}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
