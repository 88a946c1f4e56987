using DeepSeek.Explainability.Shapley;

namespace DeepSeek.Explainability.Reports;

/// <summary>Global importance: mean |φ| with its standard error, largest first.</summary>
internal static class BarPlot
{
    public const int MaxBars = 20;
    private const double LabelWidth = 250;
    private const double PlotWidth = 430;
    private const double BarHeight = 24;

    public static string Draw(IReadOnlyList<GlobalImportance> global)
    {
        var shown = global.Take(MaxBars).ToList();
        var rest = global.Skip(MaxBars).ToList();
        var largest = Math.Max(shown.Count == 0 ? 0 : shown[0].MeanAbsolute, rest.Sum(feature => feature.MeanAbsolute));
        var scale = largest > 0 ? PlotWidth / largest : 0;
        var svg = new Svg(LabelWidth + PlotWidth + 120, (shown.Count + 1) * BarHeight + 20, "Mean absolute attribution by feature");
        for (var i = 0; i < shown.Count; i++)
        {
            var (y, width) = (8 + i * BarHeight, shown[i].MeanAbsolute * scale);
            svg.Text(LabelWidth, y + 14, shown[i].Feature, "end")
                .Rectangle(LabelWidth + 10, y, Math.Max(width, 1), BarHeight - 6, Svg.Positive, $"mean φ {Svg.Signed(shown[i].Mean)}")
                .Text(LabelWidth + width + 16, y + 14, $"{Svg.Number(shown[i].MeanAbsolute)} ± {Svg.Number(shown[i].StandardError)}");
        }

        if (rest.Count > 0)
        {
            var y = 8 + shown.Count * BarHeight;
            var sum = rest.Sum(feature => feature.MeanAbsolute);
            svg.Text(LabelWidth, y + 14, $"{rest.Count} other features", "end")
                .Rectangle(LabelWidth + 10, y, Math.Max(sum * scale, 1), BarHeight - 6, "#999")
                .Text(LabelWidth + sum * scale + 16, y + 14, Svg.Number(sum));
        }

        return svg.ToString();
    }
}
