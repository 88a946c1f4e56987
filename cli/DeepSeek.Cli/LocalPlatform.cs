using System.Diagnostics;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Cli;

/// <summary>The platform that this user runs on this machine, by what it leaves in its data folder.</summary>
internal static class LocalPlatform
{
    private static string DataFolder => Environment.GetEnvironmentVariable("DEEPSEEK_DATA") is { Length: > 0 } data ? data
        : Environment.IsPrivilegedProcess ? "/var/lib/deepseek"
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "deepseek");

    /// <summary>The key it printed at its first start.</summary>
    public static string AdminKeyPath => Path.Combine(DataFolder, "gateway", "admin.key");

    /// <summary>That key, if this user may read it and the address is that platform's: no other server is shown it.</summary>
    public static string? AdminKeyFor(Uri address) =>
        Gateway() is { } own && address.IsLoopback && (address.Scheme, address.Port) == (own.Scheme, own.Port) ? AdminKey() : null;

    private static string? AdminKey() => Read(AdminKeyPath, bytes => Encoding.UTF8.GetString(bytes).Trim() is { Length: > 0 } key ? key : null);

    /// <summary>Where its gateway is, whose port may be any; null when none runs. A host that was killed leaves its file: its process tells.</summary>
    public static Uri? Gateway() => Read(Path.Combine(DataFolder, "host", "endpoints.json"), bytes =>
        JsonSerializer.Deserialize<Endpoints>(bytes, JsonSerializerOptions.Web) is { } file && Lives(file.Pid)
            && file.Addresses?.GetValueOrDefault("gateway") is { IsLoopback: true } gateway ? gateway : null);

    private static T? Read<T>(string path, Func<byte[], T?> parse) where T : class
    {
        try
        {
            return parse(File.ReadAllBytes(path));
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    private static bool Lives(int pid)
    {
        try
        {
            using var process = Process.GetProcessById(pid);
            return !process.HasExited;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    private sealed record Endpoints(int Pid, [property: JsonPropertyName("endpoints")] IReadOnlyDictionary<string, Uri>? Addresses);
}
