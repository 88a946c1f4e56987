using DeepSeek.Preprocessing.Columns;

namespace DeepSeek.Preprocessing.Features;

/// <summary>Applies a fitted pipeline to decoded rows; operation by operation what <see cref="PipelineGraph"/> writes.</summary>
internal sealed class FeatureTransform
{
    private readonly FeaturePipeline _pipeline;
    private readonly Dictionary<string, int>[] _categories;

    public FeatureTransform(FeaturePipeline pipeline)
    {
        _pipeline = pipeline;
        Count = pipeline.Count;
        _categories = [.. pipeline.Categories.Select(c => c.Values.Select((value, index) => (value, index)).ToDictionary(p => p.value, p => p.index, StringComparer.Ordinal))];
    }

    /// <summary>Features of a row.</summary>
    public int Count { get; }

    /// <param name="batch">Decoded rows.</param>
    /// <param name="row">Which of them.</param>
    /// <param name="features">[F], overwritten.</param>
    public void Apply(RowBatch batch, int row, Span<float> features)
    {
        var at = 0;
        foreach (var number in _pipeline.Numbers)
        {
            var value = batch.Numbers[number.Index][row];
            features[at++] = (float)(((double.IsNaN(value) ? number.Fill : value) - number.Center) / number.Scale);
        }
        var dates = _pipeline.Dates.Count;
        for (var d = 0; d < dates; d++)
        {
            var date = _pipeline.Dates[d];
            var value = batch.Numbers[date.Index][row];
            var seconds = double.IsNaN(value) ? date.Fill : value;
            var parts = DateParts.Of(seconds);
            // Part by part over all dates, as the graph concatenates them.
            Part(features, at + d, date, 0, parts.Year);
            Part(features, at + dates + d, date, 1, parts.Month);
            Part(features, at + (2 * dates) + d, date, 2, parts.DayOfWeek);
            Part(features, at + (3 * dates) + d, date, 3, parts.Hour);
            Part(features, at + (4 * dates) + d, date, 4, (seconds - date.Origin) / DateParts.SecondsPerDay);
        }
        at += DateFeature.Parts.Length * dates;
        for (var c = 0; c < _categories.Length; c++)
        {
            var category = _pipeline.Categories[c];
            var hot = features.Slice(at, category.Width);
            hot.Clear();
            var value = batch.Texts[category.Index][row];
            hot[value.Length == 0 ? category.Fill : _categories[c].GetValueOrDefault(value, category.Values.Count)] = 1;
            at += category.Width;
        }
    }

    /// <summary>The column of the first feature that is no finite number; null when all are.</summary>
    public string? NotFinite(ReadOnlySpan<float> features)
    {
        var dates = _pipeline.Dates.Count;
        for (var at = 0; at < features.Length; at++)
        {
            if (!float.IsFinite(features[at]))
            {
                return at < _pipeline.Numbers.Count ? _pipeline.Numbers[at].Column : _pipeline.Dates[(at - _pipeline.Numbers.Count) % dates].Column;
            }
        }
        return null;
    }

    private static void Part(Span<float> features, int at, DateFeature date, int part, double value) =>
        features[at] = (float)((value - date.Center[part]) / date.Scale[part]);
}
