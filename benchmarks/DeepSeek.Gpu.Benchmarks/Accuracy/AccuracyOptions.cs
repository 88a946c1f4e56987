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
    public int Validation { get; init; } = 256;
    public int Probes { get; init; } = 240;

    /// <summary>Bytes of every validation window that are also predicted as a decoder does, from a text that ends in front of them.</summary>
    public int Decoded { get; init; } = 8;

    /// <summary>Densities at which every form of sparse attention is dropped in.</summary>
    public string Densities { get; init; } = "0.3,0.2";

    /// <summary>
    /// Forms, each estimate/power/stride/block/choice: estimates as <see cref="BlockEstimate"/> names them; choices are <c>row</c> (the same share of
    /// blocks in every row), <c>mass</c> (the same share of attention, fitted to the density) and <c>shared</c> (one budget for all heads of a query block).
    /// A sixth part is the power over every query of the newest block (<see cref="SparsePolicy.NewestPower"/>); a last part <c>causal</c> asks for a <see cref="SparsePolicy.CausalChoice"/>.
    /// </summary>
    public string Forms { get; init; } = "antidiagonal/1/16/128/row,antidiagonal/1/16/128/shared,sampled/1/16/128/shared,sampled/1/8/128/shared,sampled/1/8/64/shared";

    /// <summary>Form of the net that is trained sparse from its first step, and its density.</summary>
    public string TrainForm { get; init; } = "sampled/1/8/128/shared";
    public double TrainDensity { get; init; } = 0.3;

    /// <summary>What to do: <c>dense</c>, <c>sparse</c> or both.</summary>
    public string Parts { get; init; } = "dense,sparse";

    /// <summary>Share of the training rows that hide needles, so that there is something to retrieve at every distance.</summary>
    public double Needles { get; init; } = 0.5;

    /// <summary>Share of those rows whose needles stand at every distance and place (<see cref="Needle.HideMany"/>); the others ask for all at their end (<see cref="Needle.HideThenAsk"/>).</summary>
    public double Scattered { get; init; } = 0.25;

    /// <summary>Most needles in such a row, which hides any number from one to this; a probe hides one.</summary>
    public int NeedlesInARow { get; init; } = 24;

    internal LlamaConfig Dense => new() { Vocabulary = 256, Length = Length, Width = Width, Layers = Layers, Heads = Heads, KeyHeads = KeyHeads, Inner = Inner, Tied = true };

    internal IEnumerable<(string Form, SparsePolicy Policy, bool ByMass)> DropIn =>
        from form in Forms.Split(',')
        from density in Densities.Split(',')
        select (form, Policy(form, double.Parse(density, CultureInfo.InvariantCulture)), form.Split('/')[4] == "mass");

    internal SparsePolicy TrainPolicy => Policy(TrainForm, TrainDensity);

    private static SparsePolicy Policy(string form, double density) => form.Split('/') is [var estimate, var power, var stride, var block, "row" or "mass" or "shared", ..] parts
        ? new()
        {
            Density = density,
            Estimate = Enum.Parse<BlockEstimate>(estimate, ignoreCase: true),
            Power = Mean(power),
            NewestPower = parts.Length > 5 && parts[5] != "causal" ? Mean(parts[5]) : 0,
            CausalChoice = parts[^1] == "causal",
            Stride = int.Parse(stride, CultureInfo.InvariantCulture),
            QueryBlock = int.Parse(block, CultureInfo.InvariantCulture),
            KeyBlock = int.Parse(block, CultureInfo.InvariantCulture),
            SharedBudget = parts[4] == "shared",
        }
        : throw new ArgumentException($"'{form}' is not estimate/power/stride/block/choice, such as sampled/1/8/128/shared.");

    private static double Mean(string power) => power == "max" ? double.PositiveInfinity : double.Parse(power, CultureInfo.InvariantCulture);

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
