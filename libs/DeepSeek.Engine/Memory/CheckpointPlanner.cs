using System.Diagnostics;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Memory;

/// <summary>What one segment took in a forward pass.</summary>
/// <param name="Name">Its dotted name.</param>
/// <param name="Before">Bytes of activations when it began.</param>
/// <param name="Kept">Bytes that it left behind for the backward pass, its output included.</param>
/// <param name="Output">Bytes that stay when the rest is dropped: its output and what <see cref="Module.KeptWhenRecomputed"/> says.</param>
/// <param name="Seconds">Time of its forward pass, which is what computing it again costs.</param>
public sealed record SegmentCost(string Name, long Before, long Kept, long Output, double Seconds)
{
    /// <summary>Bytes that computing it again saves between the two passes.</summary>
    public long Saving => Kept - Output;
}

/// <summary>A forward pass, measured.</summary>
/// <param name="Segments">In the order in which they ran.</param>
/// <param name="Kept">Bytes of all activations at its end.</param>
/// <param name="Seconds">Its time.</param>
public sealed record StepCost(IReadOnlyList<SegmentCost> Segments, long Kept, double Seconds)
{
    /// <summary>The same of a batch with so many times the rows, to each of which activations are proportional.</summary>
    public StepCost Times(double factor) => new(
        [.. Segments.Select(s => new SegmentCost(s.Name, (long)(factor * s.Before), (long)(factor * s.Kept), (long)(factor * s.Output), factor * s.Seconds))],
        (long)(factor * Kept), factor * Seconds);
}

/// <summary>Which segments are computed again.</summary>
/// <param name="Segments">Their names, cheapest first.</param>
/// <param name="Plain">Bytes that activations take without a plan.</param>
/// <param name="Planned">Most bytes that they take with it: at the end of the forward pass, or while a segment is computed again.</param>
/// <param name="Budget">Bytes that were allowed.</param>
/// <param name="Seconds">Time that it adds to a step.</param>
public sealed record CheckpointPlan(IReadOnlyList<string> Segments, long Plain, long Planned, long Budget, double Seconds)
{
    /// <summary>Whether the budget is kept.</summary>
    public bool Fits => Planned <= Budget;

    /// <summary>Has these segments of a net computed again, and no others.</summary>
    public void Apply(Module net)
    {
        foreach (var (name, module) in net.Modules())
        {
            module.Recomputes = Segments.Contains(name);
        }
    }
}

/// <summary>Chooses the segments of a net that are computed again so that its activations keep to a budget.</summary>
public static class CheckpointPlanner
{
    /// <summary>The links of chains (<see cref="Module.IsSegment"/>) that are inside no other.</summary>
    public static IReadOnlyList<(string Name, Module Module)> Segments(Module net)
    {
        var all = net.Modules().Where(m => m.Module.IsSegment).ToArray();
        return [.. all.Where(m => !Array.Exists(all, outer => m.Name.StartsWith(outer.Name + ".", StringComparison.Ordinal)))];
    }

    /// <summary>Runs the forward pass twice, unseen by buffers and generators, and measures the second time, with nothing dropped.</summary>
    /// <param name="net">Whose segments are measured; none of them is set to be computed again afterwards.</param>
    /// <param name="loss">The forward pass; it opens no scope around its result.</param>
    public static StepCost Measure(Module net, Func<Tensor> loss) => Measure(net, Segments(net), loss);

    /// <summary>The same over a batch that may not fit with all its activations: then over half as many rows, and so on.</summary>
    /// <param name="net">Whose segments are measured.</param>
    /// <param name="loss">Rows → loss of so many rows.</param>
    /// <param name="rows">Of the batch.</param>
    public static StepCost Measure(Module net, Func<int, Tensor> loss, int rows)
    {
        for (var few = rows; ; few /= 2)
        {
            try
            {
                return Measure(net, () => loss(few)).Times((double)rows / few);
            }
            catch (NativeException fault) when (fault.Status == NativeStatus.OutOfMemory && few >= 4)
            {
                // Half as many, then.
            }
        }
    }

