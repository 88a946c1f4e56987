using System.Diagnostics;
using System.Globalization;
using DeepSeek.Inference.Batching;
using DeepSeek.Inference.Generation;
using DeepSeek.Inference.Rows;
using DeepSeek.Inference.Serving;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Bench;

/// <summary>Times the tokens of a text that a language model writes from keys and values, and from whole passes, by turns in one process.</summary>
internal static class Writing
{
    private const int Rounds = 5;

    public static async Task RunAsync(string path)
    {
        var version = new LoadedVersion("bench", new ServedModel(Guid.Empty, "bench", 1, ""), OnnxSession.Load(path, threads: 1), new BatchLimits(64, TimeSpan.Zero, 100), TimeProvider.System);
        var column = version.Rows.Columns[0];
        var probabilities = version.Signature.Outputs.Select(o => o.Name).ToList().IndexOf(RowModel.ProbabilitiesOutput);
        var budget = new CacheBudget(Options.Create(new InferenceOptions()));
        Console.WriteLine($"load average {(await File.ReadAllTextAsync("/proc/loadavg")).Trim()}; {version.Cache!.BytesPerToken} bytes of keys and values a token");
        Console.WriteLine("| tokens before | how | first token, ms | each further, ms, p50 [p10, p90] |");
        Console.WriteLine("| --- | --- | --- | --- |");
        foreach (var before in new[] { column.Context / 8, column.Context / 2 })
        {
            var prompt = TextData.Tokens(new byte[before - 1], column.Context);
            var (cached, whole) = (new Times(), new Times());
            for (var round = 0; round < Rounds; round++)
            {
                await WriteAsync(GrowingText.Of(version, column, probabilities, prompt, 64, budget), 64, cached);
                await WriteAsync(new WholeText(version, column, probabilities, prompt), 8, whole);
            }

            Console.WriteLine($"| {before} | keys and values | {cached}");
            Console.WriteLine($"| {before} | whole passes | {whole}");
        }

        version.Retire();
    }

    private static async Task WriteAsync(GrowingText text, int tokens, Times times)
    {
        using (text)
        {
            for (var i = 0; i < tokens; i++)
            {
                var start = Stopwatch.GetTimestamp();
                await text.NextAsync(default);
                (i == 0 ? times.First : times.Further).Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
                text.Add(i);
            }
        }
    }

    private sealed class Times
    {
        public List<double> First { get; } = [];

        public List<double> Further { get; } = [];

        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{At(First, 0.5):F2} | {At(Further, 0.5):F2} [{At(Further, 0.1):F2}, {At(Further, 0.9):F2}] |");

        private static double At(List<double> times, double p) => times.Order().ElementAt((int)(p * (times.Count - 1)));
    }
}
