using System.Globalization;
using DeepSeek.Engine.Kernels;
using DeepSeek.Models;

namespace DeepSeek.Gpu.Benchmarks.Accuracy;

/// <summary>What is trained on what; the defaults are a GPT of 88 million weights at 4096 tokens, for one H100.</summary>
internal sealed record AccuracyOptions
{
    public required string Corpus { get; init; }
    public required string Output { get; init; }
    public int Steps { get; init; } = 1200;
    public int Batch { get; init; } = 24;
    public int Length { get; init; } = 4096;
    public int Width { get; init; } = 768;
    public int Layers { get; init; } = 12;
    public int Heads { get; init; } = 12;
    public double Rate { get; init; } = 6e-4;
    public int Seed { get; init; } = 1;
    public int Validation { get; init; } = 160;
    public int Probes { get; init; } = 160;
    public int QueryBlock { get; init; } = 128;
    public int KeyBlock { get; init; } = 128;
    public int Stride { get; init; } = 16;
    public double TrainDensity { get; init; } = 0.3;
    public string Densities { get; init; } = "1,0.5,0.3,0.2,0.1";

    /// <summary>Share of the training rows that hide needles, so that there is something to retrieve at every distance.</summary>
    public double Needles { get; init; } = 0.5;

    /// <summary>Needles in such a row; a probe hides one.</summary>
    public int NeedlesInARow { get; init; } = 8;

    internal GptConfig Dense => new() { Vocabulary = 256, Length = Length, Width = Width, Layers = Layers, Heads = Heads };

    internal SparsePolicy Policy(double density) => new() { Density = density, QueryBlock = QueryBlock, KeyBlock = KeyBlock, Stride = Stride };

    internal double[] DropIn => [.. Densities.Split(',').Select(d => double.Parse(d, CultureInfo.InvariantCulture))];

    /// <summary>From <c>--name value</c> pairs named as the properties in kebab case.</summary>
    internal static AccuracyOptions Parse(ReadOnlySpan<string> words)
    {
        var options = new AccuracyOptions { Corpus = "", Output = "" };
        for (var i = 0; i < words.Length; i += 2)
        {
            var name = words[i].TrimStart('-').Replace("-", "", StringComparison.Ordinal);
            var property = typeof(AccuracyOptions).GetProperties().FirstOrDefault(p => p.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
                ?? throw new ArgumentException($"There is no option {words[i]}.");
            var value = i + 1 < words.Length ? words[i + 1] : throw new ArgumentException($"{words[i]} needs a value.");
            property.SetValue(options, Convert.ChangeType(value, property.PropertyType, CultureInfo.InvariantCulture));
        }
        return options.Corpus.Length > 0 && options.Output.Length > 0 ? options : throw new ArgumentException("--corpus FOLDER and --output FILE are needed.");
    }
}
