using DeepSeek.Data;
using DeepSeek.Explainability.Shapley;

namespace DeepSeek.Explainability.Explanations;

/// <summary>Checks a spec: first by itself, then against the dataset the model learned from. Keys of the errors are JSON paths.</summary>
public static class ExplanationRules
{
    public const int MaxRows = 1000;
    public const int MaxImages = 64;
    public const int MaxBackground = 2000;
    public const int MaxPairs = 100_000;

    /// <summary>The spec with rows as they may be stored: what the dataset masks is masked in them.</summary>
    /// <exception cref="InvalidDataException">The dataset does not tell how.</exception>
    public static ExplanationSpec Masked(ExplanationSpec spec, DatasetManifest dataset)
    {
        var masks = ColumnMask.Of(dataset);
        var inputs = dataset.Inputs.ToDictionary(input => input.Name);
        return masks.Count == 0 ? spec : spec with
        {
            Rows = spec.Rows?.Select(row => row.ToDictionary(
                cell => cell.Key,
                cell => masks.TryGetValue(cell.Key, out var mask) ? mask.Apply(inputs[cell.Key], cell.Value) : cell.Value)).ToList(),
        };
    }

    /// <summary>Faults of the spec alone.</summary>
    public static Dictionary<string, string[]> Check(ExplanationSpec spec)
    {
        var errors = new Dictionary<string, string[]>();
        void Require(bool holds, string field, string remedy)
        {
            if (!holds)
            {
                errors.TryAdd(field, [remedy]);
            }
        }

        Require(spec.Deployment is null != spec.ModelName is null, "deployment", "Name either a deployment, or a modelName with a version.");
        Require(spec.ModelName is null == spec.Version is null, "version", "A modelName and a version (number or alias) go together.");
        Require(spec.Rows is null or { Count: >= 1 and <= MaxRows }, "rows", $"Give 1 to {MaxRows} rows, or leave them out to draw them from a split.");
        Require(spec.Rows is null || spec.Count is null, "count", "Leave count out when rows are given.");
        Require(spec.Count is null or (>= 1 and <= MaxRows), "count", $"Must be 1 to {MaxRows}.");
        Require(spec.Background.Rows is >= 1 and <= MaxBackground, "background.rows", $"Must be 1 to {MaxBackground}.");
        Require(spec.Sampling.MaxPairs is >= 2 and <= MaxPairs, "sampling.maxPairs", $"Must be 2 to {MaxPairs}.");
        Require(spec.Sampling.TargetError >= 0, "sampling.targetError", "Must be at least 0.");
        Require(spec.Occlusion.Patch >= 1, "occlusion.patch", "Must be at least 1 pixel.");
        Require(spec.Occlusion.Stride >= 1 && spec.Occlusion.Stride <= spec.Occlusion.Patch, "occlusion.stride", "Must be 1 to the patch's size, so that no pixel is left out.");
        Require(spec.Priority is >= 0 and <= 100, "priority", "Must be 0 to 100.");
        return errors;
    }

    /// <summary>Faults that only show beside the dataset.</summary>
    public static Dictionary<string, string[]> Check(ExplanationSpec spec, DatasetManifest dataset)
    {
        var errors = new Dictionary<string, string[]>();
        void Refuse(string field, string remedy) => errors.TryAdd(field, [remedy]);

        if (dataset.IsText)
        {
            Refuse(spec.Deployment is null ? "modelName" : "deployment",
                "Tables and images are explained, text is not: this is a language model. Deploy it and compare the probabilities that /predict gives with and without a part of the text.");
            return errors;
        }

        foreach (var (field, split) in new[] { ("split", spec.Split), ("background.split", spec.Background.Split) })
        {
            if (!dataset.Splits.TryGetValue(split, out var found) || found.Rows == 0)
            {
                Refuse(field, $"'{split}' is not a split with rows of dataset '{dataset.Name}': {string.Join(", ", dataset.Splits.Where(s => s.Value.Rows > 0).Select(s => s.Key))}.");
            }
        }

        if (spec.Output is { } output && !(dataset.IsClassification ? dataset.Classes : ["prediction"]).Contains(output))
        {
            Refuse("output", $"'{output}' is not an output of this model: {(dataset.IsClassification ? string.Join(", ", dataset.Classes) : "prediction")}.");
        }

        if (dataset.IsImage)
        {
            CheckImages(spec, dataset, Refuse);
        }
        else
        {
            CheckTable(spec, dataset, Refuse);
        }

        return errors;
    }

    private static void CheckImages(ExplanationSpec spec, DatasetManifest dataset, Action<string, string> refuse)
    {
        if (spec.Method is not (ExplanationMethod.Auto or ExplanationMethod.Occlusion))
        {
            refuse("method", "An image model is explained by 'occlusion' (or 'auto').");
        }

        if (spec.Rows is not null)
        {
            refuse("rows", "Images are drawn from a split: give split and count instead of rows.");
        }

        if (spec.Count > MaxImages)
        {
            refuse("count", $"Must be 1 to {MaxImages} for images.");
        }

        if (spec.Occlusion.Patch > dataset.FeatureShape.Skip(1).Min())
        {
            refuse("occlusion.patch", $"Must be at most the images' shorter edge, {dataset.FeatureShape.Skip(1).Min()} pixels.");
        }
    }

    private static void CheckTable(ExplanationSpec spec, DatasetManifest dataset, Action<string, string> refuse)
    {
        if (spec.Method == ExplanationMethod.Occlusion)
        {
            refuse("method", "Occlusion is for images: use 'exact', 'permutation' or 'auto'.");
        }

        if (spec.Method == ExplanationMethod.Exact && dataset.Inputs.Count > ExactShapley.MaxPlayers)
        {
            refuse("method", $"Exact values are offered up to {ExactShapley.MaxPlayers} inputs, this model has {dataset.Inputs.Count}: use 'permutation' or 'auto'.");
        }

        var masks = ColumnMask.Of(dataset);
        foreach (var (index, row) in (spec.Rows ?? []).Index())
        {
            foreach (var unknown in row.Keys.Except(dataset.Inputs.Select(input => input.Name)))
            {
                refuse($"rows[{index}].{unknown}", $"The model has no input of this name. Its inputs: {string.Join(", ", dataset.Inputs.Select(input => input.Name))}.");
            }

            foreach (var input in dataset.Inputs)
            {
                if (!row.TryGetValue(input.Name, out var value))
                {
                    refuse($"rows[{index}].{input.Name}", "Is missing: give a value, or null where it is unknown.");
                }
                else if (RowTable.Fault(input, value) is { } fault)
                {
                    // The reply may be kept for a repeat of the request, so it does not quote what is masked.
                    refuse($"rows[{index}].{input.Name}", masks.ContainsKey(input.Name) ? $"Is not a value of this {input.Type} column, or null." : fault);
                }
            }
        }
    }
}
