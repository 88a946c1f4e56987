using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class TopKTests
{
    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(3, 17, 5)]
    [InlineData(2, 100, 100)]
    [InlineData(4, 32768, 2048)]
    [InlineData(1, 300_001, 512)]
    [InlineData(2, 20_000, 7)]
    public void Select_OnEachInstructionSet_EqualsASortOfTheRow(int rows, int columns, int k)
    {
        var values = KernelData.Normal(1, (long)rows * columns);
        foreach (var dtype in new[] { Dtype.Float32, Dtype.BFloat16, Dtype.Float16 })
        {
            KernelData.OnEachInstructionSet(set =>
            {
                Check(values, rows, columns, k, dtype, true);
                Check(values, rows, columns, k, dtype, false);
            });
        }
    }

    public static TheoryData<string> Patterns => ["constant", "few values", "rising", "falling", "mostly zero", "sampled places low", "specials"];

    [Theory]
    [MemberData(nameof(Patterns))]
    public void Select_OfUnevenRows_StaysExact(string pattern)
    {
        const int columns = 20_000;
        var noise = KernelData.Normal(2, columns);
        var values = new float[columns];
        for (var i = 0; i < columns; i++)
        {
            values[i] = pattern switch
            {
                "constant" => 3,
                "few values" => i % 5,
                "rising" => i,
                "falling" => -i,
                "mostly zero" => i % 50 == 0 ? noise[i] : i % 2 == 0 ? -0f : 0f,
                "sampled places low" => i % 156 < 16 ? noise[i] - 100 : noise[i],
                _ => (i % 7) switch { 0 => float.NaN, 1 => float.PositiveInfinity, 2 => float.NegativeInfinity, 3 => float.Epsilon, _ => noise[i] },
            };
        }
        KernelData.OnEachInstructionSet(set =>
        {
            foreach (var k in new[] { 1, 700, 4000 })
            {
                Check(values, 1, columns, k, Dtype.Float32, true);
                Check(values, 1, columns, k, Dtype.Float32, false);
            }
        });
    }

    [Fact]
    public void Select_OfAStridedViewBesideNaN_IgnoresWhatLiesOutside()
    {
        using var scope = TensorScope.Open();
        var inside = KernelData.Normal(3, 400);
        var wide = Enumerable.Repeat(float.NaN, 4 * 130).ToArray();
        for (var r = 0; r < 4; r++)
        {
            inside.AsSpan(r * 100, 100).CopyTo(wide.AsSpan(r * 130 + 11));
        }
        var (values, indices) = TopK.Select(Tensor.From<float>(wide, 4, 130).Narrow(1, 11, 100), 9);
        var (expected, places) = TopK.Select(Tensor.From<float>(inside, 4, 100), 9);
        Assert.Equal(expected.ToArray<float>(), values.ToArray<float>());
        Assert.Equal(places.ToArray<long>(), indices.ToArray<long>());
    }

    [Fact]
    public void Select_OfNothing_IsEmpty()
    {
        using var scope = TensorScope.Open();
        Assert.Equal([0, 3], TopK.Select(Tensor.Empty(Dtype.Float32, 0, 5), 3).Values.Shape());
        Assert.Equal([2, 0], TopK.Select(Tensor.Empty(Dtype.Float32, 2, 5), 0).Indices.Shape());
        Assert.Contains("k is 6", Assert.ThrowsAny<Exception>(() => TopK.Select(Tensor.Empty(Dtype.Float32, 2, 5), 6)).Message);
    }

    [Fact]
    public void Select_TwentyTimes_GivesTheSameBits()
    {
        using var scope = TensorScope.Open();
        var x = Tensor.From<float>(KernelData.Normal(4, 8 * 10_000), 8, 10_000);
        var first = TopK.Select(x, 512);
        Assert.All(Enumerable.Range(0, 19), _ =>
        {
            var again = TopK.Select(x, 512);
            Assert.Equal(first.Values.ToArray<float>(), again.Values.ToArray<float>());
            Assert.Equal(first.Indices.ToArray<long>(), again.Indices.ToArray<long>());
        });
    }

    [Fact]
    public void Backward_OfTheValues_ReachesTheirPlacesOnly()
    {
        using var scope = TensorScope.Open();
        using var x = TensorHandle.From<float>([3, 1, 4, 1, 5, 9], 2, 3).WithGrad();
        (TopK.Select(x.Tensor, 2).Values * Tensor.From<float>([10, 20, 30, 40], 2, 2)).Sum().Backward();
        Assert.Equal([20, 0, 10, 0, 40, 30], x.Tensor.Grad().ToArray<float>());
    }

    private static void Check(float[] values, int rows, int columns, int k, Dtype dtype, bool largest)
    {
        using var scope = TensorScope.Open();
        var x = Tensor.From<float>(values, rows, columns).To(dtype);
        var stored = KernelData.Doubles(x);
        var (top, indices) = TopK.Select(x, k, largest);
        var places = indices.ToArray<long>();
        var kept = KernelData.Doubles(top);
        for (var r = 0; r < rows; r++)
        {
            var row = stored.AsSpan(r * columns, columns).ToArray();
            // NaN is the greatest; −0 and +0 are equal; the sort by index comes second.
            var order = Enumerable.Range(0, columns).Select(i => (Key: double.IsNaN(row[i]) ? (2, 0.0) : (1, row[i] + 0.0), Index: i)).ToArray();
            var expected = (largest ? order.OrderByDescending(o => o.Key) : order.OrderBy(o => o.Key)).ThenBy(o => o.Index).Take(k).Select(o => (long)o.Index).ToArray();
            Assert.Equal(expected, places.AsSpan(r * k, k).ToArray());
            Assert.Equal(expected.Select(i => row[i]), kept.AsSpan(r * k, k).ToArray());
        }
    }
}
