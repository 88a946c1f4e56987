using System.Globalization;
using System.Net;
using System.Text;

namespace DeepSeek.Explainability.Reports;

/// <summary>Writes one SVG drawing; every text is escaped, every number is written in the invariant culture.</summary>
internal sealed class Svg(double width, double height, string title)
{
    public const string Positive = "#d6004b";
    public const string Negative = "#0a76d8";
    private readonly StringBuilder _body = new();

    public Svg Rectangle(double x, double y, double w, double h, string fill, string? tip = null) =>
        Add($"<rect x=\"{N(x)}\" y=\"{N(y)}\" width=\"{N(w)}\" height=\"{N(h)}\" fill=\"{fill}\"", tip, "rect");

    public Svg Circle(double x, double y, double radius, string fill, string? tip = null) =>
        Add($"<circle cx=\"{N(x)}\" cy=\"{N(y)}\" r=\"{N(radius)}\" fill=\"{fill}\" fill-opacity=\".75\"", tip, "circle");

    public Svg Line(double x1, double y1, double x2, double y2, string stroke = "#999", string? dash = null) =>
        Add($"<line x1=\"{N(x1)}\" y1=\"{N(y1)}\" x2=\"{N(x2)}\" y2=\"{N(y2)}\" stroke=\"{stroke}\"{(dash is null ? "" : $" stroke-dasharray=\"{dash}\"")}", null, "line");

    public Svg Text(double x, double y, string text, string anchor = "start", string fill = "#222")
    {
        _body.Append(CultureInfo.InvariantCulture, $"<text x=\"{N(x)}\" y=\"{N(y)}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{Escape(text)}</text>");
        return this;
    }

    public override string ToString() =>
        $"<svg role=\"img\" aria-label=\"{Escape(title)}\" viewBox=\"0 0 {N(width)} {N(height)}\" width=\"{N(width)}\" height=\"{N(height)}\">{_body}</svg>";

    public static string Escape(string text) => WebUtility.HtmlEncode(text);

    /// <summary>A value as the plots print it: four significant digits.</summary>
    public static string Number(double value) => value.ToString("G4", CultureInfo.InvariantCulture);

    /// <summary>The same with its sign.</summary>
    public static string Signed(double value) => (value < 0 ? "−" : "+") + Number(Math.Abs(value));

    private static string N(double value) => Math.Round(value, 2).ToString(CultureInfo.InvariantCulture);

    private Svg Add(string element, string? tip, string name)
    {
        _body.Append(element).Append(tip is null ? "/>" : $"><title>{Escape(tip)}</title></{name}>");
        return this;
    }
}
