using DeepSeek.Explainability.Images;
using DeepSeek.Explainability.Models;

namespace DeepSeek.Explainability.Tests;

public sealed class OcclusionTests
{
    /// <summary>f is one pixel's value: only patches over that pixel lower it, by its whole distance from the fill.</summary>
    [Fact]
    public void OnePixelModel_HeatIsTheShareOfPatchesOverThatPixel()
    {
        var shape = new ImageShape(1, 6, 6);
        var image = new byte[36];
        image[2 * 6 + 3] = 200;

        var heat = Occlusion.Explain(new FunctionImageModel(pixels => pixels[2 * 6 + 3]), image, shape, patch: 2, stride: 2, fill: [50]);

        Assert.Equal(200, heat.Score);
        Assert.Equal(10, heat.Evaluations);
        for (var y = 0; y < 6; y++)
        {
            for (var x = 0; x < 6; x++)
            {
                Assert.Equal(y is 2 or 3 && x is 2 or 3 ? 150 : 0, heat.Values[y * 6 + x]);
            }
        }
    }

    [Fact]
    public void OverlappingPatches_AverageTheirDrops_AndReachTheEdges()
    {
        var shape = new ImageShape(1, 3, 5);
        var image = Enumerable.Repeat((byte)10, 15).ToArray();

        // Patches of 2 by 2 start at rows 0, 1 and columns 0, 2, 3: the last column is covered though the stride passes it.
        var heat = Occlusion.Explain(new FunctionImageModel(pixels => pixels.Sum(p => p)), image, shape, patch: 2, stride: 2, fill: [0]);

        Assert.Equal(2 * 3 + 1, heat.Evaluations);
        Assert.All(heat.Values, value => Assert.Equal(40, value));
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(4, 1)]
    [InlineData(2, 3)]
    public void PatchOrStrideOutOfRange_IsRefused(int patch, int stride) =>
        Assert.ThrowsAny<ArgumentException>(() => Occlusion.Explain(new FunctionImageModel(_ => 0), new byte[9], new ImageShape(1, 3, 3), patch, stride, [0]));
}
