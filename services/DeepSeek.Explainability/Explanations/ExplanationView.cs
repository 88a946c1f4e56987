using System.Linq.Expressions;
using System.Text.Json;
using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Explainability.Explanations;

/// <summary>An explanation as the API tells it; lists leave the report out.</summary>
public sealed record ExplanationView(
    Guid Id, Guid JobId, string ModelName, int ModelVersion, string Owner, SubjectState State, string? Error,
    DateTimeOffset CreatedAt, DateTimeOffset? EndedAt, JsonElement? Report)
{
    /// <summary>What a list reads: all but the large columns.</summary>
    public static Expression<Func<Explanation, ExplanationView>> Row { get; } = row => new ExplanationView(
        row.Id, row.JobId, row.ModelName, row.ModelVersion, row.Owner, row.State, row.Error, row.CreatedAt, row.EndedAt, null);

    public static ExplanationView Of(Explanation row) => Of(row, withReport: false);

    public static ExplanationView Of(Explanation row, bool withReport) => new(
        row.Id, row.JobId, row.ModelName, row.ModelVersion, row.Owner, row.State, row.Error, row.CreatedAt, row.EndedAt,
        withReport && row.Report is not null ? JsonElement.Parse(row.Report) : null);
}
