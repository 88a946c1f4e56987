using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Explainability.Models;

namespace DeepSeek.Explainability.Explanations;

/// <summary>Raw JSON rows as the columns a model takes.</summary>
internal static class RowTable
{
    /// <summary>The rows as a table in the dataset's input order; a column that a row lacks counts as missing.</summary>
    public static FeatureTable Of(IReadOnlyList<DatasetInput> inputs, IReadOnlyList<IReadOnlyDictionary<string, JsonElement>> rows) => new(
        [.. inputs.Select(input => input.Name)],
        [.. inputs.Select(input => IsText(input)
            ? (Array)rows.Select(row => SampleRows.ToText(row.GetValueOrDefault(input.Name))).ToArray()
            : rows.Select(row => SampleRows.ToNumber(row.GetValueOrDefault(input.Name), input.Type)).ToArray())]);

    /// <summary>What is wrong with a value, or null.</summary>
    public static string? Fault(DatasetInput input, JsonElement value)
    {
        try
        {
            _ = IsText(input) ? (object)SampleRows.ToText(value) : SampleRows.ToNumber(value, input.Type);
            return null;
        }
        catch (FormatException fault)
        {
            return fault.Message;
        }
    }

    /// <summary>One row's inputs for a report: numbers, text, and null for missing.</summary>
    public static IReadOnlyDictionary<string, object?> Inputs(FeatureTable table, int row) =>
        table.Names.Select((name, column) => (name, value: table[row, column])).ToDictionary(
            pair => pair.name,
            pair => pair.value is double.NaN or "" ? null : pair.value);

    private static bool IsText(DatasetInput input) => input.Datatype == "BYTES";
}
