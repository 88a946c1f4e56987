using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Devices;

/// <summary>Ratings on disk: one JSON file per hardware key, in the folder <c>devices</c> of the data folder.</summary>
/// <param name="folder">Folder of the files; null takes the data folder's.</param>
public sealed class DeviceRatings(string? folder = null)
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web) { WriteIndented = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull };
    private readonly string _folder = folder ?? Path.Combine(DataFolder(), "devices");

    /// <summary>The rating of this hardware; null when it has none or the file is not readable as one.</summary>
    public DeviceRating? Find(ComputeDevice device) => Read(PathOf(DeviceRating.KeyOf(device)));

    /// <summary>All ratings, those of hardware that is gone too.</summary>
    public IReadOnlyList<DeviceRating> All()
    {
        try
        {
            return Directory.Exists(_folder) ? [.. Directory.GetFiles(_folder, "*.json").Order(StringComparer.Ordinal).Select(Read).OfType<DeviceRating>()] : [];
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return []; // as in Read
        }
    }

    /// <summary>Writes a rating in place of the hardware's former one.</summary>
    /// <returns>The file.</returns>
    public string Save(DeviceRating rating)
    {
        Directory.CreateDirectory(_folder);
        var path = PathOf(rating.Key);
        var fresh = $"{path}.{Environment.ProcessId}.tmp";
        File.WriteAllBytes(fresh, JsonSerializer.SerializeToUtf8Bytes(rating, s_json));
        File.Move(fresh, path, overwrite: true);
        return path;
    }

    private string PathOf(string key) => Path.Combine(_folder, $"{key}.json");

    private static DeviceRating? Read(string path)
    {
        try
        {
            return File.Exists(path) && JsonSerializer.Deserialize<DeviceRating>(File.ReadAllBytes(path), s_json) is { Format: "deepseek.rating/1" } rating ? rating : null;
        }
        catch (Exception fault) when (fault is JsonException or IOException or UnauthorizedAccessException)
        {
            return null; // a rating is an aid: without it the roof is measured anew
        }
    }

    // As the platform's services choose it: DEEPSEEK_DATA, else /var/lib/deepseek for root and ~/.local/share/deepseek for others.
    private static string DataFolder() =>
        Environment.GetEnvironmentVariable("DEEPSEEK_DATA") is { Length: > 0 } data ? data
        : Environment.IsPrivilegedProcess ? "/var/lib/deepseek"
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "deepseek");
}
