namespace DeepSeek.Explainability.Reports;

/// <summary>
/// One row's path from the base value to f(x), largest |φ| on top; features beyond <see cref="MaxBars"/> are summed in one bar,
/// so that the bars always add up to f(x) − base.
/// </summary>
internal static class WaterfallPlot
{
    public const int MaxBars = 12;
    private const double LabelWidth = 250;
    private const double PlotWidth = 430;
    private const double BarHeight = 24;

    public static string Draw(IReadOnlyList<string> features, ExplainedRow row, double baseValue)
    {
        var bars = Bars(features, row);
        var ends = Ends(bars, baseValue);
        var (low, high) = (Math.Min(ends.Min(), baseValue), Math.Max(ends.Max(), baseValue));
        var scale = high > low ? PlotWidth / (high - low) : 0;
        double X(double value) => LabelWidth + 10 + (value - low) * scale;

        var height = bars.Count * BarHeight + 60;
        var svg = new Svg(LabelWidth + PlotWidth + 100, height, "Waterfall of the attribution from the base value to the model's output");
        svg.Line(X(row.Fx), 18, X(row.Fx), height - 30, dash: "2 3").Text(X(row.Fx), 12, $"f(x) = {Svg.Number(row.Fx)}", "middle");
        for (var i = 0; i < bars.Count; i++)
        {
            // Drawn from the bottom up: the last bar starts at the base value, the first one ends at f(x).
            var (start, end) = (i + 1 < bars.Count ? ends[i + 1] : baseValue, ends[i]);
            var y = 24 + i * BarHeight;
            var colour = bars[i].Phi < 0 ? Svg.Negative : Svg.Positive;
            svg.Text(LabelWidth, y + 14, bars[i].Label, "end")
                .Rectangle(X(Math.Min(start, end)), y, Math.Max(Math.Abs(end - start) * scale, 1), BarHeight - 6, colour, $"{bars[i].Label}: {Svg.Signed(bars[i].Phi)}")
                .Text(X(Math.Max(start, end)) + 5, y + 14, Svg.Signed(bars[i].Phi), fill: colour);
        }

        return svg.Line(X(baseValue), 18, X(baseValue), height - 30, dash: "2 3").Text(X(baseValue), height - 14, $"base = {Svg.Number(baseValue)}", "middle").ToString();
    }

    internal static List<(string Label, double Phi)> Bars(IReadOnlyList<string> features, ExplainedRow row)
    {
        var order = Enumerable.Range(0, features.Count).OrderByDescending(i => Math.Abs(row.Phi[i])).ToList();
        var shown = order.Count <= MaxBars ? order.Count : MaxBars - 1;
        List<(string, double)> bars = [.. order.Take(shown).Select(i => (Label(features[i], row), row.Phi[i]))];
        if (shown < order.Count)
        {
            bars.Add(($"{order.Count - shown} other features", order.Skip(shown).Sum(i => row.Phi[i])));
        }

        return bars;
    }

    private static string Label(string feature, ExplainedRow row) => row.Inputs.GetValueOrDefault(feature) switch
    {
        null => $"{feature} missing",
        double number => $"{feature} = {Svg.Number(number)}",
        var value => $"{feature} = {value}",
    };

    private static double[] Ends(List<(string Label, double Phi)> bars, double baseValue)
    {
        var ends = new double[bars.Count];
        var value = baseValue;
        for (var i = bars.Count - 1; i >= 0; i--)
        {
            ends[i] = value += bars[i].Phi;
        }

        return ends;
    }
}
