using System.Text.Json;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Registry.Datasets;

/// <summary>What the registry reads out of a dataset manifest: every hash in it, so that every blob it names is kept.</summary>
internal static class ManifestHashes
{
    private static readonly JsonDocumentOptions s_options = new() { MaxDepth = PlatformJson.MaxDepth };

    public static async Task<HashSet<string>> AllOfAsync(Stream manifest, CancellationToken cancellationToken)
    {
        using var json = await JsonDocument.ParseAsync(manifest, s_options, cancellationToken);
        var found = new HashSet<string>();
        Collect(json.RootElement, found);
        return found;
    }

    public static async Task<string?> SourceOfAsync(Stream manifest, CancellationToken cancellationToken)
    {
        using var json = await JsonDocument.ParseAsync(manifest, s_options, cancellationToken);
        return json.RootElement.ValueKind == JsonValueKind.Object
            && json.RootElement.TryGetProperty("source", out var source) && source.ValueKind == JsonValueKind.Object
            && source.TryGetProperty("sha256", out var sha256) && sha256.ValueKind == JsonValueKind.String
            && BlobRef.IsSha256(sha256.GetString())
            ? sha256.GetString()
            : null;
    }

    private static void Collect(JsonElement element, HashSet<string> found)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                foreach (var member in element.EnumerateObject())
                    Collect(member.Value, found);
                break;
            case JsonValueKind.Array:
                foreach (var item in element.EnumerateArray())
                    Collect(item, found);
                break;
            case JsonValueKind.String when BlobRef.IsSha256(element.GetString()):
                found.Add(element.GetString()!);
                break;
        }
    }
}
