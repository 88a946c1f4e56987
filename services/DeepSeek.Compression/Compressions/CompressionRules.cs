using DeepSeek.Data;

namespace DeepSeek.Compression.Compressions;

/// <summary>Checks a spec: first by itself, then against the dataset the model learned from. Keys of the errors are JSON paths.</summary>
public static class CompressionRules
{
    public const string TestSplit = "test";

    /// <summary>The metric of text: the lower, the better.</summary>
    public const string Perplexity = "perplexity";

    /// <summary>Faults of the spec alone.</summary>
    public static Dictionary<string, string[]> Check(CompressionSpec spec)
    {
        var errors = new Dictionary<string, string[]>();
        void Require(bool holds, string field, string remedy)
        {
            if (!holds)
                errors.TryAdd(field, [remedy]);
        }

        Require(spec.ModelName.Length is >= 1 and <= 63, "modelName", "Name a model of the registry, 1 to 63 characters.");
        Require(spec.Version.Length is >= 1 and <= 63, "version", "Give a version number or an alias.");
        Require(spec.Calibration?.Samples is null or (>= 1 and <= CalibrationSpec.MaxSamples), "calibration.samples", $"Must be 1 to {CalibrationSpec.MaxSamples}.");
        Require(spec.Calibration?.Split != TestSplit, "calibration.split", "The test split measures the result and may not calibrate it; use 'train' or 'validation'.");
        Require(spec.Budget?.MaxDrop is null or (>= 0 and <= 1), "budget.maxDrop", "Must be 0 to 1, in the metric's own units (0.005 is half a point of accuracy); for perplexity the share by which it may rise.");
        Require(spec.Budget?.Metric is null or "accuracy" or "r2" or Perplexity, "budget.metric", "Must be 'accuracy' (classification), 'r2' (regression) or 'perplexity' (language modelling).");
        Require(spec.Priority is null or (>= 0 and <= 100), "priority", "Must be 0 to 100.");
        return errors;
    }

    /// <summary>Faults that only show beside the dataset.</summary>
    public static Dictionary<string, string[]> Check(CompressionSpec spec, DatasetManifest dataset)
    {
        var errors = new Dictionary<string, string[]>();
        var split = spec.Calibration?.Split ?? "train";
        if (!dataset.Splits.TryGetValue(split, out var rows) || rows.Rows == 0)
            errors["calibration.split"] = [$"'{split}' is not a split with rows of dataset '{dataset.Name}'; choose one of {string.Join(", ", dataset.Splits.Where(s => s.Value.Rows > 0 && s.Key != TestSplit).Select(s => s.Key))}."];
        if (spec.Budget?.Metric is { } metric && metric != MetricOf(dataset))
            errors["budget.metric"] = [$"This model is for {dataset.Task}; its metric is '{MetricOf(dataset)}'."];
        if (!dataset.Splits.TryGetValue(TestSplit, out var test) || test.Rows == 0)
            errors["version"] = [$"Dataset '{dataset.Name}' of this version has no test rows to measure the accuracy on; prepare it with a test split."];
        return errors;
    }

    public static string MetricOf(DatasetManifest dataset) => dataset.IsText ? Perplexity : dataset.IsClassification ? "accuracy" : "r2";
}
