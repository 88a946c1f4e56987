using System.Text.Json;

namespace DeepSeek.Cli;

internal static class JsonFile
{
    private static readonly JsonSerializerOptions s_options = new(JsonSerializerDefaults.Web)
    {
        UnmappedMemberHandling = System.Text.Json.Serialization.JsonUnmappedMemberHandling.Disallow,
        ReadCommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
    };

    /// <summary>Reads a document; a fault names the file and the place.</summary>
    public static async Task<T> ReadAsync<T>(Stream stream, string name, CancellationToken cancelled)
    {
        try
        {
            return await JsonSerializer.DeserializeAsync<T>(stream, s_options, cancelled) ?? throw new UsageException($"{name} is empty.");
        }
        catch (JsonException fault)
        {
            throw new UsageException($"{name}: {fault.Message}");
        }
    }
}
