using System.Diagnostics;
using System.Text.Json;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Gpu.Benchmarks.Accuracy;

/// <summary>
/// What sparse attention costs in accuracy: a decoder trained with dense attention, examined as it is and with sparse attention dropped in;
/// and the same decoder trained with sparse attention from its first step. The file is written anew after each part.
/// </summary>
internal static class AccuracyStudy
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    internal static int Run(AccuracyOptions options, Device device)
    {
        var corpus = new Corpus(options.Corpus);
        var words = corpus.WordsPerByte(options.Validation, options.Length);
        var rows = new List<object>();
        float[][]? reference = null;
        var report = new Dictionary<string, object>
        {
            ["command"] = Environment.CommandLine,
            ["device"] = $"{device}",
            ["options"] = options,
            ["corpus"] = JsonElement.Parse(File.ReadAllText(Path.Combine(options.Corpus, "corpus.json"))),
            ["results"] = rows,
        };

        if (options.Parts.Contains("dense", StringComparison.Ordinal))
        {
            using var dense = new Student(options, corpus, device, options.Dense);
            report["weights"] = dense.Weights;
            Console.WriteLine($"{dense.Weights:N0} weights, {corpus.TrainBytes:N0} bytes to train on");
            report["denseCurve"] = Timed("training, dense", dense.Train).Select(p => new double[] { p.Step, p.Loss });
            Examine("dense", dense, null, null);
            using var sparse = new Student(options, corpus, device, options.Dense with { Sparse = options.TrainPolicy });
            sparse.TakeWeightsOf(dense);
            foreach (var (form, policy, byMass) in options.DropIn)
            {
                sparse.Use(policy);
                Examine($"dropped in, {form}", sparse, policy, byMass ? sparse.FitMass(policy.Density) : null);
            }
        }
        if (options.Parts.Contains("sparse", StringComparison.Ordinal))
        {
            using var native = new Student(options, corpus, device, options.Dense with { Sparse = options.TrainPolicy });
            report["sparseCurve"] = Timed("training, sparse", native.Train).Select(p => new double[] { p.Step, p.Loss });
            Examine($"trained, {options.TrainForm}", native, options.TrainPolicy, null);
        }
        return 0;

        void Examine(string how, Student student, SparsePolicy? policy, double? mass)
        {
            var ((losses, kept), missed) = (student.Validate(), student.Probe());
            // A dense net's answer does not depend on what stands behind.
            var newest = policy is null ? [] : student.Decode();
            var found = 1 - missed.Count / (double)options.Probes;
            reference ??= losses;
            // A block's choice knows all queries of the block. The last one's own prediction is the only one that nothing behind it could help.
            var (all, last) = (Gap(losses, reference, 1), Gap(losses, reference, policy?.QueryBlock ?? 1));
            // The same bytes behind the same texts, of which the reference saw the rest too; a dense net's answer does not depend on that.
            var decoded = Paired([.. newest.Select((window, n) => window.Select(x => (double)x.Loss - reference[n][x.Place]).ToArray())]);
            rows.Add(new
            {
                attention = how,
                density = policy?.Density,
                mass,
                keptOfVisible = kept,
                lossPerByte = all.Loss,
                perplexityGap = Math.Exp(all.Mean) - 1,
                standardError = all.Error,
                lastOfBlock = new { every = policy?.QueryBlock, lossPerByte = last.Loss, lossGap = last.Mean / (last.Loss - last.Mean), perplexityGap = Math.Exp(last.Mean) - 1, standardError = last.Error, perplexityPerWordGap = Math.Exp(last.Mean / words) - 1 },
                decoded = new { bytes = newest.Sum(window => window.Length), perplexityGap = Math.Exp(decoded.Mean) - 1, standardError = decoded.Error },
                lossPerWindow = losses.Select(window => Math.Round(window.Average(), 6)), // pairs this net's windows with those of one from another run
                needlesFound = found,
                needlesMissed = missed,
            });
            Console.WriteLine($"{how,-44} {policy?.Density,5:P0} {(mass is null ? "" : $"mass {mass:F3} ")}loss {all.Loss:F5}, perplexity of a byte {Math.Exp(all.Mean) - 1:+0.00 %;-0.00 %} ± {all.Error:P2}; "
                + $"last of a block {last.Loss:F5}, {last.Mean / (last.Loss - last.Mean):+0.00 %;-0.00 %} of loss, {Math.Exp(last.Mean) - 1:+0.00 %;-0.00 %} ± {last.Error:P2}, of a word {Math.Exp(last.Mean / words) - 1:+0.00 %;-0.00 %}; "
                + $"decoded {Math.Exp(decoded.Mean) - 1:+0.00 %;-0.00 %} ± {decoded.Error:P2}; needles {found:P1}, kept {(kept.Length > 0 ? kept.Average() : 1):P1}");
            // A cut run keeps what it has.
            File.WriteAllText(options.Output, JsonSerializer.Serialize(report, s_json));
        }

        // Over the bytes that every n-th query predicts: mean loss, mean difference from the reference, and its standard error by windows.
        static (double Loss, double Mean, double Error) Gap(float[][] losses, float[][] reference, int every)
        {
            double[] Of(Func<int, int, double> value, int window) => [.. Enumerable.Range(0, losses[window].Length / every).Select(i => value(window, (i + 1) * every - 1))];

            var (mean, error) = Paired([.. Enumerable.Range(0, losses.Length).Select(w => Of((n, i) => (double)losses[n][i] - reference[n][i], w))]);
            return (Enumerable.Range(0, losses.Length).Average(w => Of((n, i) => losses[n][i], w).Average()), mean, error);
        }

        // Mean of differences in [windows, bytes], and its standard error by windows.
        static (double Mean, double Error) Paired(double[][] windows)
        {
            var differences = windows.Where(window => window.Length > 0).Select(window => window.Average()).DefaultIfEmpty().ToArray();
            var mean = differences.Average();
            return (mean, differences.Length > 1 ? Math.Sqrt(differences.Sum(d => (d - mean) * (d - mean)) / (differences.Length - 1) / differences.Length) : 0);
        }

        static T Timed<T>(string what, Func<T> work)
        {
            var start = Stopwatch.GetTimestamp();
            var result = work();
            Console.WriteLine($"{what}: {Stopwatch.GetElapsedTime(start).TotalSeconds:F0} s");
            return result;
        }
    }
}
