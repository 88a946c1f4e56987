using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Features;
using DeepSeek.Preprocessing.Profiles;

namespace DeepSeek.Preprocessing.Tests;

public sealed class StatisticsTests
{
    [Fact]
    public void Quantiles_FewValues_InterpolateLikeNumpy()
    {
        var sketch = new QuantileSketch();
        foreach (var value in new[] { 4.0, 1, 3, 2 })
        {
            sketch.Add(value);
        }
        // numpy.quantile([1, 2, 3, 4], [0, .25, .5, .9, 1])
        Assert.Equal([1, 1.75, 2.5, 3.7, 4], sketch.Quantiles([0, 0.25, 0.5, 0.9, 1]).Select(v => Math.Round(v, 12)));
        Assert.True(double.IsNaN(new QuantileSketch().Quantile(0.5)));
    }

    [Theory]
    [InlineData(100_000)]
    [InlineData(3_000_000)]
    public void Quantiles_ManyValues_StayWithinTheRankError(int count)
    {
        var sketch = new QuantileSketch();
        var random = new SeededRandom(1, "sketch");
        var values = new double[count];
        for (var i = 0; i < count; i++)
        {
            sketch.Add(values[i] = random.Next(1L << 40));
        }
        Array.Sort(values);
        foreach (var share in new[] { 0.01, 0.25, 0.5, 0.75, 0.99 })
        {
            var rank = (double)~Array.BinarySearch(values, sketch.Quantile(share) + 0.5) / count;
            Assert.InRange(rank, share - 0.002, share + 0.002);
        }
    }

    [Fact]
    public void Distinct_SmallIsExact_LargeIsCloseTo()
    {
        var counter = new DistinctCounter();
        for (var i = 0; i < 50_000; i++)
        {
            counter.Add(SeededRandom.Mix((ulong)(i % 30_000)));
        }
        Assert.True(counter.Exact);
        Assert.Equal(30_000, counter.Count);
        for (var i = 0; i < 1_000_000; i++)
        {
            counter.Add(SeededRandom.Mix((ulong)i));
        }
        Assert.False(counter.Exact);
        Assert.InRange(counter.Count, 950_000, 1_050_000); // 3 σ of 1.6 %
    }

    [Fact]
    public void Moments_LargeOffset_KeepTheirDigits()
    {
        var moments = new Moments();
        foreach (var value in new[] { 1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16 })
        {
            moments.Add(value);
        }
        Assert.Equal(1e9 + 10, moments.Mean);
        Assert.Equal(Math.Sqrt(22.5), moments.Deviation, 12);
    }

    [Fact]
    public void Association_KnownTables_GiveKnownMeasures()
    {
        var correlation = new SquaredCorrelation();
        var ratio = new VarianceRatio();
        var cramer = new CramersV(2);
        double[] x = [1, 2, 3, 4, 5];
        double[] y = [2, 4, 5, 4, 5];
        for (var i = 0; i < x.Length; i++)
        {
            correlation.Add(x[i], y[i]);
        }
        Assert.Equal(0.6, correlation.Value!.Value, 12); // 6² / (10 · 6)
        foreach (var (group, value) in new[] { (0, 1.0), (0, 3), (1, 5), (1, 7) })
        {
            ratio.Add(group, value);
        }
        Assert.Equal(0.8, ratio.Value!.Value, 12); // 16 of 20
        foreach (var (category, target, times) in new[] { (0, 0, 30), (0, 1, 10), (1, 0, 20), (1, 1, 40) })
        {
            for (var i = 0; i < times; i++)
            {
                cramer.Add(category, target);
            }
        }
        Assert.Equal(Math.Sqrt(1.0 / 6), cramer.Value!.Value, 12); // χ² = 16.67 of 100 rows
        Assert.Null(new VarianceRatio().Value);
        Assert.Null(new CramersV(2).Value);
    }
}
