using DeepSeek.Explainability.Shapley;

namespace DeepSeek.Explainability.Tests;

/// <summary>Games whose Shapley values are known by hand or from the literature.</summary>
public sealed class ShapleyTests
{
    private const double Tolerance = 1e-12;

    /// <summary>Three cooks: SV = (8/3, 5/3, 2/3), worked by hand from the six orders.</summary>
    private static readonly double[] s_cooking = [10, 4, 3, 9, 2, 8, 7, 15];

    [Fact]
    public void Exact_CookingGame_GivesHandComputedValues()
    {
        var attribution = ExactShapley.Explain(TableGame.Of(s_cooking));

        Assert.Equal(10, attribution.Base);
        Assert.Equal(15, attribution.Grand);
        Equal([8.0 / 3, 5.0 / 3, 2.0 / 3], attribution.Phi, Tolerance);
        Assert.Null(attribution.StandardErrors);
        Assert.Equal(8, attribution.Evaluations);
    }

    /// <summary>v(s) = s − 0.1·C(s,2) for s > 1, else 0, n = 11: symmetric, v(N) = 5.5, so each player gets one half.</summary>
    [Fact]
    public void Exact_SymmetricGameOfEleven_SharesEqually()
    {
        var attribution = ExactShapley.Explain(new FunctionGame(11, s => s.Count(m => m) is var c && c > 1 ? c - 0.05 * c * (c - 1) : 0));

        Equal(Enumerable.Repeat(0.5, 11).ToArray(), attribution.Phi, Tolerance);
    }

    /// <summary>relu(s−10) + 3·relu(s+1) − 1 with s = Σx over x = (20,50,30) and baseline 0 (values published with Captum's tests).</summary>
    [Theory]
    [InlineData(new[] { 20.0, 50, 30 }, new[] { 0.0, 0, 0 }, new[] { 76.66666667, 196.66666667, 116.66666667 })]
    [InlineData(new[] { 20.0, 50, 30 }, new[] { 10.0, 20, 10 }, new[] { 40.0, 120, 80 })]
    [InlineData(new[] { 2.0, 10, 3 }, new[] { 0.0, 0, 0 }, new[] { 7.0, 32.5, 10.5 })]
    public void Exact_ReluNetwork_GivesPublishedValues(double[] x, double[] baseline, double[] expected)
    {
        static double Relu(double z) => Math.Max(z, 0);
        var game = new FunctionGame(3, members =>
        {
            var sum = Enumerable.Range(0, 3).Sum(i => members[i] ? x[i] : baseline[i]);
            return Relu(sum - 10) + 3 * Relu(sum + 1) - 1;
        });

        Equal(expected, ExactShapley.Explain(game).Phi, 1e-8);
    }

    /// <summary>f = x₀x₂ + x₁ + x₂ + x₂x₃ splits each product in halves; antithetic walks are exact for order two, whatever the sample.</summary>
    [Fact]
    public void Permutation_GameOfOrderTwo_IsExactWithoutError()
    {
        double[] x = [3, -2, 5, 7];
        var game = new FunctionGame(4, m => F(m[0] ? x[0] : 0, m[1] ? x[1] : 0, m[2] ? x[2] : 0, m[3] ? x[3] : 0));

        var attribution = PermutationShapley.Explain(game, seed: 1, maxPairs: 20, targetError: 1e-9);

        Equal([7.5, -2, 7.5 + 5 + 17.5, 17.5], attribution.Phi, Tolerance);
        Assert.All(attribution.StandardErrors!, error => Assert.InRange(error, 0, 1e-9));

        static double F(double a, double b, double c, double d) => a * c + b + c + c * d;
    }