    /// <summary>The same by any parts of the net.</summary>
    internal static StepCost Measure(Module net, IReadOnlyList<(string Name, Module Module)> parts, Func<Tensor> loss)
    {
        var device = net.Device;
        foreach (var (_, module) in net.Modules())
        {
            module.Recomputes = false;
        }
        var random = new RandomSnapshot(device);
        using var repetition = Checkpoint.Repeat();
        try
        {
            MeasureOnce(parts, device, loss);
            return MeasureOnce(parts, device, loss);
        }
        finally
        {
            random.Restore();
        }
    }

    /// <summary>Adds segments, those with the least time per byte saved first, until the budget is kept or none is left that helps.</summary>
    /// <param name="cost">From <see cref="Measure"/>.</param>
    /// <param name="budget">Bytes.</param>
    public static CheckpointPlan Choose(StepCost cost, long budget)
    {
        var chosen = new List<SegmentCost>();
        var planned = Peak(cost, chosen);
        foreach (var segment in cost.Segments.Where(s => s.Saving > 0).OrderBy(s => s.Seconds / s.Saving).ThenBy(s => s.Before))
        {
            if (planned <= budget)
            {
                break;
            }
            chosen.Add(segment);
            planned = Peak(cost, chosen);
        }
        return new CheckpointPlan([.. chosen.Select(s => s.Name)], cost.Kept, planned, budget, chosen.Sum(s => s.Seconds));
    }

    // At the end of the forward pass, and while each chosen segment is computed again: what lies behind it is gone by then.
    private static long Peak(StepCost cost, List<SegmentCost> chosen)
    {
        var peak = cost.Kept - chosen.Sum(s => s.Saving);
        foreach (var segment in chosen)
        {
            peak = Math.Max(peak, segment.Before - chosen.Where(s => s.Before < segment.Before).Sum(s => s.Saving) + segment.Kept);
        }
        return peak;
    }

    private static StepCost MeasureOnce(IReadOnlyList<(string Name, Module Module)> parts, Device device, Func<Tensor> loss)
    {
        var probes = new List<Probe>();
        var hooks = new List<IDisposable>();
        using var scope = TensorScope.Open();
        try
        {
            var start = Now(device);
            foreach (var (name, module) in parts)
            {
                var probe = new Probe(name, device, start.Bytes);
                probes.Add(probe);
                hooks.Add(module.OnPass(HookPlace.Input, probe.Begin));
                hooks.Add(module.OnPass(HookPlace.Output, probe.End));
            }
            loss();
            var end = Now(device);
            return new StepCost([.. probes.Where(p => p.Ran).Select(p => p.Cost).OrderBy(c => c.Before)], end.Bytes - start.Bytes, Seconds(start.Ticks, end.Ticks));
        }
        finally
        {
            hooks.ForEach(h => h.Dispose());
        }
    }

    private static (long Bytes, long Ticks) Now(Device device)
    {
        if (device.IsCuda)
        {
            CudaDevice.Synchronize(device.Index);
        }
        return (AllocatorMemory.Of(device).Current, Stopwatch.GetTimestamp());
    }

    private static double Seconds(long from, long to) => Stopwatch.GetElapsedTime(from, to).TotalSeconds;

    private sealed class Probe(string name, Device device, long start)
    {
        private (long Bytes, long Ticks) _begun;
        private long? _before;
        private long _kept;
        private long _output;
        private double _seconds;

        internal bool Ran => _before is not null;

        internal SegmentCost Cost => new(name, _before ?? 0, _kept, _output, _seconds);

        internal Tensor Begin(Module module, Tensor value)
        {
            _begun = Now(device);
            _before ??= _begun.Bytes - start;
            return default;
        }

        internal Tensor End(Module module, Tensor value)
        {
            var ended = Now(device);
            _kept += ended.Bytes - _begun.Bytes;
            _output += (long)(module.KeptWhenRecomputed * value.Elements * value.Dtype.Size());
            _seconds += Seconds(_begun.Ticks, ended.Ticks);
            return default;
        }
    }
}
