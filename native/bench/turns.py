"""Timing candidates by turns on one GPU, for the benchmarks beside this file."""
import statistics

import torch

FLUSH = torch.empty(256 << 20, dtype=torch.int8, device="cuda")


def measure(candidates, runs, sets):
    """{name: step(set)} -> {name: (p50, p10, p90)} in ms; the candidates take turns, each run from a flushed L2 and over the input sets in turn."""
    times = {name: [] for name in candidates}
    for step in candidates.values():
        step(0), step(1)
    for run in range(runs):
        for name, step in candidates.items():
            FLUSH.zero_()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            step(run % sets)
            end.record()
            torch.cuda.synchronize()
            times[name].append(start.elapsed_time(end))
    return {name: tuple(statistics.quantiles(t, n=10)[i] for i in (4, 0, 8)) for name, t in times.items()}
