namespace DeepSeek.Engine.Profiling;

/// <summary>One row: all calls of an operator (or of one with the same element type and shapes). Times in seconds, memory in bytes; null is what is not known.</summary>
public sealed record OperatorStats
{
    /// <summary>Operator or node of the backward pass.</summary>
    public required string Name { get; init; }

    /// <summary>forward, backward or optimizer; null where it runs in several.</summary>
    public string? Phase { get; init; }

    /// <summary>Calls.</summary>
    public required int Calls { get; init; }

    /// <summary>On the host, operators inside included.</summary>
    public required double HostTime { get; init; }

    /// <summary>On the host without what is inside. Over all rows and ranges self times add up to the time of the roots.</summary>
    public required double SelfTime { get; init; }

    /// <summary>Of its kernels, copies and fills on the device, or where they were not recorded one by one between marks there; null where it was not timed (on the CPU the host is the device).</summary>
    public double? DeviceTime { get; init; }

    /// <summary>Time before its calls in which nothing was computed.</summary>
    public required double LaunchGap { get; init; }

    /// <summary>Floating-point operations, by formula.</summary>
    public double? Flops { get; init; }

    /// <summary>Bytes it has to move at least.</summary>
    public double? Bytes { get; init; }

    /// <summary>Operations a second.</summary>
    public double? FlopRate => Flops / Busy;

    /// <summary>Bytes a second.</summary>
    public double? ByteRate => Bytes / Busy;

    /// <summary>Least time on this device over the time taken; above 1 where the caches served it.</summary>
    public double? RoofShare { get; init; }

    /// <summary>Allocated by the operator itself; null where it was not recorded.</summary>
    public long? Allocated { get; init; }

    /// <summary>Most held above what was held at a call's begin.</summary>
    public long? Peak { get; init; }

    /// <summary>Theoretical occupancy of its kernels, 0 to 1, averaged over their time (<see cref="MultiprocessorLimits.Occupancy"/>); null where kernels were not recorded or there are none.</summary>
    public double? Occupancy { get; init; }

    /// <summary>How many times its kernels' grids fill the device, averaged the same.</summary>
    public double? Waves { get; init; }

    /// <summary>Element type, such as float32; null where calls differ or have no tensors.</summary>
    public string? Type { get; init; }

    /// <summary>Shapes of the arguments; null where calls differ.</summary>
    public string? Shapes { get; init; }

    private double? Busy => (DeviceTime ?? HostTime) is > 0 and var busy ? busy : null;
}

/// <summary>A module's share, parts included; seconds and bytes.</summary>
public sealed record ModuleStats(string Path, int Calls, double ForwardTime, double BackwardTime, double? Flops, long? Allocated);

/// <summary>A phase's share of the traced thread's time in seconds, and the operations in it.</summary>
public sealed record PhaseStats(string Name, double Time, double? Flops);

/// <summary>A trace, added up.</summary>
public sealed class TraceReport
{
    private readonly TraceTree _tree;
    private readonly ILookup<int, TraceKernel> _kernels;
    private readonly MultiprocessorLimits? _limits;

    /// <summary>Adds events up. <paramref name="duration"/> and <paramref name="steps"/> (ends of steps) are in nanoseconds since the trace began.</summary>
    public TraceReport(
        IReadOnlyList<TraceEvent> events, int mainThread, long duration, IReadOnlyList<long> steps, DeviceCeilings ceilings, string device, long dropped = 0, long? peakMemory = null,
        IReadOnlyList<TraceKernel>? kernels = null, MultiprocessorLimits? limits = null)
    {
        _tree = new TraceTree(events, mainThread, duration, kernels);
        _limits = limits;
        _kernels = ByEvent(kernels ?? [], events);
        (Ceilings, Device, Dropped, PeakMemory, StepEnds) = (ceilings, device, dropped, peakMemory, steps);
        Operators = Rows(i => (events[i].Name, "", _tree.Phase[i], ""));
        ByShape = Rows(i => (events[i].Name, events[i].Signature?.TypeName ?? "", _tree.Phase[i], Shapes(i) ?? ""));
        Kernels = KernelStats.Of(kernels ?? [], events, limits);
        Modules = AddModules();
        Phases = AddPhases();
        Bottleneck = Bottleneck.Of(_tree, ceilings);
        Notes = [.. AddNotes()];
    }

    /// <summary>All events, each thread's in order of begin.</summary>
    public IReadOnlyList<TraceEvent> Events => _tree.Events;

    /// <summary>Device that was traced.</summary>
    public string Device { get; }

    /// <summary>Seconds from start to stop.</summary>
    public double Duration => _tree.Duration * 1e-9;

