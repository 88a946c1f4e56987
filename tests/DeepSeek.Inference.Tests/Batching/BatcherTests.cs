using System.Diagnostics;
using DeepSeek.Inference.Batching;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Serving;
using DeepSeek.Testing;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Inference.Tests.Batching;

public sealed class BatcherTests
{
    [Fact]
    public async Task TenRequests_OfBatchFour_LeaveSixThenTwoThenNonePending()
    {
        using var gate = new Gate();
        var batcher = gate.Batcher(new BatchLimits(4, TimeSpan.FromSeconds(30), 100));

        var requests = Enumerable.Range(0, 10).Select(_ => batcher.SubmitAsync(Work(1), default)).ToList();

        await Eventually.True(() => gate.Entered == 1 && batcher.QueueLength == 6);
        gate.Open();
        await Eventually.True(() => gate.Entered == 2 && batcher.QueueLength == 2);
        gate.Open();
        // The last two wait for company that does not come: 30 s are not over, so they are taken only when the batch fills.
        requests.AddRange(Enumerable.Range(0, 2).Select(_ => batcher.SubmitAsync(Work(1), default)));
        await Eventually.True(() => gate.Entered == 3 && batcher.QueueLength == 0);
        gate.Open();
        await Task.WhenAll(requests);
        Assert.Equal([4L, 4, 4], gate.Batches);
        gate.Statistics.Read((totals, _) =>
        {
            Assert.Equal(12, totals.InferenceCount);
            Assert.Equal(3, totals.ExecutionCount);
            return 0;
        });
    }

    [Fact]
    public async Task Request_ThatFindsNothingRunning_IsExecutedAtOnceOnItsOwnThread()
    {
        var batcher = new Batcher(new BatchLimits(8, TimeSpan.Zero, 8), Echo, Statistics(), TimeProvider.System);

        var outcome = batcher.SubmitAsync(Work(1), default);

        Assert.True(outcome.IsCompletedSuccessfully);
        Assert.Equal(1, (await outcome)[0].Rows);
    }

    [Fact]
    public async Task Request_ThatWaitsForCompany_IsExecutedWhenTheDelayIsOver()
    {
        var batcher = new Batcher(new BatchLimits(8, TimeSpan.FromMilliseconds(50), 8), Echo, Statistics(), TimeProvider.System);
        var watch = Stopwatch.StartNew();

        await batcher.SubmitAsync(Work(1), default).WaitAsync(Eventually.Deadline);

        Assert.InRange(watch.Elapsed, TimeSpan.FromMilliseconds(45), Eventually.Deadline);
    }

    [Fact]
    public async Task WorkWithACache_WhoeverWaits_IsComputedAloneAndAtOnce()
    {
        using var gate = new Gate();
        using var cache = new KeyValueCache();
        var batcher = gate.Batcher(new BatchLimits(8, TimeSpan.FromSeconds(30), 100));
        gate.Open(3);

        var idle = Task.Run(() => batcher.SubmitAsync(Work(1, cache: cache), default));
        await idle.WaitAsync(Eventually.Deadline);
        var waiting = batcher.SubmitAsync(Work(1), default);
        // Of the same shape, and half a minute too early for what waits.
        await batcher.SubmitAsync(Work(1, cache: cache), default).WaitAsync(Eventually.Deadline);
        await waiting.WaitAsync(Eventually.Deadline);

        Assert.Equal([1L, 1, 1], gate.Batches);
    }

    [Fact]
    public async Task QueueFull_TextThatHasBegun_IsNotRefused()
    {
        using var gate = new Gate();
        using var fresh = new KeyValueCache();
        using var begun = new KeyValueCache();
        begun.Replace([OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float, [1])]);
        var batcher = gate.Batcher(new BatchLimits(8, TimeSpan.Zero, 1));
        var first = Task.Run(() => batcher.SubmitAsync(Work(1), default));
        await Eventually.True(() => gate.Entered == 1);
        var second = batcher.SubmitAsync(Work(1), default);

