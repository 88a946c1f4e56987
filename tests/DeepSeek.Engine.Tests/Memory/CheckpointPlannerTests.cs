using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Memory;

public sealed class CheckpointPlannerTests
{
    private const int Width = 32;
    private const int Rows = 256;

    // Three segments of 100, 100 and 400 bytes with outputs of 10; the last is slow, but saves most for its time.
    private static readonly StepCost s_cost = new(
        [new("a", 0, 100, 10, 0.09), new("b", 100, 100, 10, 0.18), new("c", 200, 400, 10, 0.30)], 620, 1);

    [Fact]
    public void Choose_TakesTheLeastTimePerByteFirst()
    {
        var plan = CheckpointPlanner.Choose(s_cost, 600);

        // c saves 390 bytes at 0.77 ms a byte, a 90 at 1 ms, b 90 at 2 ms. With c alone the forward pass ends with 230, but c again makes 600.
        Assert.Equal(["c"], plan.Segments);
        Assert.Equal((620, 600, 0.30), (plan.Plain, plan.Planned, plan.Seconds));
        Assert.True(plan.Fits);
    }

    [Fact]
    public void Choose_CountsTheSegmentThatIsComputedAgain()
    {
        var plan = CheckpointPlanner.Choose(s_cost, 520);

        // c and a: while c is computed again, a's output (10), b (100) and c (400) are there.
        Assert.Equal(["c", "a"], plan.Segments);
        Assert.Equal(510, plan.Planned);
    }

    [Fact]
    public void Choose_BudgetOutOfReach_TakesAllAndSaysSo()
    {
        var plan = CheckpointPlanner.Choose(s_cost, 50);

        Assert.Equal(["c", "a", "b"], plan.Segments);
        Assert.Equal((420, false), (plan.Planned, plan.Fits));
    }

    // Three blocks of 100 bytes with outputs of 10; each may keep 10 bytes that spare 0.5 of its 1 s and then 10 that spare 0.1 more.
    private static readonly StepCost s_chain = new([Block("a", 0), Block("b", 100), Block("c", 200)], 300, 3);

    private static SegmentCost Block(string name, long before) => new(name, before, 100, 10, 1) { Keepables = [("dear", 10, 0.5), ("cheap", 10, 0.1)] };

    [Theory]
    [InlineData(300, new string[0], new int[0], 300)]
    [InlineData(160, new[] { "a", "b" }, new[] { 2, 2 }, 160)] // 30 and 30 beside c's 100, which c takes as well when it is computed again
    [InlineData(150, new[] { "a", "b" }, new[] { 1, 2 }, 150)]
    [InlineData(145, new[] { "a", "b" }, new[] { 1, 1 }, 140)]
    [InlineData(120, new[] { "a", "b" }, new[] { 0, 0 }, 120)]
    public void Choose_SegmentsThatCanKeepSomething_KeepWhatTheBudgetHasRoomFor(long budget, string[] segments, int[] keeps, long planned)
    {
        var plan = CheckpointPlanner.Choose(s_chain, budget);

        Assert.Equal(segments.Zip(keeps), plan.Segments.Zip(plan.Keeps).OrderBy(p => p.First, StringComparer.Ordinal));
        Assert.Equal(planned, plan.Planned);
        Assert.True(plan.Fits);
    }

    [Fact]
    public void Choose_AmpleBudget_TakesNone() => Assert.Empty(CheckpointPlanner.Choose(s_cost, 620).Segments);

    [Fact]
    public void Measure_ThenApply_KeepsWhatWasPlanned()
    {
        using var net = Net();
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.Float32, Rows, Width);
        x.NormalInPlace(0, 1);
        var (random, means) = (EngineRuntime.RandomState(), net.Buffers().First().Tensor.Tensor.ToArray<float>());

        var cost = CheckpointPlanner.Measure(net, () => net.Forward(x).Pow(2).Mean());
        var plan = CheckpointPlanner.Choose(cost, cost.Kept / 2);
        plan.Apply(net);

        Assert.Equal(["1", "2", "3", "4", "5", "6"], cost.Segments.Select(s => s.Name));
        // The measurement leaves no trace.
        Assert.Equal(random, EngineRuntime.RandomState());
        Assert.Equal(means, net.Buffers().First().Tensor.Tensor.ToArray<float>());
        Assert.InRange(plan.Segments.Count, 3, 5);
        // What the plan says is what the step then does; the scopes and the loss account for the little rest.
        var (kept, peak) = Step(net, x);
        var atEnd = cost.Kept - cost.Segments.Where(s => plan.Segments.Contains(s.Name)).Sum(s => s.Saving);
        Assert.InRange(kept, 0.97 * atEnd, 1.03 * atEnd);
        // Gradients of activations come on top: those of a block's widest layers, of 8 · Width each. The plan is a bound from above; how
        // close depends on the segments chosen, which their times decide.
        Assert.InRange(peak, plan.Planned * 0.75, plan.Planned + 5 * 8 * Rows * Width * sizeof(float));
        Assert.True(plan.Fits);
    }

    [Fact]
    public void Measure_BatchThatDoesNotFitPlainly_IsMeasuredOnFewerRows()
    {
        using var net = Net();
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.Float32, Rows, Width);
        x.NormalInPlace(0, 1);
        var whole = CheckpointPlanner.Measure(net, rows => net.Forward(x.Narrow(0, 0, rows)).Pow(2).Mean(), Rows);
        AllocatorMemory.LimitHost(AllocatorMemory.Of(Device.Cpu).Current + whole.Kept / 2 + whole.Kept / 8);
        try
        {
            var scaled = CheckpointPlanner.Measure(net, rows => net.Forward(x.Narrow(0, 0, rows)).Pow(2).Mean(), Rows);

            Assert.Equal(whole.Segments.Select(s => s.Name), scaled.Segments.Select(s => s.Name));
            // Batch normalisation's statistics alone do not grow with the rows.
            Assert.InRange(scaled.Kept, 0.98 * whole.Kept, 1.02 * whole.Kept);
            Assert.InRange(scaled.Segments[^1].Saving, 0.98 * whole.Segments[^1].Saving, 1.02 * whole.Segments[^1].Saving);
        }
        finally
        {
            AllocatorMemory.LimitHost(0);
        }
    }

    /// <summary>Bytes between the passes, and the most of the step besides the weights' gradients.</summary>
    private static (long Kept, long Peak) Step(Module net, Tensor x)
    {
        var before = AllocatorMemory.Of(Device.Cpu).Current;
        AllocatorMemory.ResetPeak(Device.Cpu);
        using var scope = TensorScope.Open();
        var loss = net.Forward(x).Pow(2).Mean();
        var kept = AllocatorMemory.Of(Device.Cpu).Current - before;
        loss.Backward();
        var gradients = net.Parameters().Sum(p => p.Tensor.Tensor.Elements * sizeof(float));
        return (kept, AllocatorMemory.Of(Device.Cpu).Peak - before - gradients);
    }

    private static Sequential Net() => new([
        new Linear(Width, Width),
        .. Enumerable.Range(0, 6).Select(_ => new Residual(new Sequential(
            new BatchNorm(Width), new Linear(Width, 8 * Width), new Activation(ActivationKind.Gelu), new Dropout(0.1), new Linear(8 * Width, Width)))),
        new Linear(Width, 1),
    ]);
}
