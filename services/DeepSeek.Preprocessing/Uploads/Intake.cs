using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Preprocessing.Images;
using DeepSeek.Preprocessing.Preparation;
using DeepSeek.Preprocessing.Sources;

namespace DeepSeek.Preprocessing.Uploads;

/// <summary>What lies in a spool folder, checked at upload; the job starts from it.</summary>
internal sealed record Intake
{
    public const string FileName = "intake.json";

    public required DatasetSource Source { get; init; }
    public TableFile? Table { get; init; }
    public IReadOnlyList<IdxPair>? Idx { get; init; }
    public ZipFile? Zip { get; init; }

    public void Save(string directory)
    {
        using var stream = Spool.CreateFile(Path.Combine(directory, FileName));
        JsonSerializer.Serialize(stream, this, ManifestParts.Json);
        stream.Flush(flushToDisk: true);
    }

    public static Intake Load(string directory)
    {
        using var stream = File.OpenRead(Path.Combine(directory, FileName));
        return JsonSerializer.Deserialize<Intake>(stream, ManifestParts.Json)!;
    }
}
