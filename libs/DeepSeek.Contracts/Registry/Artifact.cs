namespace DeepSeek.Contracts.Registry;

/// <summary>One file of a model version; its bytes lie in the blob store under their hash.</summary>
public sealed record Artifact
{
    /// <summary>File name inside the version, for example <c>model.onnx</c>.</summary>
    public required string Name { get; init; }

    /// <summary>SHA-256 of the bytes, 64 lower-case hexadecimal digits.</summary>
    public required string Sha256 { get; init; }

    public required long Bytes { get; init; }

    public required string MediaType { get; init; }
}
