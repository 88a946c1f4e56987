using System.Globalization;
using DeepSeek.Engine.Data;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Benchmarks.Adaptive;

/// <summary>
/// Steps that the adaptive optimiser needs to reach AdamW+cosine's final held-out loss. Both get the same trials on one seed
/// (rates × dropouts; the baseline's gradients are clipped to a norm of 1, it warms up over 5 % of the steps) and are then judged on five others; the target is the baseline's mean final loss over those.
/// </summary>
internal static class AdaptiveBenchmark
{
    private const long TuningSeed = 100;
    private const double Longest = 1.5;
    private static readonly double[] s_rates = [3e-4, 1e-3, 3e-3, 1e-2];

    internal static int Run(string data, string fashion, string texts, string only, int seeds)
    {
        EngineRuntime.Threads = 1;
        EngineRuntime.RequireDeterminism();
        JudgedTask[] tasks = [BreastCancerTask.Load(Path.Combine(data, "breast_cancer.csv")), FashionTask.Load(fashion), CharacterTask.Load(texts)];
        Console.WriteLine("| task | AdamW+cosine: rate, dropout | adaptive: rate, dropout | target loss ± sd | baseline's own first hit | adaptive's steps to target, by seed | median ratio |");
        Console.WriteLine("| --- | --- | --- | --- | --- | --- | --- |");
        foreach (var task in tasks.Where(t => t.Name.Contains(only, StringComparison.OrdinalIgnoreCase)))
        {
            Judge(task, seeds);
        }
        return 0;
    }

    private static void Judge(JudgedTask task, int seeds)
    {
        var trials = s_rates.SelectMany(rate => new[] { 0, task.Dropout }.Select(dropout => (Rate: rate, Dropout: dropout))).ToArray();
        var baseline = trials.MinBy(t => Report(task, "AdamW+cosine", t, Train(task, TuningSeed, t.Rate, t.Dropout, false, task.Steps)[^1].Loss));
        var adaptive = trials.MinBy(t => Report(task, "adaptive", t, Train(task, TuningSeed, t.Rate, t.Dropout, true, task.Steps)[^1].Loss));
        var plain = Seeds(seeds).Select(s => Train(task, s, baseline.Rate, baseline.Dropout, false, task.Steps)).ToArray();
        double[] finals = [.. plain.Select(p => p[^1].Loss)];
        var target = finals.Average();
        var deviation = Math.Sqrt(finals.Sum(f => (f - target) * (f - target)) / Math.Max(1, seeds - 1));
        double[] own = [.. plain.Select(p => Hit(p, target))];
        var runs = Seeds(seeds).Select(s => Train(task, s, adaptive.Rate, adaptive.Dropout, true, (long)(task.Steps * Longest), target)).ToArray();
        double[] hits = [.. runs.Select(r => Hit(r, target))];
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"| {task.Name}, {task.Steps} steps | {baseline.Rate:g}, {baseline.Dropout:g} | {adaptive.Rate:g}, {adaptive.Dropout:g} | {target:f4} ± {deviation:f4} | {Text(own)} | {Text(hits)} | {Ratio(hits, task.Steps)} (to the baseline's own first hit: {Ratio(hits, Median(own))}) |"));
    }

    private static IEnumerable<long> Seeds(int count) => Enumerable.Range(1, count).Select(s => (long)s);

    /// <summary>Held-out losses by step; ends early two measurements after the target is reached.</summary>
    private static List<(long Step, double Loss)> Train(JudgedTask task, long seed, double rate, double dropout, bool adapt, long steps, double target = double.NegativeInfinity)
    {
        EngineRuntime.Seed(seed);
        using var net = task.Create(dropout);
        using Optimizer optimizer = adapt ? new AdaptiveOptimizer(net, new AdaptiveOptions { InitialLearningRate = rate }) : new AdamW(net);
        var adaptive = optimizer as AdaptiveOptimizer;
        var course = new List<(long, double)>();
        for (var step = 0L; step < steps; step++)
        {
            using (var scope = TensorScope.Open())
            {
                var loss = task.Loss(net, new SeededRandom(seed, step));
                loss.Backward();
                adaptive?.Observe(loss.Item());
            }
            if (adaptive is null)
            {
                optimizer.ClipGradients(1);
                optimizer.Step(LearningRate.Cosine(rate, step, steps, 0.05));
            }
            else
            {
                optimizer.Step();
            }
            optimizer.ClearGradients();
            if ((step + 1) % task.Interval == 0)
            {
                net.Train(false);
                using (optimizer.UseAverage())
                {
                    course.Add((step + 1, task.Validate(net)));
                }
                net.Train();
                adaptive?.ObserveValidation(course[^1].Item2);
                if (double.IsFinite(Hit(course, target)))
                {
                    break;
                }
            }
        }
        if (adaptive is not null && Environment.GetEnvironmentVariable("DEEPSEEK_BENCH_LOG") == "1")
        {
            Console.Error.WriteLine(string.Join(Environment.NewLine, adaptive.Log));
        }
        return course;
    }

    /// <summary>First of two measurements in a row at or below the target; infinity where there is none.</summary>
    private static double Hit(List<(long Step, double Loss)> course, double target)
    {
        for (var i = 0; i + 1 < course.Count; i++)
        {
            if (course[i].Loss <= target && course[i + 1].Loss <= target)
            {
                return course[i].Step;
            }
        }
        return double.PositiveInfinity;
    }

    private static double Report(JudgedTask task, string method, (double Rate, double Dropout) trial, double loss)
    {
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{task.Name}: {method}, rate {trial.Rate:g}, dropout {trial.Dropout:g}: {loss:f4}"));
        return double.IsNaN(loss) ? double.PositiveInfinity : loss;
    }

    private static string Ratio(double[] hits, double steps) =>
        double.IsFinite(Median(hits)) && double.IsFinite(steps) ? (Median(hits) / steps).ToString("f2", CultureInfo.InvariantCulture) : "—";

    private static double Median(double[] values) => values.Order().ElementAt(values.Length / 2);

    private static string Text(double[] values) => string.Join(", ", values.Select(v => double.IsFinite(v) ? v.ToString("f0", CultureInfo.InvariantCulture) : "not reached"));
}
