namespace DeepSeek.ServiceDefaults;

/// <summary>The store has no blob of that hash.</summary>
public sealed class BlobNotFoundException(string sha256) : IOException($"The blob {sha256} is not in the registry. It was never uploaded there, or was collected after nothing referred to it.")
{
    public string Sha256 { get; } = sha256;
}

/// <summary>The bytes received are not those the hash names.</summary>
public sealed class BlobCorruptException(string sha256, string found) : IOException($"The bytes of blob {sha256} hash to {found}: they were damaged on the way or in the store.")
{
    public string Sha256 { get; } = sha256;
}
