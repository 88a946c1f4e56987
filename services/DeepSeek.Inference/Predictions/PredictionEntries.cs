using System.Diagnostics;
using DeepSeek.Inference.Data;
using DeepSeek.Inference.Serving;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Inference.Predictions;

internal static class PredictionEntries
{
    public static Prediction Of(
        PredictionId id, LoadedVersion version, HttpContext http, string kind, long rows, long started, TimeProvider time, string? results) => new()
        {
            Id = id.RequestId,
            VersionId = id.VersionId,
            Deployment = version.Deployment,
            Model = version.Model.Name,
            Version = version.Model.Version,
            Kind = kind,
            Rows = (int)Math.Min(rows, int.MaxValue),
            Actor = http.User.Actor(),
            DurationUs = (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds,
            Results = results,
            CreatedAt = time.GetUtcNow(),
        };
}
