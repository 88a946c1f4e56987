using System.Globalization;

namespace DeepSeek.Inference.Predictions;

/// <summary>
/// Names one answered request, or one row of it: <c>&lt;version id&gt;-&lt;request id&gt;[.&lt;row&gt;]</c>. It carries
/// the model version in itself, so that lineage never depends on a log entry.
/// </summary>
internal readonly record struct PredictionId(Guid VersionId, Guid RequestId, int? Row = null)
{
    private const int GuidLength = 32;

    public static PredictionId New(Guid versionId) => new(versionId, Guid.CreateVersion7());

    public static bool TryParse(string text, out PredictionId id)
    {
        id = default;
        var dot = text.IndexOf('.', StringComparison.Ordinal);
        var whole = dot < 0 ? text : text[..dot];
        int? row = null;
        if (dot >= 0)
        {
            if (!int.TryParse(text.AsSpan(dot + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            {
                return false;
            }

            row = number;
        }

        if (whole.Length != (2 * GuidLength) + 1 || whole[GuidLength] != '-'
            || !Guid.TryParseExact(whole.AsSpan(0, GuidLength), "N", out var version)
            || !Guid.TryParseExact(whole.AsSpan(GuidLength + 1), "N", out var request))
        {
            return false;
        }

        id = new(version, request, row);
        return true;
    }

    public PredictionId OfRow(int row) => this with { Row = row };

    public override string ToString() =>
        Row is { } row ? $"{VersionId:N}-{RequestId:N}.{row}" : $"{VersionId:N}-{RequestId:N}";
}
