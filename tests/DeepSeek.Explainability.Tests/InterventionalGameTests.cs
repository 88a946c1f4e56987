using DeepSeek.Explainability.Models;
using DeepSeek.Explainability.Shapley;

namespace DeepSeek.Explainability.Tests;

public sealed class InterventionalGameTests
{
    /// <summary>For a linear model φᵢ = wᵢ (xᵢ − mean of the background) (Lundberg and Lee 2017, corollary 1).</summary>
    [Fact]
    public void LinearModel_Exact_GivesWeightTimesDistanceFromTheMean()
    {
        double[] w = [2, -3, 0.5];
        var model = new FunctionModel(["a", "b", "c"], x => 7 + w[0] * (double)x[0] + w[1] * (double)x[1] + w[2] * (double)x[2]);
        var background = Numbers(["a", "b", "c"], [[1, 2, 3], [3, 4, 9]]);
        var rows = Numbers(["a", "b", "c"], [[10, 20, 30]]);

        var attribution = ExactShapley.Explain(new InterventionalGame(model, background, rows, 0));

        Assert.Equal(7 + 2 * 2 - 3 * 3 + 0.5 * 6, attribution.Base, 1e-12);
        Assert.Equal(2 * (10 - 2), attribution.Phi[0], 1e-12);
        Assert.Equal(-3 * (20 - 3), attribution.Phi[1], 1e-12);
        Assert.Equal(0.5 * (30 - 6), attribution.Phi[2], 1e-12);
    }

    /// <summary>y = 80·(a ∧ b) over the four rows: exact values (−10,−10), (−30,10), (10,−30), (30,30), worked by hand.</summary>
    [Theory]
    [InlineData(0, 0, -10, -10)]
    [InlineData(0, 1, -30, 10)]
    [InlineData(1, 0, 10, -30)]
    [InlineData(1, 1, 30, 30)]
    public void AndTree_Exact_GivesHandComputedValues(double a, double b, double phiA, double phiB)
    {
        var model = new FunctionModel(["a", "b"], x => (double)x[0] > 0.5 && (double)x[1] > 0.5 ? 80 : 0);
        var background = Numbers(["a", "b"], [[0, 0], [0, 1], [1, 0], [1, 1]]);

        var attribution = ExactShapley.Explain(new InterventionalGame(model, background, Numbers(["a", "b"], [[a, b]]), 0));

        Assert.Equal(20, attribution.Base, 1e-12);
        Assert.Equal(phiA, attribution.Phi[0], 1e-12);
        Assert.Equal(phiB, attribution.Phi[1], 1e-12);
    }

    /// <summary>Depth-one tree on x ∈ (1, missing × 3, 100), y = 1 for the first: φ = .8 for it and −.2 for all others.</summary>
    [Theory]
    [InlineData(1, 0.8)]
    [InlineData(double.NaN, -0.2)]
    [InlineData(100, -0.2)]
    public void MissingValues_Exact_CountAsTheModelTreatsThem(double x, double phi)
    {
        var model = new FunctionModel(["x"], row => (double)row[0] < 50 ? 1 : 0);
        var background = Numbers(["x"], [[1], [double.NaN], [double.NaN], [double.NaN], [100]]);

        Assert.Equal(phi, ExactShapley.Explain(new InterventionalGame(model, background, Numbers(["x"], [[x]]), 0)).Phi[0], 1e-12);
    }

    [Fact]
    public void TextFeature_IsReplacedFromTheBackground()
    {
        var model = new FunctionModel(["city", "age"], x => ((string)x[0] == "Paris" ? 10 : 0) + (double)x[1]);
        var background = new FeatureTable(["city", "age"], [new[] { "Paris", "Rome", "Oslo", "" }, new double[] { 1, 1, 1, 1 }]);
        var rows = new FeatureTable(["city", "age"], [new[] { "Paris" }, new double[] { 1 }]);

        var attribution = ExactShapley.Explain(new InterventionalGame(model, background, rows, 0));

        Assert.Equal(7.5, attribution.Phi[0], 1e-12);
        Assert.Equal(0, attribution.Phi[1], 1e-12);
    }

    [Fact]
    public void LargeBackground_IsEvaluatedInSlices_WithTheSameValues()
    {
        var random = new Random(2);
        var background = Numbers(["a", "b"], [.. Enumerable.Range(0, 3000).Select(_ => new[] { random.NextDouble(), random.NextDouble() })]);
        var model = new FunctionModel(["a", "b"], x => (double)x[0] * (double)x[1]);

        var attribution = ExactShapley.Explain(new InterventionalGame(model, background, Numbers(["a", "b"], [[0.5, 0.25]]), 0));

        Assert.Equal(2, model.Calls); // four coalitions, two to a run
        var meanA = ((double[])background.Columns[0]).Average();
        var meanB = ((double[])background.Columns[1]).Average();
        Assert.Equal(0.5 * 0.25, attribution.Grand, 1e-12);
        Assert.Equal((0.5 * meanB - attribution.Base + 0.5 * 0.25 - meanA * 0.25) / 2, attribution.Phi[0], 1e-12);
    }

    private static FeatureTable Numbers(string[] names, double[][] rows) =>
        new(names, [.. names.Select((_, column) => (Array)rows.Select(row => row[column]).ToArray())]);
}
