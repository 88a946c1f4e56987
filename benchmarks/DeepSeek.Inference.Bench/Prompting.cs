using System.Diagnostics;
using System.Globalization;
using DeepSeek.Inference.Batching;
using DeepSeek.Inference.Generation;
using DeepSeek.Inference.Rows;
using DeepSeek.Inference.Serving;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Bench;

/// <summary>Times what a prompt that fills the context costs until its first token, and the tokens behind half of one, in two models by turns in one process.</summary>
internal static class Prompting
{
    private const int Tokens = 8;

    public static async Task RunAsync(string[] paths, int rounds)
    {
        var models = paths.Select(path => new LoadedVersion("bench", new ServedModel(Guid.Empty, "bench", 1, ""), OnnxSession.Load(path, threads: 1), new BatchLimits(64, TimeSpan.Zero, 100), TimeProvider.System)).ToArray();
        var (prompts, tokens) = (models.Select(_ => new List<double>()).ToArray(), models.Select(_ => new List<double>()).ToArray());
        Console.WriteLine($"load average {(await File.ReadAllTextAsync("/proc/loadavg")).Trim()}; {rounds} rounds by turns, the first not counted");
        for (var round = 0; round <= rounds; round++)
        {
            var words = new byte[models[0].Rows.Columns[0].Context - 1];
            new Random(round).NextBytes(words);
            foreach (var i in Enumerable.Range(0, models.Length).OrderBy(i => (i + round) % models.Length))
            {
                var (prompt, _) = await TimeAsync(models[i], words, 0);
                var (_, each) = await TimeAsync(models[i], words[..(words.Length / 2)], Tokens);
                if (round > 0)
                {
                    prompts[i].Add(prompt);
                    tokens[i].AddRange(each);
                }
            }
        }

        Console.WriteLine("| model | attention | context | prompt of it all, ms, p50 [p10, p90] | a token behind half of it, ms, p50 [p10, p90] |");
        Console.WriteLine("| --- | --- | --- | --- | --- |");
        for (var i = 0; i < models.Length; i++)
        {
            Console.WriteLine($"| {Path.GetFileName(paths[i])} | {models[i].Attention} | {models[i].Rows.Columns[0].Context} | {Spread(prompts[i])} | {Spread(tokens[i])} |");
            models[i].Retire();
        }
    }

    private static async Task<(double Prompt, double[] Each)> TimeAsync(LoadedVersion version, byte[] words, int tokens)
    {
        var column = version.Rows.Columns[0];
        var probabilities = version.Signature.Outputs.Select(o => o.Name).ToList().IndexOf(RowModel.ProbabilitiesOutput);
        using var text = GrowingText.Of(version, column, probabilities, TextData.Tokens(words, column.Context), tokens, new CacheBudget(Options.Create(new InferenceOptions())));
        var times = new double[tokens + 1];
        for (var i = 0; i <= tokens; i++)
        {
            var start = Stopwatch.GetTimestamp();
            await text.NextAsync(default);
            times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            text.Add(i);
        }

        return (times[0], times[1..]);
    }

    private static string Spread(List<double> times)
    {
        double At(double p) => times.Order().ElementAt((int)(p * (times.Count - 1)));
        return string.Create(CultureInfo.InvariantCulture, $"{At(0.5):G4} [{At(0.1):G4}, {At(0.9):G4}]");
    }
}
