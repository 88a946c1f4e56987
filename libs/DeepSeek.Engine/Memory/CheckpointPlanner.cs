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
/// <param name="Output">Bytes of its output, which stays when the rest is dropped.</param>
/// <param name="Seconds">Time of its forward pass, which is what computing it again from its input costs.</param>
public sealed record SegmentCost(string Name, long Before, long Kept, long Output, double Seconds)
{
    /// <summary>What it can keep beside its output when it is computed again, in order: bytes, and the time that each spares.</summary>
    public IReadOnlyList<(string Name, long Bytes, double Seconds)> Keepables { get; init; } = [];

    /// <summary>Bytes that computing it again saves between the two passes.</summary>
    public long Saving => Kept - Output;

    /// <summary>The same where so many of the first <see cref="Keepables"/> are kept.</summary>
    internal long SavingWith(int keeps) => Saving - Keepables.Take(keeps).Sum(k => k.Bytes);

    internal double SecondsWith(int keeps) => Math.Max(0, Seconds - Keepables.Take(keeps).Sum(k => k.Seconds));

    internal SegmentCost Times(double factor) => new(Name, (long)(factor * Before), (long)(factor * Kept), (long)(factor * Output), factor * Seconds)
    {
        Keepables = [.. Keepables.Select(k => (k.Name, (long)(factor * k.Bytes), factor * k.Seconds))],
    };
}

/// <summary>A forward pass, measured.</summary>
/// <param name="Segments">In the order in which they ran.</param>
/// <param name="Kept">Bytes of all activations at its end.</param>
/// <param name="Seconds">Its time.</param>
public sealed record StepCost(IReadOnlyList<SegmentCost> Segments, long Kept, double Seconds)
{
    /// <summary>The same of a batch with so many times the rows, to each of which activations are proportional.</summary>
    public StepCost Times(double factor) => new([.. Segments.Select(s => s.Times(factor))], (long)(factor * Kept), factor * Seconds);
}

/// <summary>Which segments are computed again, and from what.</summary>
/// <param name="Segments">Their names, in the order in which they were chosen.</param>
/// <param name="Keeps">How many of its <see cref="Module.Keepables"/> each of them keeps.</param>
/// <param name="Plain">Bytes that activations take without a plan.</param>
/// <param name="Planned">Most bytes that they take with it: at the end of the forward pass, or while a segment is computed again.</param>
/// <param name="Budget">Bytes that were allowed.</param>
/// <param name="Seconds">Time that it adds to a step.</param>
public sealed record CheckpointPlan(IReadOnlyList<string> Segments, IReadOnlyList<int> Keeps, long Plain, long Planned, long Budget, double Seconds)
{
    /// <summary>Whether the budget is kept.</summary>
    public bool Fits => Planned <= Budget;

    /// <summary>Has these segments of a net computed again, and no others.</summary>
    public void Apply(Module net)
    {
        var keeps = Segments.Zip(Keeps).ToDictionary();
        foreach (var (name, module) in net.Modules())
        {
            module.Recomputes = keeps.TryGetValue(name, out var kept);
            module.Keeps = module.Recomputes ? kept : module.Keeps;
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

    /// <summary>
    /// Drops what costs least time per byte saved, a segment's activations or something of them that it can keep, until the budget is kept or nothing is left that
    /// helps; then takes back what there is room for all the same, what costs most time first: the last segments, which are wanted again at once.
    /// </summary>
    /// <param name="cost">From <see cref="Measure(Module, Func{Tensor})"/>.</param>
    /// <param name="budget">Bytes.</param>
    public static CheckpointPlan Choose(StepCost cost, long budget)
    {
        var choice = new CheckpointChoice(cost);
        while (choice.Peak > budget && choice.Drop())
        {
            // The cheapest bytes first.
        }
        while (choice.Peak <= budget && choice.TakeBack(budget))
        {
            // The dearest time first.
        }
        return choice.Plan(budget);
    }

    private static StepCost MeasureOnce(IReadOnlyList<(string Name, Module Module)> parts, Device device, Func<Tensor> loss)
    {
        var probes = new List<Probe>();
        var spared = new Dictionary<Module, Probe>();
        var hooks = new List<IDisposable>();
        using var scope = TensorScope.Open();
        try
        {
            var start = Now(device);
            foreach (var (name, module) in parts)
            {
                // What it can keep as it is: under a hook it would be another form.
                var keepables = module.Keepables;
                probes.Add(Watch(name, module, keepables));
                foreach (var inner in keepables.SelectMany(k => k.Spared.Concat(k.Besides)).Distinct())
                {
                    spared[inner] = Watch(name, inner, []);
                }
            }
            loss();
            var end = Now(device);
            return new StepCost([.. probes.Where(p => p.Ran).Select(p => p.Cost(m => spared[m].Seconds)).OrderBy(c => c.Before)], end.Bytes - start.Bytes, Seconds(start.Ticks, end.Ticks));

            Probe Watch(string name, Module module, IReadOnlyList<Keepable> keepables)
            {
                var probe = new Probe(name, keepables, device, start.Bytes);
                hooks.Add(module.OnPass(HookPlace.Input, probe.Begin));
                hooks.Add(module.OnPass(HookPlace.Output, probe.End));
                return probe;
            }
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

    private sealed class Probe(string name, IReadOnlyList<Keepable> keepables, Device device, long start)
    {
        private (long Bytes, long Ticks) _begun;
        private long? _before;
        private long _kept;
        private long _output;

        internal bool Ran => _before is not null;

        internal double Seconds { get; private set; }

        internal SegmentCost Cost(Func<Module, double> seconds) => new(name, _before ?? 0, _kept, _output, Seconds)
        {
            Keepables = [.. keepables.Select(k => (k.Name, (long)(k.Size * _output), Math.Max(0, k.Spared.Sum(seconds) - k.Besides.Sum(seconds))))],
        };

        internal Tensor Begin(Module passing, Tensor value)
        {
            _begun = Now(device);
            _before ??= _begun.Bytes - start;
            return default;
        }

        internal Tensor End(Module passing, Tensor value)
        {
            var ended = Now(device);
            _kept += ended.Bytes - _begun.Bytes;
            _output += value.Elements * value.Dtype.Size();
            Seconds += CheckpointPlanner.Seconds(_begun.Ticks, ended.Ticks);
            return default;
        }
    }
}
