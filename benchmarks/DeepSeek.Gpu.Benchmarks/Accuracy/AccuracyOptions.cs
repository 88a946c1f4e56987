using System.Globalization;
using DeepSeek.Engine.Kernels;
using DeepSeek.Models;

namespace DeepSeek.Gpu.Benchmarks.Accuracy;

/// <summary>What is trained on what; the defaults are a decoder of 35 million weights at 4096 tokens, for one H100.</summary>
internal sealed record AccuracyOptions
{
    public required string Corpus { get; init; }
    public required string Output { get; init; }
    public int Steps { get; init; } = 4000;
    public int Batch { get; init; } = 8;
    public int Length { get; init; } = 4096;
    public int Width { get; init; } = 512;
    public int Layers { get; init; } = 12;
    public int Heads { get; init; } = 8;
    public int KeyHeads { get; init; } = 4;
    public int Inner { get; init; } = 1408;
    public double Rate { get; init; } = 1.5e-3;

    /// <summary>Greatest norm of all gradients together.</summary>
    public double Clip { get; init; } = 1;
    public int Seed { get; init; } = 1;
    public int Validation { get; init; } = 128;
    public int Probes { get; init; } = 100;

    /// <summary>Densities, block sizes and strides at which sparse attention is dropped in: every combination.</summary>
    public string Densities { get; init; } = "0.5,0.3,0.2,0.1";
    public string Blocks { get; init; } = "128";
    public string Strides { get; init; } = "16";

    /// <summary><c>count</c>: the same share of blocks in every row; <c>mass</c>: the same share of attention, fitted to the density.</summary>
    public string Choices { get; init; } = "count,mass";

    /// <summary>Density of the net that is trained sparse from its first step; its blocks and stride are the first of the lists.</summary>
    public double TrainDensity { get; init; } = 0.3;

    /// <summary>What to do: <c>dense</c>, <c>sparse</c> or both.</summary>
    public string Parts { get; init; } = "dense,sparse";

    /// <summary>Share of the training rows that hide needles, so that there is something to retrieve at every distance.</summary>
    public double Needles { get; init; } = 0.5;

    /// <summary>Needles in such a row; a probe hides one.</summary>
    public int NeedlesInARow { get; init; } = 12;

    internal LlamaConfig Dense => new() { Vocabulary = 256, Length = Length, Width = Width, Layers = Layers, Heads = Heads, KeyHeads = KeyHeads, Inner = Inner, Tied = true };

    internal IEnumerable<(SparsePolicy Policy, bool ByMass)> DropIn =>
        from block in Numbers(Blocks)
        from stride in Numbers(Strides)
        from choice in Choices.Split(',')
        from density in Numbers(Densities)
        select (Policy(density, (int)block, (int)stride), choice == "mass");

    internal SparsePolicy TrainPolicy => Policy(TrainDensity, (int)Numbers(Blocks)[0], (int)Numbers(Strides)[0]);

    private static SparsePolicy Policy(double density, int block, int stride) => new() { Density = density, QueryBlock = block, KeyBlock = block, Stride = stride };

    private static double[] Numbers(string list) => [.. list.Split(',').Select(d => double.Parse(d, CultureInfo.InvariantCulture))];

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
