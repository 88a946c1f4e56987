using DeepSeek.Trainer;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>Metrics against sums over all pairs.</summary>
public sealed class SplitMetricsTests
{
    // Every pair of a row of the class and one of the others: 1 when it stands higher, 1/2 when they are tied.
    private static double PairAuc(IReadOnlyList<(double Score, bool Positive)> rows)
    {
        var pairs = (from p in rows where p.Positive from n in rows where !n.Positive select p.Score > n.Score ? 1 : p.Score == n.Score ? 0.5 : 0).ToList();
        return pairs.Average();
    }

    [Fact]
    public void Auc_TwoClassesWithTies_EqualsThePairs()
    {
        var random = new Random(1);
        var scores = Enumerable.Range(0, 200).Select(_ => random.Next(8) / 2f).ToArray();
        var target = scores.Select(s => random.NextDouble() < s / 5 ? 1L : 0L).ToArray();

        var metrics = SplitMetrics.Classification([.. scores.SelectMany(s => (float[])[0, s])], target, 2);

        // The second class against the first is the same number, so their mean is.
        Assert.Equal(PairAuc([.. scores.Select((s, i) => ((double)s, target[i] == 1))]), metrics["auc"], 12);
    }

    [Fact]
    public void Auc_EqualRowsWithNoiseInTheirLastBits_StayTied()
    {
        // Six kinds of rows, as two small categorical columns make them. What a matrix product adds to a row depends on its place in the
        // batch; here it even favours the right class.
        var random = new Random(2);
        var kinds = new float[] { -3.5f, -1.25f, -0.3f, 0.4f, 1.75f, 9.5f };
        var kind = Enumerable.Range(0, 300).Select(_ => random.Next(kinds.Length)).ToArray();
        var target = kind.Select(k => random.NextDouble() < 0.15 * k ? 1L : 0L).ToArray();
        var logits = kind.SelectMany((k, i) => (float[])[0.125f, target[i] == 1 ? MathF.BitIncrement(MathF.BitIncrement(kinds[k])) : kinds[k]]).ToArray();

        var metrics = SplitMetrics.Classification(logits, target, 2);

        Assert.Equal(PairAuc([.. kind.Select((k, i) => ((double)k, target[i] == 1))]), metrics["auc"], 12);
    }

    [Fact]
    public void Auc_DenseScores_AreRankedAllTheSame()
    {
        // A hundred thousand scores, each closer to the next than a tie is wide: the two halves still stand apart.
        const int rows = 100_000;
        var logits = Enumerable.Range(0, rows).SelectMany(i => (float[])[0, 2e-6f * (i - rows / 2)]).ToArray();
        var target = Enumerable.Range(0, rows).Select(i => i >= rows / 2 ? 1L : 0L).ToArray();

        var metrics = SplitMetrics.Classification(logits, target, 2);

        Assert.InRange(metrics["auc"], 1 - 1e-4, 1); // only the ties across the middle count half
    }

    [Fact]
    public void Auc_ThreeClassesOneWithoutRows_IsTheMeanOfTheOthers()
    {
        var random = new Random(3);
        var logits = Enumerable.Range(0, 150 * 3).Select(_ => (float)random.NextDouble() * 4).ToArray();
        var target = Enumerable.Range(0, 150).Select(i => (long)(i % 3 == 0 ? 0 : 1)).ToArray(); // class 2 has none

        var metrics = SplitMetrics.Classification(logits, target, 3);

        double Of(int k) => PairAuc([.. target.Select((t, i) =>
        {
            var weights = Enumerable.Range(0, 3).Select(c => Math.Exp(logits[i * 3 + c])).ToArray();
            return (weights[k] / weights.Sum(), t == k);
        })]);
        Assert.Equal((Of(0) + Of(1)) / 2, metrics["auc"], 6); // a pair within a tie's width counts half
    }

    [Fact]
    public void Auc_OneClassOnly_IsLeftOut()
    {
        var metrics = SplitMetrics.Classification([1, 2, 3, 4], [1, 1], 2);

        Assert.False(metrics.ContainsKey("auc"));
        Assert.Equal(1, metrics["accuracy"]);
    }
}
