using System.Diagnostics;
using DeepSeek.Inference.Batching;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Serving;

namespace DeepSeek.Inference.Tests.Serving;

/// <summary>Alone in the process while it runs: it measures the process's memory.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone;

[Collection(nameof(Alone))]
public sealed class LoadedVersionTests
{
    private static readonly BatchLimits Limits = new(8, TimeSpan.Zero, 100);

    [Fact]
    public async Task Retired_WhileARequestRuns_LivesUntilItsLeaseEnds()
    {
        var version = Load(Models.Identity(Onnx.OnnxType.Float, "N"));
        Assert.True(version.TryAcquire());
        Assert.True(version.TryAcquire());

        version.Retire();
        version.Release();

        // One lease is left: the session still computes, and new leases can still be had from it.
        var outputs = await version.InferAsync(WarmUpWork.Of(version.Signature, 3), default);
        Assert.Equal([3], outputs[0].Shape);
        version.Release();
        Assert.False(version.TryAcquire());
    }

    [Fact]
    public void FiftyLoadsAndUnloads_LeaveMemoryWhereItWas()
    {
        // 8 MiB of weights: fifty leaked sessions would be 400 MiB and more.
        var onnx = Models.OfSize(2 << 20);
        Cycle(onnx, 5);
        var before = ResidentBytes();

        Cycle(onnx, 50);

        Assert.InRange(ResidentBytes() - before, long.MinValue, 64L << 20);
    }

    [Fact]
    public async Task WarmUp_ThatFails_IsToldAndDoesNotHinderRealRequests()
    {
        // Made-up text is empty, which is no number.
        var version = Load(Models.ParseNumber());
        version.WarmUp();

        Assert.NotNull(version.WarmUpFault);
        var text = new Tensor("x", DataType.Bytes, [1], new byte[] { 2, 0, 0, 0, (byte)'4', (byte)'2' });
        var outputs = await version.InferAsync(version.Signature.Bind(new InferRequest { Inputs = [text] }), default);
        Assert.Equal(42f, BitConverter.ToSingle(outputs[0].Data.Span));
        version.Retire();
    }

    [Fact]
    public async Task MoreRowsThanABatch_OfAModelThatMixesRows_AreRefusedWithTheLimit()
    {
        var version = Load(Models.Twice());
        var work = WarmUpWork.Of(version.Signature, 20);

        var fault = await Assert.ThrowsAsync<InferenceException>(() => version.InferAsync(work, default));

        Assert.Equal(400, fault.Status);
        Assert.Contains("at most 8 rows", fault.Message, StringComparison.Ordinal);
        version.Retire();
    }

    private static void Cycle(byte[] onnx, int times)
    {
        for (var i = 0; i < times; i++)
        {
            var version = Load(onnx);
            version.WarmUp();
            version.Retire();
        }
    }

    private static LoadedVersion Load(byte[] onnx) => new(
        "test", new ServedModel(Guid.NewGuid(), "test", 1, new string('0', 64)), Session.Of(onnx), Limits, TimeProvider.System);

    private static long ResidentBytes()
    {
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        using var process = Process.GetCurrentProcess();
        return process.WorkingSet64;
    }
}
