using DeepSeek.Compression.Compressions;
using DeepSeek.Compression.Graphs;
using DeepSeek.Compression.Measurement;
using DeepSeek.Compression.Tests.Nets;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Compression.Tests.Measurement;

public sealed class MeasurementTests
{
    [Fact]
    public void Percentiles_KnownValues_LieBetweenTheRanks()
    {
        var p = Percentiles.Of(Enumerable.Range(1, 101).Select(i => (double)i).Reverse());
        Assert.Equal((51.0, 96.0), (p.P50, p.P95));
        Assert.Equal(new Percentiles(1.5, 1.95), Percentiles.Of([2, 1]));
    }

    [Fact]
    public void Comparison_Classes_CountsHitsAndAgreement()
    {
        var comparison = Comparison.For(classification: true);
        using var a = OrtValue.CreateTensorValueFromMemory(new[] { 0.9f, 0.1f, 0.2f, 0.8f, 0.6f, 0.4f, 0.3f, 0.7f }, [4, 2]);
        using var b = OrtValue.CreateTensorValueFromMemory(new[] { 0.8f, 0.2f, 0.6f, 0.4f, 0.7f, 0.3f, 0.4f, 0.6f }, [4, 2]);
        comparison.Add(a, b, [0, 1, 0, 0]); // decisions 0 1 0 1 and 0 0 0 1

        Assert.Equal((0.75, 0.5, 0.75, 4), (comparison.Fp32, comparison.Int8, comparison.Agreement, comparison.Rows));
    }

    [Fact]
    public void Comparison_Values_GivesR2()
    {
        var comparison = Comparison.For(classification: false);
        using var a = OrtValue.CreateTensorValueFromMemory(new[] { 1f, 2f, 3f }, [3, 1]);
        using var b = OrtValue.CreateTensorValueFromMemory(new[] { 1f, 2f, 4f }, [3, 1]);
        comparison.Add(a, b, [1, 2, 3]);

        // mean 2, total 2; the one residual of 1 gives 1 − 1/2
        Assert.Equal((1.0, 0.5, 0.5), (comparison.Fp32, comparison.Int8, comparison.Agreement));
    }

    [Fact]
    public void Comparison_Tokens_GivesPerplexityOfEachAndTheShareOfEqualTokens()
    {
        // Two rows of two tokens among four: even logits cost ln 4 each; the second model puts 3/4 on one token, right twice, wrong twice.
        var batch = new LabelledBatch(new ModelBatch(2, [new ModelInput("text", [2, 2], new long[] { 0, 1, 2, 3 })]), [2, 0]);
        Assert.Equal([1.0, 2, 3, 0], TokenComparison.NextTokens(batch));
        var sure = MathF.Log(9); // 9 : 1 : 1 : 1
        using var a = OrtValue.CreateTensorValueFromMemory(new float[16], [2, 2, 4]);
        using var b = OrtValue.CreateTensorValueFromMemory(new[] { 0, sure, 0, 0, 0, 0, sure, 0, sure, 0, 0, 0, 0, sure, 0, 0 }, [2, 2, 4]);
        var comparison = Comparison.ForTokens();

        comparison.Add(a, b, TokenComparison.NextTokens(batch));

        Assert.Equal(4, comparison.Rows);
        Assert.Equal(4, comparison.Fp32, 1e-6);
        // Twice 3/4, twice 1/12: the geometric mean of 4/3 and 12.
        Assert.Equal(4, comparison.Int8, 1e-5);
        Assert.Equal(0.25, comparison.Agreement);
        var worse = new AccuracyReport("perplexity", 4, 5, 4);
        Assert.Equal(0.25, worse.Drop, 12);
    }

    [Fact]
    public void Latency_TwoModels_AreTimedEquallyOften()
    {
        using var first = ModelSession.Open(ResidualNet.Make());
        using var second = ModelSession.Open(ResidualNet.Make());

        var report = Latency.Measure(first, second, ResidualNet.Rows(1), ["logits"], warmUp: 20, runs: 200);

        Assert.Equal(200, report.Runs);
        Assert.True(report.Fp32.P50 > 0 && report.Fp32.P50 <= report.Fp32.P95 && report.Int8.P50 > 0);
    }

    [Theory]
    [InlineData(1024, 784, 256)]        // Fashion-MNIST as it is stored
    [InlineData(1024, 65_536, 256)]     // 64 MB in a block
    [InlineData(1, 48 << 20, 1)]
    [InlineData(100, 1_500_000, 44)]
    [InlineData(3, 100 << 20, 1)]       // not even one row fits, so one it is
    public void RowsPerBatch_Images_FillsTheBatchWithinItsBytes(int rows, int bytesPerImage, int expected)
    {
        Assert.Equal(expected, DatasetRows.RowsPerBatch((long)rows * bytesPerImage, rows));
    }

    [Fact]
    public void LabelledBatch_TakeAndConcat_KeepRowsAndFingerprints()
    {
        var batch = new LabelledBatch(new ModelBatch(3,
        [
            new ModelInput("x", [3, 1], new[] { 1.0, 2.0, double.NaN }),
            new ModelInput("s", [3, 1], new[] { "a", "", "a" }),
        ]), [0, 1, 2]);

        var taken = batch.Take([2, 0]);
        var both = LabelledBatch.Concat([taken, batch]);

        Assert.Equal([2.0, 0, 0, 1, 2], both.Targets);
        Assert.Equal(new[] { "a", "a", "a", "", "a" }, both.Batch.Inputs[1].Values);
        Assert.Equal(both.Fingerprint(0), both.Fingerprint(4)); // NaN equals NaN
        Assert.Equal(both.Fingerprint(1), batch.Fingerprint(0));
        Assert.NotEqual(batch.Fingerprint(0), batch.Fingerprint(1));
        Assert.NotEqual(batch.Fingerprint(0), batch.Fingerprint(2));
    }
}
