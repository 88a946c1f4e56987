"""Times the engine's training steps against PyTorch's on one GPU, by turns in one run, and writes a table and JSON.

Usage: python3 compare.py --engine "<command>" [--out folder] [--rounds N] [--only case,...]
The contenders are child processes that keep their step built; in every round each of them runs a series of steps, one after the
other, so that drifts of the card fall on all alike. Before GPT-2 is timed, both sides train from the same weights on the same
tokens and their losses are compared.
"""
import argparse
import collections
import concurrent.futures
import json
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
SMALL = [("mlp", 64, 300), ("lenet", 64, 300), ("lstm", 64, 300)]


class Contender:
    def __init__(self, name, command, mode):
        self.name, self.mode = name, mode
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        while True:
            answer = self.process.stdout.readline()
            if not answer:
                raise RuntimeError(f"{self.name} ended at '{line}'")
            if answer.startswith("{"):
                break
        answer = json.loads(answer)
        if "error" in answer:
            raise RuntimeError(f"{self.name}, '{line}': {answer['error']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


def race(contenders, case, batch, steps, rounds, warmup, weights=""):
    """By turns; a contender's series is dropped from memory after the last round."""
    times = collections.defaultdict(list)
    last, alive = {}, []
    for contender in contenders:
        try:
            start = time.time()
            contender.ask(f"make {case} {batch} {contender.mode} {weights}".strip())
            contender.ask(f"time {warmup}")
            print(f"  {contender.name} ready after {time.time() - start:.1f} s", file=sys.stderr)
            alive.append(contender)
        except RuntimeError as error:
            print(f"  {error}"[:1500], file=sys.stderr)
            last[contender.name] = {"error": str(error)[:1500]}
    for _ in range(rounds):
        for contender in alive:
            last[contender.name] = contender.ask(f"time {steps}")
            times[contender.name].append(last[contender.name]["ms"])
    rows = []
    for contender in contenders:
        try:
            contender.ask("drop")
        except (RuntimeError, BrokenPipeError):
            pass
        series = sorted(times[contender.name])
        row = {"case": case, "batch": batch, "contender": contender.name, "steps": steps, "rounds": rounds, **last[contender.name]}
        if series:
            row |= {"median_ms": statistics.median(series), "least_ms": series[0], "most_ms": series[-1]}
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
    return rows


def tokens(path, rows, width=1025, vocabulary=50304):
    """Words of the Python sources on this machine, numbered by frequency: a text with structure to learn."""
    import numpy
    import torch
    words = []
    for source in sorted(pathlib.Path(torch.__file__).parent.rglob("*.py")):
        words += re.findall(r"\w+|[^\w\s]|\n|[ \t]+", source.read_text(errors="replace"))
        if len(words) >= rows * width:
            break
    known = {word: i for i, (word, _) in enumerate(collections.Counter(words).most_common(vocabulary - 1))}
    ids = numpy.array([known.get(word, vocabulary - 1) for word in words], dtype=numpy.int64)
    ids = numpy.resize(ids, rows * width).reshape(rows, width)
    numpy.save(path, ids[numpy.random.default_rng(1).permutation(rows)])
    return len(words), len(known)


def weights(path):
    """GPT-2's initial weights, matrices [in, out] as Hugging Face names and keeps them."""
    import torch
    from safetensors.torch import save_file
    sys.path.insert(0, str(HERE))
    import baseline
    torch.manual_seed(7)
    net = baseline.Gpt2().initialise(None)
    for name, weight in net.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.zeros_(weight)
    save_file({name: (w.T if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")) else w).contiguous() for name, w in net.state_dict().items()}, path)


def curves(contenders, out, steps, batch):
    work = pathlib.Path("/dev/shm") if pathlib.Path("/dev/shm").is_dir() else out
    init, data = work / "gpt2-init.safetensors", work / "gpt2-tokens.npy"
    count, known = tokens(data, steps * batch)
    weights(init)
    result = {"steps": steps, "batch": batch, "words": count, "vocabulary_used": known, "losses": {}}
    for contender in contenders:
        try:
            contender.ask(f"make gpt2 {batch} {contender.mode} {init}")
            result["losses"][contender.name] = contender.ask(f"curve {steps} 6e-4 {data}")["losses"]
            contender.ask("drop")
        except RuntimeError as error:
            result.setdefault("errors", {})[contender.name] = str(error)[:1500]
            print(error, file=sys.stderr)
    init.unlink()
    data.unlink()
    reference, *others = result["losses"].items()
    result["first_loss"], result["last_losses"], result["gaps"] = reference[1][0], {n: statistics.mean(l[-10:]) for n, l in result["losses"].items()}, {}
    for name, losses in others:
        gaps = [abs(a - b) for a, b in zip(reference[1], losses)]
        result["gaps"][name] = {"largest": max(gaps), "mean": statistics.mean(gaps), "median": statistics.median(gaps), "mean_last_50": statistics.mean(gaps[-50:])}
    print(json.dumps({k: v for k, v in result.items() if k != "losses"}), file=sys.stderr)
    return result


def together(contenders, line):
    """Asks all of them at once: building a step is the host's work."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(lambda c: c.ask(line.replace("MODE", c.mode)), contenders))


def eight_bits_speed(contender, cases, rounds, out):
    """GPTs in bfloat16 and under the precision controller, both captured, by turns in one process: the same weights and optimizer."""
    rows = []
    for case, batch in cases:
        start = time.time()
        contender.ask(f"make {case} {batch} {contender.mode}")
        made = time.time() - start
        contender.ask("time 6 plain")
        contender.ask("time 42")
        print(f"  {case} made in {made:.1f} s, ready after {time.time() - start:.1f} s", file=sys.stderr)
        plain, eight = [], []
        for _ in range(3 * rounds):  # series in which the controller looked do not count
            if len(eight) == rounds:
                break
            plain.append(contender.ask("time 10 plain")["ms"])
            last = contender.ask("time 10")
            eight.append(last["ms"])
            if last["looks"]:
                eight.pop()
        contender.ask("drop")
        rows.append({"case": case, "batch": batch, "bf16_ms": plain, "fp8_ms": eight, "speedup": statistics.median(plain) / statistics.median(eight) if eight else None, "precision": last["precision"], "peak_gib": last["peak_gib"]})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        out.mkdir(parents=True, exist_ok=True)
        (out / "fp8-speed.json").write_text(json.dumps(rows, indent=1))
    return rows


def eight_bits_curve(contenders, out, case, steps, batch):
    """Losses of both from the same weights over the same tokens."""
    data = (pathlib.Path("/dev/shm") if pathlib.Path("/dev/shm").is_dir() else out) / "wide-tokens.npy"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        made = pool.submit(together, contenders, f"make {case} {batch} MODE")
        words, known = tokens(data, steps * batch)
        made.result()
    result = {"case": case, "steps": steps, "batch": batch, "words": words, "vocabulary_used": known, "losses": {}, "seconds": {}}
    for contender in contenders:
        start = time.time()
        answer = contender.ask(f"curve {steps} 3e-4 {data}")
        result["losses"][contender.name], result["seconds"][contender.name] = answer["losses"], time.time() - start
        result["precision"] = answer["precision"] or result.get("precision")
        contender.ask("drop")
    data.unlink()
    (first, plain), (_, eight) = result["losses"].items()
    for count in (50, 100):
        means = [statistics.mean(losses[-count:]) for losses in (plain, eight)]
        result[f"last_{count}"] = {"means": means, "gap": means[1] / means[0] - 1}
    (out / "fp8-curve.json").write_text(json.dumps(result))
    print(json.dumps({k: v for k, v in result.items() if k != "losses"}), file=sys.stderr)
    return result


def energy(contenders, out, batch, seconds):
    """Joules a token from NVML's counter over a series of at least so many seconds; the card's other processes stand still meanwhile."""
    import pynvml
    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    rows = []
    for contender in contenders:
        contender.ask(f"make gpt2 {batch} {contender.mode}")
        contender.ask("time 6")
        steps = int(seconds * 1e3 / contender.ask("time 10")["ms"]) + 1
        before = pynvml.nvmlDeviceGetTotalEnergyConsumption(card)
        ms = contender.ask(f"time {steps}")["ms"]
        joules = (pynvml.nvmlDeviceGetTotalEnergyConsumption(card) - before) / 1e3
        contender.ask("drop")
        rows.append({"contender": contender.name, "batch": batch, "steps": steps, "ms": ms, "watts": joules / (steps * ms / 1e3), "joules_per_1k_tokens": joules / (steps * batch * 1.024)})
        print(json.dumps(rows[-1]), file=sys.stderr)
    return rows


def table(rows):
    lines = ["| case | batch | contender | ms a step, median (least to most) | a second | CPU ms a step | peak GiB |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        if "median_ms" not in row:
            lines.append(f"| {row['case']} | {row['batch']} | {row['contender']} | failed | | | |")
            continue
        each = row["batch"] * (1024 if row["case"] == "gpt2" else 1)
        lines.append(f"| {row['case']} | {row['batch']} | {row['contender']} | {row['median_ms']:.3f} ({row['least_ms']:.3f} to {row['most_ms']:.3f}) "
                     f"| {each / row['median_ms'] * 1e3:,.0f} | {row['cpu_ms']:.2f} | {row['peak_gib']:.1f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True, help="command of DeepSeek.Gpu.Benchmarks")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="small,resnet50,gpt2,curves", help="of small, resnet50, gpt2, curves, energy, fp8-speed, fp8-curve")
    parser.add_argument("--compile", action="store_true", help="also time torch.compile")
    parser.add_argument("--curve-steps", type=int, default=200)
    parser.add_argument("--gpt-batches", default="32,64")
    parser.add_argument("--fp8-cases", default="gpt-2048x16:8,gpt-4096x5:8,gpt2:32", help="of fp8-speed: case:batch")
    parser.add_argument("--fp8-curve", default="gpt-2048x8:4:500", help="case:batch:steps")
    parser.add_argument("--energy-seconds", type=float, default=30)
    options = parser.parse_args()
    chosen = options.only.split(",")
    import torch
    report = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": []}
    python = [sys.executable, str(HERE / "baseline.py")]
    captured = Contender("engine captured", shlex.split(options.engine), "captured")
    if all(name.startswith("fp8") for name in chosen):  # they need no others
        contenders = [captured]
    else:
        contenders = [Contender("PyTorch eager", python, "eager"), Contender("engine eager", shlex.split(options.engine), "eager"), captured]
    if options.compile:
        contenders.insert(1, Contender("torch.compile", python, "compile"))
    eager, captured = contenders[0], contenders[-1]
    # GPT-2 alone has a form between the fast one and autocast.
    careful = Contender("engine captured, float32 residual", shlex.split(options.engine), "captured-float32-residual")
    sparing = Contender("engine captured, blocks computed again", shlex.split(options.engine), "captured-checkpointed")

    def add(*arguments, **named):
        report["rows"] += race(*arguments, rounds=options.rounds, **named)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "compare.json").write_text(json.dumps(report, indent=1))

    if "small" in chosen:
        for case, batch, steps in SMALL:
            add([c for c in contenders if c.mode != "compile"], case, batch, steps, warmup=100)
    if "curves" in chosen:
        report["curves"] = curves([eager, captured, careful], options.out, options.curve_steps, 32)
    if "gpt2" in chosen:
        for batch in map(int, options.gpt_batches.split(",")):
            if batch > 32:  # two eager steps of this size do not fit on one card together
                add([eager], "gpt2", batch, 8, warmup=4)
                add([c for c in contenders if c.mode != "eager"] + [careful, sparing], "gpt2", batch, 8, warmup=6)
            else:
                add(contenders + [careful], "gpt2", batch, 8, warmup=6)
    if "resnet50" in chosen:
        add([c for c in contenders if c.name != "engine eager"], "resnet50", 256, 10, warmup=8)
    if "energy" in chosen:
        report["energy"] = energy([c for c in contenders if c.name != "engine eager"], options.out, 32, options.energy_seconds)
    if "fp8-speed" in chosen or "fp8-curve" in chosen:
        eight = Contender("engine, FP8 where it pays", shlex.split(options.engine), "fp8")
        if "fp8-speed" in chosen:
            eight.mode = "fp8-quick"
            report["fp8_speed"] = eight_bits_speed(eight, [(case.split(":")[0], int(case.split(":")[1])) for case in options.fp8_cases.split(",")], options.rounds, options.out)
            eight.mode = "fp8"
        if "fp8-curve" in chosen:
            case, batch, steps = options.fp8_curve.split(":")
            report["fp8_curve"] = eight_bits_curve([captured, eight], options.out, case, int(steps), int(batch))
        eight.close()
    for contender in [*contenders, careful, sparing]:
        contender.close()
    text = table(report["rows"])
    (options.out / "compare.md").write_text(text + "\n")
    (options.out / "compare.json").write_text(json.dumps(report, indent=1))
    print(text)


if __name__ == "__main__":
    main()
