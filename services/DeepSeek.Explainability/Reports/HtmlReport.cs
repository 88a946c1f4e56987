using System.Globalization;
using System.Text;

namespace DeepSeek.Explainability.Reports;

/// <summary>The report as one HTML page without any outside resource or script.</summary>
public static class HtmlReport
{
    private const int MaxWaterfalls = 10;

    /// <summary>Draws the page.</summary>
    public static string Render(ExplanationReport report)
    {
        var title = $"{report.ModelName} version {report.ModelVersion}: what drives {report.Output}";
        var page = new StringBuilder();
        page.Append(CultureInfo.InvariantCulture, $"""
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
            <title>{Svg.Escape(title)}</title>
            <style>
            body {"{"} font: 15px/1.5 system-ui, sans-serif; max-width: 860px; margin: 2rem auto; padding: 0 1rem; color: #222 {"}"}
            svg {"{"} max-width: 100%; height: auto; font: 12px system-ui, sans-serif {"}"}
            table {"{"} border-collapse: collapse {"}"} td, th {"{"} padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top {"}"}
            code {"{"} word-break: break-all {"}"}
            </style></head><body>
            <h1>{Svg.Escape(title)}</h1>
            """);
        Facts(page, report);
        if (report.Rows.Count > 0)
        {
            Tabular(page, report);
        }

        foreach (var image in report.Images)
        {
            page.Append(CultureInfo.InvariantCulture, $"<h2>Image {image.Index}{(image.Target is null ? "" : $" ({Svg.Escape(image.Target)})")}: {Svg.Escape(image.Output)} {Svg.Number(image.Score)}</h2>").Append(HeatMapPlot.Draw(image));
        }

        return page.Append("</body></html>").ToString();
    }

    private static void Facts(StringBuilder page, ExplanationReport report)
    {
        page.Append("<table>");
        Fact("Method", report.Method switch
        {
            "exact" => "exact Shapley values, all coalitions enumerated",
            "permutation" => "Shapley values by antithetic permutation sampling",
            _ => "occlusion sensitivity",
        });
        Fact("Output", report.Output);
        if (report.Base is { } mean)
        {
            Fact("Base value", $"{Svg.Number(mean)}, mean over {report.BackgroundRows} background rows");
        }

        if (report.MaxAdditivityError is { } error)
        {
            Fact("Additivity", $"|Σφ + base − f(x)| ≤ {error.ToString("E1", CultureInfo.InvariantCulture)} over {report.Rows.Count} rows");
        }

        var worst = report.Rows.SelectMany(row => row.StandardErrors ?? []).DefaultIfEmpty(0).Max();
        if (worst > 0)
        {
            Fact("Sampling error", $"largest standard error of a value: {Svg.Number(worst)}");
        }

        Fact("Seed", report.Seed.ToString(CultureInfo.InvariantCulture));
        Fact("Model file", report.ModelSha256, code: true);
        Fact("Dataset", report.DatasetManifestSha256, code: true);
        page.Append("</table>");

        void Fact(string name, string value, bool code = false) =>
            page.Append(CultureInfo.InvariantCulture, $"<tr><th>{name}</th><td>{(code ? $"<code>{Svg.Escape(value)}</code>" : Svg.Escape(value))}</td></tr>");
    }

    private static void Tabular(StringBuilder page, ExplanationReport report)
    {
        page.Append("<h2>Which features matter</h2>").Append(BarPlot.Draw(report.Global));
        if (report.Rows.Count > 1)
        {
            page.Append("<h2>How they act, row by row</h2>").Append(BeeswarmPlot.Draw(report));
        }

        page.Append(CultureInfo.InvariantCulture, $"<h2>Single predictions</h2>");
        foreach (var (index, row) in report.Rows.Take(MaxWaterfalls).Index())
        {
            page.Append(CultureInfo.InvariantCulture, $"<h3>Row {index}</h3>").Append(WaterfallPlot.Draw(report.Features, row, report.Base!.Value));
        }

        if (report.Rows.Count > MaxWaterfalls)
        {
            page.Append(CultureInfo.InvariantCulture, $"<p>{report.Rows.Count - MaxWaterfalls} further rows are in the JSON report.</p>");
        }
    }
}
