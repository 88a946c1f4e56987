using System.Text.Json;
using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Compression.Compressions;

/// <summary>A compression as the API tells it.</summary>
public sealed record CompressionView(
    Guid Id, Guid JobId, string ModelName, int ParentVersion, string Owner, SubjectState State, string? Error,
    DateTimeOffset CreatedAt, DateTimeOffset? EndedAt, JsonElement Spec, JsonElement? Report)
{
    public static CompressionView Of(CompressionRecord row) => new(
        row.Id, row.JobId, row.ModelName, row.ParentVersion, row.Owner, row.State, row.Error, row.CreatedAt, row.EndedAt,
        JsonElement.Parse(row.Spec), row.Report is null ? null : JsonElement.Parse(row.Report));
}
