using DeepSeek.Explainability.Models;

namespace DeepSeek.Explainability.Images;

/// <summary>Heat map [Height, Width], row-major: mean drop of f over the patches that covered each pixel.</summary>
public sealed record HeatMap(int Height, int Width, double[] Values, double Score, int Evaluations);

/// <summary>
/// Occlusion sensitivity (Zeiler and Fergus 2014, §4.2): a square patch of a fill value slides over the image; where f falls
/// the covered pixels supported it, where f rises they spoke against it.
/// </summary>
public static class Occlusion
{
    private const int BatchSize = 128;

    /// <summary>Heat map of one image [C, H, W].</summary>
    /// <param name="model">The function to explain.</param>
    /// <param name="image">Pixels, row-major.</param>
    /// <param name="shape">Shape of the image.</param>
    /// <param name="patch">Edge of the patch in pixels, at least 1, at most the shorter edge of the image.</param>
    /// <param name="stride">Step of the patch in pixels, 1 to <paramref name="patch"/> so that no pixel is left out.</param>
    /// <param name="fill">Value of each channel under the patch, for instance the background's mean [C].</param>
    /// <param name="cancellationToken">Ends the work early.</param>
    public static HeatMap Explain(IImageModel model, ReadOnlySpan<byte> image, ImageShape shape, int patch, int stride, ReadOnlySpan<byte> fill, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(patch, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(patch, Math.Min(shape.Height, shape.Width));
        ArgumentOutOfRangeException.ThrowIfLessThan(stride, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(stride, patch);
        ArgumentOutOfRangeException.ThrowIfNotEqual(image.Length, shape.Length);
        ArgumentOutOfRangeException.ThrowIfNotEqual(fill.Length, shape.Channels);

        var corners = Corners(shape, patch, stride);
        var score = new double[1];
        model.Predict(image.ToArray(), shape, score);
        var sums = new double[shape.Height * shape.Width];
        var covers = new int[sums.Length];
        for (var start = 0; start < corners.Count; start += BatchSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var count = Math.Min(BatchSize, corners.Count - start);
            var images = new byte[count * shape.Length];
            for (var i = 0; i < count; i++)
            {
                var target = images.AsSpan(i * shape.Length, shape.Length);
                image.CopyTo(target);
                Cover(target, shape, corners[start + i], patch, fill);
            }

            var outputs = new double[count];
            model.Predict(images, shape, outputs);
            for (var i = 0; i < count; i++)
            {
                Accumulate(sums, covers, shape.Width, corners[start + i], patch, score[0] - outputs[i]);
            }
        }

        for (var pixel = 0; pixel < sums.Length; pixel++)
        {
            sums[pixel] /= covers[pixel];
        }

        return new HeatMap(shape.Height, shape.Width, sums, score[0], corners.Count + 1);
    }

    // Every stride, and the far edges, so that each pixel is covered at least once.
    private static List<(int Y, int X)> Corners(ImageShape shape, int patch, int stride)
    {
        var corners = new List<(int, int)>();
        foreach (var y in Starts(shape.Height, patch, stride))
        {
            foreach (var x in Starts(shape.Width, patch, stride))
            {
                corners.Add((y, x));
            }
        }

        return corners;
    }

    private static IEnumerable<int> Starts(int length, int patch, int stride)
    {
        var start = 0;
        for (; start < length - patch; start += stride)
        {
            yield return start;
        }

        yield return length - patch;
    }

    private static void Cover(Span<byte> image, ImageShape shape, (int Y, int X) corner, int patch, ReadOnlySpan<byte> fill)
    {
        for (var channel = 0; channel < shape.Channels; channel++)
        {
            for (var y = corner.Y; y < corner.Y + patch; y++)
            {
                image.Slice((channel * shape.Height + y) * shape.Width + corner.X, patch).Fill(fill[channel]);
            }
        }
    }

    private static void Accumulate(double[] sums, int[] covers, int width, (int Y, int X) corner, int patch, double drop)
    {
        for (var y = corner.Y; y < corner.Y + patch; y++)
        {
            for (var x = corner.X; x < corner.X + patch; x++)
            {
                sums[y * width + x] += drop;
                covers[y * width + x]++;
            }
        }
    }
}
