using System.Text.RegularExpressions;
using System.Xml.Linq;
using DeepSeek.Explainability.Reports;
using DeepSeek.Explainability.Shapley;

namespace DeepSeek.Explainability.Tests;

public sealed partial class ReportTests
{
    [Fact]
    public void Page_IsSelfContainedWellFormedAndEscaped()
    {
        var page = HtmlReport.Render(Report(features: 3, rows: 5));

        Assert.DoesNotContain("<script", page, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("http:", page, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("https:", page, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("&lt;evil&gt;", page, StringComparison.Ordinal);
        Assert.DoesNotContain("<evil>", page, StringComparison.Ordinal);
        var drawings = Drawing().Matches(page);
        Assert.Equal(2 + 5, drawings.Count); // bars, beeswarm, a waterfall a row
        foreach (Match drawing in drawings)
        {
            XElement.Parse(drawing.Value);
        }
    }

    /// <summary>Beyond the shown bars the rest is summed, so that the path still ends at f(x).</summary>
    [Fact]
    public void Waterfall_ManyFeatures_BarsAddUpToTheOutput()
    {
        var report = Report(features: 30, rows: 1);

        var bars = WaterfallPlot.Bars(report.Features, report.Rows[0]);

        Assert.Equal(WaterfallPlot.MaxBars, bars.Count);
        Assert.Equal("19 other features", bars[^1].Label);
        Assert.Equal(report.Rows[0].Fx - report.Base!.Value, bars.Sum(bar => bar.Phi), 1e-12);
        Assert.Equal(bars.SkipLast(1).OrderByDescending(bar => Math.Abs(bar.Phi)), bars.SkipLast(1));
    }

    [Fact]
    public void Beeswarm_DrawsADotForEveryRowAndFeature() =>
        Assert.Equal(3 * 5, Regex.Count(BeeswarmPlot.Draw(Report(features: 3, rows: 5)), "<circle"));

    [Fact]
    public void HeatMap_DrawsEveryPixelTwice()
    {
        var image = new ExplainedImage(0, "shoe", "shoe", 0.9, 1, 2, 3, [0, 50, 100, 150, 200, 255], [0, 1, -1, 0.5, 0, 0]);

        var svg = HeatMapPlot.Draw(image);

        Assert.Equal(2 * 6, Regex.Count(svg, "<rect"));
        Assert.Contains("rgb(255,0,0)", svg, StringComparison.Ordinal); // the strongest support
        Assert.Contains("rgb(0,0,255)", svg, StringComparison.Ordinal); // the strongest objection
    }

    private static ExplanationReport Report(int features, int rows)
    {
        var random = new Random(1);
        string[] names = [.. Enumerable.Range(0, features).Select(i => i == 0 ? "<evil>" : $"x{i}")];
        var explained = Enumerable.Range(0, rows).Select(_ =>
        {
            double[] phi = [.. Enumerable.Range(0, features).Select(_ => random.NextDouble() - 0.5)];
            return new ExplainedRow(names.ToDictionary(name => name, name => (object?)random.NextDouble()), 0.25 + phi.Sum(), phi, null, 0, 1);
        }).ToList();
        return new ExplanationReport
        {
            Id = Guid.Empty,
            ModelName = "m",
            ModelVersion = 1,
            DatasetManifestSha256 = "d",
            ModelSha256 = "m",
            Method = "exact",
            Output = "yes",
            BackgroundRows = 10,
            Seed = 0,
            ElapsedSeconds = 1,
            Features = names,
            Base = 0.25,
            Rows = explained,
            Global = GlobalImportance.Of(names, [.. explained.Select(row => row.Phi)]),
            MaxAdditivityError = 0,
        };
    }

    [GeneratedRegex("<svg.*?</svg>", RegexOptions.Singleline)]
    private static partial Regex Drawing();
}