    /// <summary>Ends of steps, in nanoseconds since the trace began.</summary>
    public IReadOnlyList<long> StepEnds { get; }

    /// <summary>Events left out for want of room.</summary>
    public long Dropped { get; }

    /// <summary>Most bytes held above what was held at the start; null where memory was not recorded.</summary>
    public long? PeakMemory { get; }

    /// <summary>The roof.</summary>
    public DeviceCeilings Ceilings { get; }

    /// <summary>By operator and phase, by falling self time.</summary>
    public IReadOnlyList<OperatorStats> Operators { get; }

    /// <summary>By operator, phase, element type and shapes of the arguments.</summary>
    public IReadOnlyList<OperatorStats> ByShape { get; }

    /// <summary>By kernel, copy or fill, by falling time; empty where they were not recorded one by one.</summary>
    public IReadOnlyList<KernelStats> Kernels { get; }

    /// <summary>By module path, in order of first use.</summary>
    public IReadOnlyList<ModuleStats> Modules { get; }

    /// <summary>By phase.</summary>
    public IReadOnlyList<PhaseStats> Phases { get; }

    /// <summary>What the time goes into.</summary>
    public Bottleneck Bottleneck { get; }

    /// <summary>Floating-point operations of all units of work; null when none is known.</summary>
    public double? Flops => Sum(work => work.Flops);

    /// <summary>Bytes that all units of work move at least; null when none is known.</summary>
    public double? Bytes => Sum(work => work.Bytes);

    /// <summary>Units of work: calls of operators that call no others with work of their own.</summary>
    public int Calls => _tree.Unit.Count(unit => unit);

    private double? Sum(Func<Work, double?> part) => Enumerable.Range(0, Events.Count).Where(i => _tree.Unit[i]).Select(i => part(_tree.Own[i])).OfType<double>().ToList() is [_, ..] known ? known.Sum() : null;

    /// <summary>What the numbers do not hold, in sentences.</summary>
    public IReadOnlyList<string> Notes { get; }

    /// <summary>The bottleneck in a sentence.</summary>
    public string Summary => Bottleneck.Sentence;

    internal TraceTree Tree => _tree;

    internal MultiprocessorLimits? Limits => _limits;

    private string? Shapes(int index) => Events[index].Signature is { } signature ? string.Join(' ', signature.Inputs.Select(t => t.ToString())) : null;

    private List<OperatorStats> Rows(Func<int, (string Name, string Type, string Phase, string Shapes)> key) =>
        [.. Enumerable.Range(0, Events.Count).Where(i => Events[i].IsWork).GroupBy(key).Select(g => Row([.. g])).OrderByDescending(r => r.SelfTime)];

    private OperatorStats Row(int[] calls)
    {
        var roof = calls.Select(i => Ceilings.RoofSeconds(_tree.Total[i], Events[i].Signature?.TypeName)).ToList();
        var time = calls.Sum(_tree.Time) * 1e-9;
        return new OperatorStats
        {
            Name = Events[calls[0]].Name,
            Phase = Same(calls, i => _tree.Phase[i]),
            Calls = calls.Length,
            HostTime = calls.Sum(i => Events[i].HostTime) * 1e-9,
            SelfTime = calls.Sum(i => _tree.Self[i]) * 1e-9,
            DeviceTime = calls.All(i => Events[i].DeviceTime is not null) ? time : null,
            LaunchGap = calls.Sum(i => _tree.Gap[i]) * 1e-9,
            Flops = Sum(calls, i => _tree.Total[i].Flops),
            Bytes = Sum(calls, i => _tree.Total[i].Bytes),
            RoofShare = roof.TrueForAll(r => r is not null) && time > 0 ? roof.Sum(r => r!.Value) / time : null,
            Allocated = PeakMemory is null ? null : calls.Sum(i => Events[i].Allocated),
            Peak = PeakMemory is null ? null : calls.Max(i => Events[i].Peak),
            Occupancy = KernelStats.Average(calls.SelectMany(i => _kernels[i]), l => _limits?.Occupancy(l)),
            Waves = KernelStats.Average(calls.SelectMany(i => _kernels[i]), l => _limits?.Waves(l)),
            Type = Same(calls, i => Events[i].Signature?.TypeName),
            Shapes = Same(calls, Shapes),
        };
    }

    // Of each event, what was asked for while it was open.
    private static ILookup<int, TraceKernel> ByEvent(IReadOnlyList<TraceKernel> kernels, IReadOnlyList<TraceEvent> events)
    {
        IEnumerable<int> Around(int index)
        {
            for (var i = index; i >= 0; i = events[i].Parent)
            {
                yield return i;
            }
        }
        return kernels.SelectMany(k => Around(k.Event).Select(e => (Event: e, Kernel: k))).ToLookup(p => p.Event, p => p.Kernel);
    }

