namespace DeepSeek.Explainability.Reports;

/// <summary>Every row's φ of each feature, coloured by the feature's value (rank among the rows; grey for text and missing).</summary>
internal static class BeeswarmPlot
{
    private const int MaxFeatures = 20;
    private const double LabelWidth = 250;
    private const double PlotWidth = 460;
    private const double RowHeight = 30;
    private const double Radius = 3;

    public static string Draw(ExplanationReport report)
    {
        var features = report.Global.Take(MaxFeatures).Select(global => global.Feature).ToList();
        var extent = report.Rows.SelectMany(row => row.Phi).Select(Math.Abs).DefaultIfEmpty(0).Max();
        var scale = extent > 0 ? PlotWidth / 2 / extent : 0;
        var centre = LabelWidth + 20 + PlotWidth / 2;
        var height = features.Count * RowHeight + 40;
        var svg = new Svg(LabelWidth + PlotWidth + 60, height, "Attribution of every row by feature");
        svg.Line(centre, 8, centre, height - 28).Text(centre, height - 10, $"φ: −{Svg.Number(extent)} … 0 … +{Svg.Number(extent)} (blue: low value, red: high value)", "middle");
        for (var f = 0; f < features.Count; f++)
        {
            var index = report.Features.Index().First(feature => feature.Item == features[f]).Index;
            var y = 22 + f * RowHeight;
            svg.Text(LabelWidth, y + 5, features[f], "end");
            var stacked = new Dictionary<int, int>(); // dots already drawn in each pixel column
            foreach (var (row, rank) in Ranked(report.Rows, features[f]))
            {
                var x = centre + row.Phi[index] * scale;
                var column = (int)(x / (Radius * 1.6));
                var level = stacked[column] = stacked.GetValueOrDefault(column) + 1;
                var offset = Math.Min(level / 2 * 2.2, RowHeight / 2 - Radius) * (level % 2 == 0 ? 1 : -1);
                svg.Circle(x, y + offset, Radius, Colour(rank), $"{features[f]} = {row.Inputs.GetValueOrDefault(features[f]) ?? "missing"}: {Svg.Signed(row.Phi[index])}");
            }
        }

        return svg.ToString();
    }

    private static IEnumerable<(ExplainedRow Row, double? Rank)> Ranked(IReadOnlyList<ExplainedRow> rows, string feature)
    {
        var values = rows.Select(row => row.Inputs.GetValueOrDefault(feature)).OfType<double>().Order().ToArray();
        foreach (var row in rows)
        {
            if (row.Inputs.GetValueOrDefault(feature) is double value && values.Length > 1)
            {
                var rank = Array.BinarySearch(values, value);
                yield return (row, (double)rank / (values.Length - 1));
            }
            else
            {
                yield return (row, null);
            }
        }
    }

    // Blue over purple to red, as readers of such plots expect.
    private static string Colour(double? rank) => rank is not { } r
        ? "#888"
        : $"rgb({(int)(10 + r * 204)},{(int)(118 - r * 118)},{(int)(216 - r * 141)})";
}
