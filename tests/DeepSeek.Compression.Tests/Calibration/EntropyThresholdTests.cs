using DeepSeek.Compression.Calibration;
using DeepSeek.Compression.Quantization;

namespace DeepSeek.Compression.Tests.Calibration;

public sealed class EntropyThresholdTests
{
    [Fact]
    public void Find_GaussianWithOutliers_ClipsThemAndHalvesTheErrorOfTheRest()
    {
        // 50 000 values of N(0, 1) and five outliers at ±60: min-max spends 9 of 10 levels on nothing.
        var random = new Random(3);
        var bulk = Enumerable.Range(0, 50_000).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()))).ToArray();
        float[] outliers = [60, -60, 55, -57, 59];
        var histogram = new Histogram(60);
        histogram.Add([.. bulk, .. outliers]);

        var threshold = EntropyThreshold.Find(histogram.Bins, histogram.BinWidth, 127);

        Assert.InRange(threshold, bulk.Max() * 0.6f, 20f);
        var (minMax, entropy) = (Error(60), Error(threshold));
        Assert.True(entropy < minMax / 2, $"mean squared error of the bulk {minMax} → {entropy} at threshold {threshold}");

        double Error(float t)
        {
            var p = QuantMath.ForActivation(new TensorRange(-t, t), ActivationType.UInt8);
            return bulk.Average(x => Math.Pow(QuantMath.Dequantize(QuantMath.Quantize(x, p, ActivationType.UInt8), p) - x, 2));
        }
    }

    [Fact]
    public void Find_UniformValues_KeepsTheWholeRange()
    {
        var histogram = new Histogram(1);
        histogram.Add([.. Enumerable.Range(1, 100_000).Select(i => i / 100_000f)]);

        Assert.InRange(EntropyThreshold.Find(histogram.Bins, histogram.BinWidth, 255), 0.99f, 1f);
    }

    [Fact]
    public void Find_NothingCounted_KeepsTheWholeRange() =>
        Assert.Equal(7f, EntropyThreshold.Find(new double[Histogram.BinCount], 7f / Histogram.BinCount, 255), 1e-5f);

    [Fact]
    public void Histogram_Values_AreCountedByMagnitudeWithoutZeros()
    {
        var histogram = new Histogram(2);
        histogram.Add([0f, -0f, 2f, -2f, 1f, 0.0001f]);

        Assert.Equal(4, histogram.Bins.ToArray().Sum());
        Assert.Equal(2, histogram.Bins[^1]);
        Assert.Equal(1, histogram.Bins[Histogram.BinCount / 2]);
        Assert.Equal(1, histogram.Bins[0]);
    }
}