        Assert.Equal(429, (await Assert.ThrowsAsync<InferenceException>(() => batcher.SubmitAsync(Work(1, cache: fresh), default))).Status);
        var third = batcher.SubmitAsync(Work(1, cache: begun), default);
        gate.Open(3);

        await Task.WhenAll(first, second, third).WaitAsync(Eventually.Deadline);
    }

    [Fact]
    public async Task Requests_OfDifferentShape_AreNotMerged()
    {
        using var gate = new Gate();
        var batcher = gate.Batcher(new BatchLimits(8, TimeSpan.Zero, 100));
        var first = Task.Run(() => batcher.SubmitAsync(Work(1), default));
        await Eventually.True(() => gate.Entered == 1);

        var requests = new[] { Work(1, width: 2), Work(1, width: 3), Work(2, width: 2), Work(1, width: 3) }
            .Select(w => batcher.SubmitAsync(w, default)).ToList();
        gate.Open(3);
        await Task.WhenAll([first, .. requests]).WaitAsync(Eventually.Deadline);

        // The oldest leads; those of its shape join it, those of another keep their place.
        Assert.Equal([1L, 3, 2], gate.Batches);
        var (wider, merged) = (await requests[1], await requests[2]);
        Assert.Equal([1L, 3], wider[0].Shape);
        Assert.Equal([2L, 2], merged[0].Shape);
    }

    [Fact]
    public async Task Request_ThatIsCancelledWhileItWaits_LeavesTheQueue()
    {
        using var gate = new Gate();
        var batcher = gate.Batcher(new BatchLimits(8, TimeSpan.Zero, 100));
        var running = Task.Run(() => batcher.SubmitAsync(Work(1), default));
        await Eventually.True(() => gate.Entered == 1);
        using var cancel = new CancellationTokenSource();
        var waiting = batcher.SubmitAsync(Work(5), cancel.Token);
        Assert.Equal(1, batcher.QueueLength);

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        Assert.Equal(0, batcher.QueueLength);
        gate.Open();
        await running;
        Assert.Equal([1L], gate.Batches);
    }

    [Fact]
    public async Task FullQueue_Refuses_WithSecondsThatGrowWithWhatIsPromised()
    {
        using var gate = new Gate();
        var batcher = gate.Batcher(new BatchLimits(1, TimeSpan.Zero, 4));
        // A warm-up showed one row a second.
        batcher.Observe(1, new ExecutionTimes(0, 0, 0, Stopwatch.Frequency));
        var accepted = new List<Task> { Task.Run(() => batcher.SubmitAsync(Work(1), default)) };
        await Eventually.True(() => gate.Entered == 1);
        accepted.AddRange(Enumerable.Range(0, 4).Select(_ => batcher.SubmitAsync(Work(1), default)));

        var refused = new List<InferenceException>();
        for (var i = 0; i < 3; i++)
        {
            refused.Add(await Assert.ThrowsAsync<InferenceException>(() => batcher.SubmitAsync(Work(1), default)));
        }

        // Four rows wait, one row a second: the first refused sender is served in the fifth second, the next in the sixth.
        Assert.All(refused, r => Assert.Equal(429, r.Status));
        Assert.Equal([5, 6, 7], refused.Select(r => r.RetryAfterSeconds));
        gate.Open(5);
        await Task.WhenAll(accepted).WaitAsync(Eventually.Deadline);
    }

    [Fact]
    public async Task OneFailingRequest_DoesNotFailItsBatch()
    {
        using var session = Session.Of(Models.Lookup());
        using var gate = new Gate(session.Run);
        var batcher = gate.Batcher(new BatchLimits(8, TimeSpan.Zero, 100));
        var first = Task.Run(() => batcher.SubmitAsync(Lookup(0), default));
        await Eventually.True(() => gate.Entered == 1);

        var good = batcher.SubmitAsync(Lookup(1), default);
        var bad = batcher.SubmitAsync(Lookup(99), default);
        var alsoGood = batcher.SubmitAsync(Lookup(2), default);
        gate.Open(10);

        Assert.Equal(10f, Value(await first));
        Assert.Equal(20f, Value(await good));
        Assert.Equal(30f, Value(await alsoGood));
        await Assert.ThrowsAsync<OnnxRuntimeException>(() => bad);
    }

    [Fact]
    public async Task Outputs_OfAMergedExecution_GoBackToTheirRequests()
    {
        using var session = Session.Of(Models.AddSubtract());
        using var gate = new Gate(session.Run);
        var batcher = gate.Batcher(new BatchLimits(64, TimeSpan.FromSeconds(30), 100));
        var sizes = new[] { 1, 3, 2, 58 };

        var requests = sizes.Select((rows, i) => (i, Outcome: batcher.SubmitAsync(
            new InferenceWork([Filled("a", rows, i), Filled("b", rows, 10)], rows, i % 2 == 0 ? [0] : [1, 0]), default))).ToList();
        gate.Open();

        foreach (var (i, outcome) in requests)
        {
            var outputs = await outcome.WaitAsync(Eventually.Deadline);
            var sum = outputs.Single(o => o.Name == "sum");
            Assert.Equal([sizes[i], 4], sum.Shape);
            Assert.All(Floats(sum), v => Assert.Equal(i + 10f, v));
            Assert.Equal(i % 2 == 0 ? ["sum"] : ["difference", "sum"], outputs.Select(o => o.Name));
        }

        Assert.Equal([64L], gate.Batches);
    }

    private static float Value(Tensor[] outputs) => Assert.Single(Floats(outputs[0]));

    private static float[] Floats(Tensor tensor) =>
        System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(tensor.Data.Span).ToArray();

    private static Tensor Filled(string name, int rows, float value)
    {
        var data = new float[rows * 4];
        Array.Fill(data, value);
        return new(name, DataType.Fp32, [rows, 4], System.Runtime.InteropServices.MemoryMarshal.AsBytes(data.AsSpan()).ToArray());
    }

    private static InferenceWork Lookup(long index) =>
        new([new Tensor("x", DataType.Int64, [1], BitConverter.GetBytes(index))], 1, [0]);

    private static InferenceWork Work(int rows, int width = 1, KeyValueCache? cache = null) =>
        new([new Tensor("x", DataType.UInt8, [rows, width], new byte[rows * width])], rows, [0], cache);

    private static ModelStatistics Statistics() => new(TimeProvider.System, []);

    private static Tensor[][] Echo(IReadOnlyList<InferenceWork> works, out ExecutionTimes times)
    {
        var now = Stopwatch.GetTimestamp();
        times = new(now, now, now, now);
        return [.. works.Select(w => w.Inputs)];
    }

    /// <summary>An executor that lets executions through one by one.</summary>
    private sealed class Gate(ExecuteBatch? execute = null) : IDisposable
    {
        private readonly SemaphoreSlim _open = new(0);
        private int _entered;

        public int Entered => Volatile.Read(ref _entered);

        public List<long> Batches { get; } = [];

        public ModelStatistics Statistics { get; } = BatcherTests.Statistics();

        public void Open(int executions = 1) => _open.Release(executions);

        public Batcher Batcher(BatchLimits limits) => new(limits, Run, Statistics, TimeProvider.System);

        public void Dispose() => _open.Dispose();

        private Tensor[][] Run(IReadOnlyList<InferenceWork> works, out ExecutionTimes times)
        {
            Batches.Add(works.Sum(w => w.Rows));
            Interlocked.Increment(ref _entered);
            Assert.True(_open.Wait(Eventually.Deadline));
            return (execute ?? Echo)(works, out times);
        }
    }
}
