namespace DeepSeek.Inference.Protocol;

/// <summary>An inference request as sent, before it is held against a model.</summary>
internal sealed record InferRequest
{
    public string? Id { get; init; }

    public required IReadOnlyList<Tensor> Inputs { get; init; }

    /// <summary>Outputs asked for, in order; null asks for all.</summary>
    public IReadOnlyList<RequestedOutput>? Outputs { get; init; }

    /// <summary>The request's <c>binary_data_output</c>: outputs travel as binary data unless they say otherwise.</summary>
    public bool BinaryByDefault { get; init; }
}

internal sealed record RequestedOutput(string Name, bool? Binary);
