using DeepSeek.Contracts.Registry;

namespace DeepSeek.ServiceDefaults;

/// <summary>Where bytes lie in the content-addressed store: their SHA-256 in 64 lower-case hexadecimal digits, and how many they are.</summary>
public sealed record BlobRef(string Sha256, long Bytes, string MediaType = BlobRef.DefaultMediaType)
{
    public const string DefaultMediaType = "application/octet-stream";

    /// <summary>The same blob as a named file of a model version.</summary>
    public Artifact ToArtifact(string name) => new() { Name = name, Sha256 = Sha256, Bytes = Bytes, MediaType = MediaType };

    /// <summary>True for 64 lower-case hexadecimal digits and nothing else, so such a string is safe as a file name.</summary>
    public static bool IsSha256(string? text) =>
        text is { Length: 64 } && !text.AsSpan().ContainsAnyExcept("0123456789abcdef");
}
