using System.Text.Json;
using System.Text.Json.Serialization;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Profiles;
using DeepSeek.Preprocessing.Splitting;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>The free-form members of the manifest.</summary>
internal static class ManifestParts
{
    public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };

    public static JsonElement Schema(TablePlan plan) => JsonSerializer.SerializeToElement(plan.Columns.Select(c => new
    {
        c.Name,
        c.Type,
        c.Role,
        Masked = c.Mask?.Method,
        BandWidth = c.Mask is { Method: MaskMethod.Generalise } mask && c.Type == ColumnType.Numeric ? mask.BandWidth : (double?)null,
    }), Json);

    public static JsonElement Split(SplitPlan split)
    {
        // A cut is a value of the column, or lies between two: a masked column keeps it to itself.
        var cuts = split.Method == SplitMethod.Time && split.Column!.Mask is null ? (TimeSplitter)split.NewSplitter() : null;
        return JsonSerializer.SerializeToElement(new
        {
            split.Method,
            Column = split.Column?.Name,
            split.Shares.Train,
            split.Shares.Validation,
            split.Shares.Test,
            split.Seed,
            ValidationFrom = Finite(cuts?.ValidationFrom),
            TestFrom = Finite(cuts?.TestFrom),
        }, Json);
    }

    public static JsonElement Privacy(bool detect, TablePlan plan) => JsonSerializer.SerializeToElement(new
    {
        Detect = detect,
        Masked = plan.Columns.Where(c => c.Mask is not null).Select(c => new { Column = c.Name, c.Mask!.Method, c.Mask.Why }),
    }, Json);

    private static double? Finite(double? value) => value is { } number && double.IsFinite(number) ? number : null;
}
