using System.Text.Json;

namespace DeepSeek.Contracts.Training;

/// <summary>Run specs as JSON: camelCase, unknown members and repeated keys refused, at most 64 levels deep.</summary>
public static class RunSpecJson
{
    /// <summary>The only options with which run specs are read and written.</summary>
    public static JsonSerializerOptions Options { get; } = new(JsonSerializerDefaults.Web)
    {
        MaxDepth = 64,
        AllowDuplicateProperties = false,
        PropertyNameCaseInsensitive = false,
        NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.Strict,
    };

    /// <summary>Writes a spec as UTF-8 JSON.</summary>
    public static byte[] Write(RunSpec spec) => JsonSerializer.SerializeToUtf8Bytes(spec, Options);

    /// <summary>Reads a spec without validating it; null for the JSON null.</summary>
    /// <exception cref="JsonException">Not the JSON of a spec.</exception>
    public static RunSpec? Parse(ReadOnlySpan<byte> utf8) => JsonSerializer.Deserialize<RunSpec>(utf8, Options);

    /// <summary>Reads and validates a spec; null when there are faults, then keyed by field path ("" for text that is no JSON).</summary>
    public static RunSpec? Read(ReadOnlySpan<byte> utf8, out IReadOnlyDictionary<string, string[]> faults)
    {
        try
        {
            var spec = Parse(utf8);
            faults = spec is null ? Fault("", "Write an object, not null.") : RunSpecValidator.Validate(spec);
            return faults.Count == 0 ? spec : null;
        }
        catch (JsonException fault)
        {
            var path = fault.Path is ['$', '.', .. var field] ? field : "";
            faults = Fault(path, fault.Message);
            return null;
        }
    }

    private static Dictionary<string, string[]> Fault(string field, string message) => new(StringComparer.Ordinal) { [field] = [message] };
}
