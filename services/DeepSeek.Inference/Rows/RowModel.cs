using System.Text.Json;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Serving;

namespace DeepSeek.Inference.Rows;

internal enum ColumnType
{
    Numeric,
    Boolean,
    DateTime,
    Categorical,
    Image,
    Text,
}

/// <param name="Input">The model input that carries the column: [N, 1], [N, C, H, W] for an image, or [N, T] for text.</param>
/// <param name="Context">Tokens of a text that the model sees at most.</param>
internal sealed record RowColumn(string Name, ColumnType Type, TensorSpec Input, int Context = 0);

/// <summary>How raw rows become a model's inputs, and its outputs predictions. Comes from the model's metadata, else from its signature.</summary>
internal sealed class RowModel
{
    public const string MetadataKey = "deepseek.model";
    public const string LabelOutput = "label";
    public const string ProbabilitiesOutput = "probabilities";
    public const string PredictionOutput = "prediction";

    private readonly Dictionary<string, int> _index;

    private RowModel(IReadOnlyList<RowColumn> columns, IReadOnlyList<string> classes, string? obstacle)
    {
        Columns = columns;
        Classes = classes;
        Obstacle = obstacle;
        _index = columns.Select((c, i) => (c.Name, i)).ToDictionary(p => p.Name, p => p.i, StringComparer.Ordinal);
    }

    /// <summary>In the order of the model's inputs.</summary>
    public IReadOnlyList<RowColumn> Columns { get; }

    /// <summary>Names of the columns of <c>probabilities</c>; empty for regression.</summary>
    public IReadOnlyList<string> Classes { get; }

    /// <summary>Whether it is a language model: its one input is text.</summary>
    public bool IsText => Columns is [{ Type: ColumnType.Text }];

    /// <summary>Why this model cannot take rows; null when it can.</summary>
    public string? Obstacle { get; }

    public bool TryFind(string column, out int index) => _index.TryGetValue(column, out index);

    public static RowModel Of(ModelSignature signature, IReadOnlyDictionary<string, string> metadata)
    {
        if (!signature.HasBatchAxis)
        {
            return Cannot("its inputs have no axis for rows");
        }

        var card = Read(metadata);
        var columns = new List<RowColumn>();
        foreach (var input in signature.Inputs)
        {
            if (Column(input, TypeOf(card?.Inputs?.FirstOrDefault(i => i.Name == input.Name)?.Type), card?.FeatureShape) is not { } column)
            {
                return Cannot($"its input '{input.Name}' ({input.DataType.Name()} {Shapes.Text(input.Shape)}) is no column of a table");
            }

            columns.Add(column);
        }

        var outputs = signature.Outputs.Select(o => (o.Name, o.DataType)).ToHashSet();
        var classifies = outputs.Contains((LabelOutput, DataType.Bytes)) && outputs.Contains((ProbabilitiesOutput, DataType.Fp32));
        return classifies || outputs.Contains((PredictionOutput, DataType.Fp32))
            ? new RowModel(columns, classifies ? card?.Classes ?? [] : [], null)
            : Cannot($"its outputs are neither '{LabelOutput}' and '{ProbabilitiesOutput}' nor '{PredictionOutput}'");
    }

    private static RowModel Cannot(string why) =>
        new([], [], $"This model takes no rows: {why}. Send tensors to /v2/models/…/infer.");

    private static RowColumn? Column(TensorSpec input, ColumnType? type, int[]? features)
    {
        var isColumn = input.Shape is [-1, 1] or [-1];
        return (type, input.DataType) switch
        {
            (ColumnType.Image, DataType.UInt8) or (null, DataType.UInt8) when input.Shape.Length == 4 && !input.Shape.AsSpan(1).Contains(-1) =>
                new(input.Name, ColumnType.Image, input),
            (ColumnType.Text, DataType.Int64) when input.Shape is [-1, -1] && features is [> 0 and var context] => new(input.Name, ColumnType.Text, input, context),
            (ColumnType.Categorical or null, DataType.Bytes) when isColumn => new(input.Name, ColumnType.Categorical, input),
            (ColumnType.Numeric or ColumnType.Boolean or ColumnType.DateTime or null, DataType.Fp64 or DataType.Fp32) when isColumn =>
                new(input.Name, type ?? ColumnType.Numeric, input),
            _ => null,
        };
    }

    private static Card? Read(IReadOnlyDictionary<string, string> metadata)
    {
        if (!metadata.TryGetValue(MetadataKey, out var json))
        {
            return null;
        }

        try
        {
            return JsonSerializer.Deserialize<Card>(json, JsonSerializerOptions.Web);
        }
        catch (JsonException fault)
        {
            throw new InvalidModelException($"The model's metadata '{MetadataKey}' cannot be read: {fault.Message}", fault);
        }
    }

    /// <summary>A type we do not know is no fault: the tensor's own type then decides.</summary>
    private static ColumnType? TypeOf(string? name) =>
        Enum.TryParse<ColumnType>(name, ignoreCase: true, out var type) && Enum.IsDefined(type) ? type : null;

    private sealed record Card(string? Task, string[]? Classes, CardInput[]? Inputs, int[]? FeatureShape);

    private sealed record CardInput(string? Name, string? Type);
}