    [Fact]
    public void Permutation_RandomGame_LiesWithinFourStandardErrorsOfExact()
    {
        const int n = 8;
        var random = new Random(7);
        var game = TableGame.Of([.. Enumerable.Range(0, 1 << n).Select(_ => random.NextDouble())]);
        var exact = ExactShapley.Explain(game);

        var sampled = PermutationShapley.Explain(game, seed: 3, maxPairs: 40_000, targetError: 0.002);

        Assert.Equal(exact.Grand - exact.Base, sampled.Phi.Sum(), 1e-9);
        for (var i = 0; i < n; i++)
        {
            Assert.InRange(sampled.StandardErrors![i], 1e-6, 0.002);
            Assert.InRange(Math.Abs(sampled.Phi[i] - exact.Phi[i]), 0, 4 * sampled.StandardErrors[i]);
        }
    }

    [Fact]
    public void Permutation_SameSeed_GivesSameValues()
    {
        var game = TableGame.Of([.. Enumerable.Range(0, 64).Select(i => Math.Sin(i * i))]);

        var first = PermutationShapley.Explain(game, seed: 11, maxPairs: 10, targetError: 0);
        var second = PermutationShapley.Explain(game, seed: 11, maxPairs: 10, targetError: 0);
        var other = PermutationShapley.Explain(game, seed: 12, maxPairs: 10, targetError: 0);

        Assert.Equal(first.Phi, second.Phi);
        Assert.NotEqual(first.Phi, other.Phi);
    }

    /// <summary>Efficiency, symmetry, null player and linearity (Shapley 1953) on random games of 1 to 7 players.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    [InlineData(7)]
    public void Exact_RandomGames_KeepTheAxioms(int n)
    {
        var random = new Random(n);
        double[] first = [.. Enumerable.Range(0, 1 << n).Select(_ => random.NextDouble() * 10 - 5)];
        double[] second = [.. Enumerable.Range(0, 1 << n).Select(_ => random.NextDouble())];
        var a = ExactShapley.Explain(TableGame.Of(first));
        var b = ExactShapley.Explain(TableGame.Of(second));
        var sum = ExactShapley.Explain(TableGame.Of([.. first.Zip(second, (x, y) => 2 * x + y)]));

        Assert.Equal(a.Grand - a.Base, a.Phi.Sum(), 1e-10);
        Equal([.. a.Phi.Zip(b.Phi, (x, y) => 2 * x + y)], sum.Phi, 1e-10);

        // A player added to the game who changes nothing gets nothing and leaves the others' shares as they were.
        var extended = ExactShapley.Explain(TableGame.Of([.. first, .. first]));
        Equal([.. a.Phi, 0], extended.Phi, 1e-10);
    }

    [Fact]
    public void Exact_TooManyPlayers_IsRefused() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => ExactShapley.Explain(new FunctionGame(13, _ => 0)));

    [Fact]
    public void Permutation_MoreThanSixtyFourPlayers_AddsUp()
    {
        var game = new FunctionGame(100, m => m.Select((member, i) => member ? i : 0).Sum() + (m[3] && m[97] ? 5 : 0));

        var attribution = PermutationShapley.Explain(game, seed: 5, maxPairs: 4, targetError: 0);

        Assert.Equal(3 + 2.5, attribution.Phi[3], 1e-9);
        Assert.Equal(97 + 2.5, attribution.Phi[97], 1e-9);
        Assert.Equal(50, attribution.Phi[50], 1e-9);
    }

    [Fact]
    public void GlobalImportance_OrdersByMeanAbsoluteValue()
    {
        var global = GlobalImportance.Of(["a", "b"], [[1, -4], [-1, 2]]);

        Assert.Equal(["b", "a"], global.Select(g => g.Feature));
        Assert.Equal(3, global[0].MeanAbsolute);
        Assert.Equal(-1, global[0].Mean);
        Assert.Equal(1, global[0].StandardError, Tolerance); // |φ| = 4, 2: sample deviation √2, over √2
    }

    private static void Equal(double[] expected, double[] actual, double tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (var i = 0; i < expected.Length; i++)
        {
            Assert.Equal(expected[i], actual[i], tolerance);
        }
    }
}
