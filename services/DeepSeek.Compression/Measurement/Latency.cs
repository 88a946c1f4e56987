using System.Diagnostics;
using DeepSeek.Compression.Graphs;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Compression.Measurement;

/// <summary>Milliseconds of one run.</summary>
public sealed record Percentiles(double P50, double P95)
{
    public static Percentiles Of(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return new Percentiles(At(sorted, 0.50), At(sorted, 0.95));
    }

    /// <summary>Linear between the two nearest ranks.</summary>
    private static double At(double[] sorted, double share)
    {
        var rank = share * (sorted.Length - 1);
        var low = (int)rank;
        return low + 1 == sorted.Length ? sorted[low] : sorted[low] + (rank - low) * (sorted[low + 1] - sorted[low]);
    }
}

public sealed record LatencyReport(Percentiles Fp32, Percentiles Int8, int Runs);

/// <summary>Times two models against each other in one process: the same rows, run by run in turn, first and second swapped each time, so that whatever else the machine does hits both.</summary>
public static class Latency
{
    public static LatencyReport Measure(InferenceSession first, InferenceSession second, IReadOnlyList<ModelBatch> rows, IReadOnlyList<string> outputs, int warmUp, int runs, CancellationToken cancelled = default)
    {
        var timed = (First: new double[runs], Second: new double[runs]);
        for (var i = -warmUp; i < runs; i++)
        {
            cancelled.ThrowIfCancellationRequested();
            var row = rows[(i + warmUp) % rows.Count];
            double a, b;
            if (i % 2 == 0)
                (a, b) = (Time(first, row, outputs), Time(second, row, outputs));
            else
                (b, a) = (Time(second, row, outputs), Time(first, row, outputs));
            if (i >= 0)
                (timed.First[i], timed.Second[i]) = (a, b);
        }
        return new LatencyReport(Percentiles.Of(timed.First), Percentiles.Of(timed.Second), runs);
    }

    private static double Time(InferenceSession session, ModelBatch row, IReadOnlyCollection<string> outputs)
    {
        var started = Stopwatch.GetTimestamp();
        using (row.Run(session, outputs))
            return Stopwatch.GetElapsedTime(started).TotalMilliseconds;
    }
}