    private static string? Same(int[] calls, Func<int, string?> value) => Array.TrueForAll(calls, i => value(i) == value(calls[0])) ? value(calls[0]) : null;

    // Null when any call's part is unknown: a sum of some would read as the sum of all.
    private static double? Sum(int[] calls, Func<int, double?> value) => Array.TrueForAll(calls, i => value(i) is not null) ? calls.Sum(i => value(i)!.Value) : null;

    private List<ModuleStats> AddModules()
    {
        var rows = new Dictionary<string, (int Calls, double Forward, double Backward, double? Flops, long Allocated)>();
        for (var i = 0; i < Events.Count; i++)
        {
            var e = Events[i];
            var root = e.Kind == TraceEventKind.Backward && !Around(i, TraceEventKind.Backward);
            // A pass that is computed again belongs to the node of the backward pass that asked for it.
            if (e.Kind == TraceEventKind.Module && _tree.Phase[i] != TraceTree.Backward)
            {
                var row = rows.GetValueOrDefault(e.Name);
                rows[e.Name] = (row.Calls + 1, row.Forward + e.HostTime * 1e-9, row.Backward, _tree.Total[i].Flops is { } flops ? (row.Flops ?? 0) + flops : row.Flops, row.Allocated);
            }
            foreach (var path in root || e.Allocated > 0 && _tree.Phase[i] == TraceTree.Forward ? Paths(_tree.Module(i)) : [])
            {
                var row = rows.GetValueOrDefault(path);
                rows[path] = (row.Calls, row.Forward, row.Backward + (root ? e.HostTime * 1e-9 : 0),
                    root && _tree.Total[i].Flops is { } flops ? (row.Flops ?? 0) + flops : row.Flops, row.Allocated + (root ? 0 : e.Allocated));
            }
        }
        return [.. rows.Select(r => new ModuleStats(r.Key, r.Value.Calls, r.Value.Forward, r.Value.Backward, r.Value.Flops, PeakMemory is null ? null : r.Value.Allocated))];
    }

    private bool Around(int index, TraceEventKind kind)
    {
        for (var i = Events[index].Parent; i >= 0; i = Events[i].Parent)
        {
            if (Events[i].Kind == kind)
            {
                return true;
            }
        }
        return false;
    }

    // "Gpt.blocks.0" → Gpt, Gpt.blocks.0: what modules of the trace hold it.
    private IEnumerable<string> Paths(string? path)
    {
        for (var p = path; p is not null; p = p.LastIndexOf('.') is > 0 and var dot ? p[..dot] : null)
        {
            if (p == path || ModulePaths.Value.Contains(p))
            {
                yield return p;
            }
        }
    }

    private Lazy<HashSet<string>> ModulePaths => field ??= new(() => [.. Events.Where(e => e.Kind == TraceEventKind.Module).Select(e => e.Name)]);

    private List<PhaseStats> AddPhases()
    {
        var phases = new List<PhaseStats>();
        foreach (var name in ((string[])[TraceTree.Forward, TraceTree.Backward, TraceTree.Optimizer]).Union(_tree.Phase))
        {
            var own = Enumerable.Range(0, Events.Count).Where(i => _tree.Phase[i] == name && (Events[i].Parent < 0 || _tree.Phase[Events[i].Parent] != name)).ToList();
            var time = own.Where(i => Events[i].Thread == _tree.MainThread && Events[i].Kind != TraceEventKind.Data).Sum(i => Events[i].HostTime) * 1e-9;
            phases.Add(new PhaseStats(name, time, own.Aggregate((double?)null, (sum, i) => _tree.Total[i].Flops is { } flops ? (sum ?? 0) + flops : sum)));
        }
        var waits = Enumerable.Range(0, Events.Count).Where(i => Events[i].Kind == TraceEventKind.Data && Events[i].Thread == _tree.MainThread).Sum(i => _tree.Self[i]) * 1e-9;
        phases.Add(new PhaseStats("data", waits, null));
        return phases;
    }

    private IEnumerable<string> AddNotes()
    {
        if (Dropped > 0)
        {
            yield return $"{Dropped} events beyond the limit were left out: shares hold for the recorded part only.";
        }
        yield return _tree.Kernels is not null ? "Device times are those of the kernels, copies and fills that each operator asked for. Occupancy is theoretical: what registers, shared memory and block sizes allow."
            : _tree.DeviceTimed ? "Device times are those between two marks around each operator, the wait for its launch included: the kernels themselves could not be recorded (CUPTI), so their occupancy is not known, nor what a replayed graph is made of."
            : "The host is the device: there is no device time of its own, and no occupancy.";
        yield return $"Roof: {Ceilings.Source}.";
    }
}
