namespace DeepSeek.Explainability.Reports;

/// <summary>An image beside its heat map: red pixels supported the output, blue ones spoke against it.</summary>
internal static class HeatMapPlot
{
    private const double Edge = 224;

    public static string Draw(ExplainedImage image)
    {
        var pixel = Edge / Math.Max(image.Height, image.Width);
        var extent = image.Heat.Select(Math.Abs).DefaultIfEmpty(0).Max();
        var svg = new Svg(2 * Edge + 20, Edge + 24, "Image and occlusion heat map");
        for (var y = 0; y < image.Height; y++)
        {
            for (var x = 0; x < image.Width; x++)
            {
                var (r, g, b) = Pixel(image, y, x);
                var heat = image.Heat[y * image.Width + x];
                svg.Rectangle(x * pixel, y * pixel, pixel + .3, pixel + .3, $"rgb({r},{g},{b})");
                svg.Rectangle(Edge + 20 + x * pixel, y * pixel, pixel + .3, pixel + .3, Colour(extent > 0 ? heat / extent : 0));
            }
        }

        return svg.Text(Edge + 20, Edge + 16, $"largest drop {Svg.Number(extent)} of {Svg.Number(image.Score)}").ToString();
    }

    private static (byte R, byte G, byte B) Pixel(ExplainedImage image, int y, int x)
    {
        byte At(int channel) => image.Pixels[(channel * image.Height + y) * image.Width + x];
        return image.Channels >= 3 ? (At(0), At(1), At(2)) : (At(0), At(0), At(0));
    }

    private static string Colour(double heat)
    {
        var fade = (int)(255 * (1 - Math.Min(Math.Abs(heat), 1)));
        return heat >= 0 ? $"rgb(255,{fade},{fade})" : $"rgb({fade},{fade},255)";
    }
}
