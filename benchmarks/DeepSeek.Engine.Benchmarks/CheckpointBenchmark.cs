using System.Diagnostics;
using System.Globalization;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Engine.Benchmarks;

/// <summary>
/// A GPT's training step with all activations kept, with every block computed again, and with as many as bring the activations to
/// half: most bytes of a step and its time, the three taking turns.
/// </summary>
internal static class CheckpointBenchmark
{
    private const int Batch = 8;
    private const int Length = 256;
    private const int Vocabulary = 8192;
    private const double Mebibyte = 1 << 20;

    internal static int Run(int rounds)
    {
        var device = Device.Best;
        EngineRuntime.Seed(1);
        using var net = new Gpt(new GptConfig { Vocabulary = Vocabulary, Length = Length, Width = 384, Layers = 8, Heads = 6, Dropout = 0.1 });
        net.To(device);
        using var optimizer = new AdamW(net) { LearningRate = 3e-4 };
        using var scope = TensorScope.Open();
        var random = new Data.SeededRandom(1);
        var ids = new long[Batch * (Length + 1)];
        foreach (ref var id in ids.AsSpan())
        {
            id = random.Below(Vocabulary);
        }
        var all = Tensor.From<long>(ids, Batch, Length + 1).To(device);
        var (x, y) = (all.Narrow(1, 0, Length), all.Narrow(1, 1, Length));
        var cost = CheckpointPlanner.Measure(net, () => net.Loss(x, y));
        (string Name, CheckpointPlan Plan)[] ways =
        [
            ("kept", CheckpointPlanner.Choose(cost, long.MaxValue)), ("half", CheckpointPlanner.Choose(cost, cost.Kept / 2)), ("every block", CheckpointPlanner.Choose(cost, 0)),
        ];
        var times = ways.Select(_ => new List<double>()).ToArray();
        var peaks = new long[ways.Length];
        for (var round = -1; round < rounds; round++)
        {
            for (var i = 0; i < ways.Length; i++)
            {
                ways[i].Plan.Apply(net);
                var (seconds, peak) = Step();
                if (round >= 0)
                {
                    times[i].Add(seconds);
                    peaks[i] = Math.Max(peaks[i], peak);
                }
            }
        }
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{device}, libtorch {EngineRuntime.LibtorchVersion}, {EngineRuntime.Threads} threads, {net.Parameters().Sum(p => p.Tensor.Tensor.Elements)} weights, {Batch} x {Length} tokens, {rounds} rounds"));
        for (var i = 0; i < ways.Length; i++)
        {
            times[i].Sort();
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{ways[i].Name,-12} {ways[i].Plan.Segments.Count} of {cost.Segments.Count} blocks again, planned {ways[i].Plan.Planned / Mebibyte,7:F1} MiB, most above weights and optimizer {peaks[i] / Mebibyte,7:F1} MiB, step {1e3 * times[i][rounds / 2],8:F1} ms ({1e3 * times[i][0]:F1} to {1e3 * times[i][^1]:F1})"));
        }
        return 0;

        (double Seconds, long Peak) Step()
        {
            var before = AllocatorMemory.Of(device).Current;
            AllocatorMemory.ResetPeak(device);
            var start = Stopwatch.GetTimestamp();
            using (var inner = TensorScope.Open())
            {
                var loss = net.Loss(x, y);
                loss.Backward();
                optimizer.Step();
                optimizer.ClearGradients();
                loss.Item();
            }
            return (Stopwatch.GetElapsedTime(start).TotalSeconds, AllocatorMemory.Of(device).Peak - before);
        }
    }
}
