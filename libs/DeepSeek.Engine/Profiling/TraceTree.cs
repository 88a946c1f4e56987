namespace DeepSeek.Engine.Profiling;

/// <summary>
/// What follows from the nesting of a trace's events: self times, phases, modules, work, gaps. The unit of work is the outermost operator with a
/// formula, or else an operator without operators inside; what operators around units take themselves is the cost of calling.
/// </summary>
internal sealed class TraceTree
{
    internal const string Forward = "forward";
    internal const string Backward = "backward";
    internal const string Optimizer = "optimizer";

    private readonly int[] _module;
    private readonly bool[] _hasWork;

    internal TraceTree(IReadOnlyList<TraceEvent> events, int mainThread, long duration, IReadOnlyList<TraceKernel>? kernels = null)
    {
        (Events, MainThread, Duration, Kernels) = (events, mainThread, duration, kernels);
        var count = events.Count;
        (Self, Phase, Unit, Gap, Own, Total) = (new long[count], new string[count], new bool[count], new double[count], new Work[count], new Work[count]);
        (_module, _hasWork) = (new int[count], new bool[count]);
        Nest();
        AddUp();
        FindGaps();
    }

    internal IReadOnlyList<TraceEvent> Events { get; }

    /// <summary>The device's work in order of begin; null where it was not recorded one by one.</summary>
    internal IReadOnlyList<TraceKernel>? Kernels { get; }

    internal int MainThread { get; }
    internal long Duration { get; }

    /// <summary>Host nanoseconds without the events inside.</summary>
    internal long[] Self { get; }

    internal string[] Phase { get; }

    /// <summary>Whether the event is a unit of work.</summary>
    internal bool[] Unit { get; }

    /// <summary>Nanoseconds in which nothing was computed before the event, or between its pieces of the device's work.</summary>
    internal double[] Gap { get; }

    /// <summary>The same one by one.</summary>
    internal List<double> Gaps { get; } = [];

    /// <summary>Work by the event's own formula.</summary>
    internal Work[] Own { get; }

    /// <summary>The same, or the sum of what is inside.</summary>
    internal Work[] Total { get; }

    /// <summary>After the last event.</summary>
    internal double Tail { get; private set; }

    internal bool DeviceTimed { get; private set; }

    /// <summary>Path of the module whose forward pass holds the event, or for a node of the backward pass held the forward operator.</summary>
    internal string? Module(int index) => _module[index] < 0 ? null : Events[_module[index]].Name;

    internal bool IsComposite(int index) => _hasWork[index];

    /// <summary>Nanoseconds the event took where it was computed: on the device where that was timed, else on the host.</summary>
    internal double Time(int index) => Events[index].DeviceTime ?? (DeviceTimed ? 0 : Events[index].HostTime);

    private void Nest()
    {
        var forward = new Dictionary<(int Thread, long Sequence), int>();
        for (var i = 0; i < Events.Count; i++)
        {
            var e = Events[i];
            Self[i] = e.HostTime;
            var parent = e.Parent;
            _module[i] = e.Kind == TraceEventKind.Module ? i : parent < 0 ? -1 : _module[parent];
            Phase[i] = e.Kind == TraceEventKind.Phase ? e.Name : parent >= 0 && Phase[parent] != Forward ? Phase[parent] : e.Kind == TraceEventKind.Backward ? Backward : Forward;
            if (e.Kind == TraceEventKind.Operator && e.Sequence >= 0 && Phase[i] == Forward)
            {
                forward[(e.Thread, e.Sequence)] = i;
            }
            DeviceTimed |= e.DeviceTime is not null;
            if (parent < 0)
            {
                continue;
            }
            Self[parent] -= e.HostTime;
            if (e.IsWork)
            {
                for (var around = parent; around >= 0 && !_hasWork[around]; around = Events[around].Parent)
                {
                    _hasWork[around] = true;
                }
            }
        }
        // A second pass: threads' logs follow one another, so that a backward node may come before its forward operator.
        for (var i = 0; i < Events.Count; i++)
        {
            var e = Events[i];
            if (e.Kind == TraceEventKind.Backward && forward.TryGetValue((e.ForwardThread, e.Sequence), out var source))
            {
                _module[i] = _module[source];
            }
            else if (e.Parent >= 0 && e.Kind != TraceEventKind.Module && Phase[i] == Backward)
            {
                _module[i] = _module[e.Parent];
            }
        }
    }

    private void AddUp()
    {
        var covered = new bool[Events.Count];
        for (var i = 0; i < Events.Count; i++)
        {
            var e = Events[i];
            covered[i] = e.Parent >= 0 && (covered[e.Parent] || Unit[e.Parent]);
            if (!e.IsWork)
            {
                continue;
            }
            Own[i] = e.Signature is { } signature ? OperatorWork.Of(signature, e.Listed) : default;
            Unit[i] = !covered[i] && (!_hasWork[i] || Own[i].Flops > 0);
        }
        for (var i = Events.Count - 1; i >= 0; i--)
        {
            if (!IsSum(i))
            {
                Total[i] = Own[i];
            }
            if (Events[i].Parent is >= 0 and var parent && IsSum(parent))
            {
                var sum = Total[parent];
                Total[parent] = new Work(Sum(sum.Flops, Total[i].Flops), Sum(sum.Bytes, Total[i].Bytes));
            }
        }
    }

    private bool IsSum(int index) => _hasWork[index] && !(Own[index].Flops > 0);

    private static double? Sum(double? left, double? right) => left is null ? right : left + (right ?? 0);

    private void FindGaps()
    {
        var end = 0.0;
        if (Kernels is not null)
        {
            foreach (var kernel in Kernels)
            {
                AddGap(kernel.Event, kernel.Begin - end);
                end = Math.Max(end, kernel.End);
            }
        }
        else if (DeviceTimed)
        {
            foreach (var i in Enumerable.Range(0, Events.Count).Where(i => Unit[i] && Events[i].DeviceTime is not null).OrderBy(i => Events[i].DeviceBegin))
            {
                AddGap(i, Events[i].DeviceBegin!.Value - end);
                end = Math.Max(end, Events[i].DeviceEnd!.Value);
            }
        }
        else
        {
            // Events of a thread are in order of their begin.
            for (var i = 0; i < Events.Count; i++)
            {
                var e = Events[i];
                if (e.Thread != MainThread || !(e.IsWork || e.Kind == TraceEventKind.Data) || (e.Parent >= 0 && InWork(e.Parent)))
                {
                    continue;
                }
                AddGap(i, e.Begin - end);
                end = Math.Max(end, e.End);
            }
        }
        Tail = Math.Max(0, Duration - end);
    }

    private void AddGap(int index, double gap)
    {
        if (gap <= 0)
        {
            return;
        }
        Gaps.Add(gap);
        if (index >= 0)
        {
            Gap[index] += gap;
        }
    }

    private bool InWork(int index) => Events[index].IsWork || Events[index].Kind == TraceEventKind.Data || (Events[index].Parent >= 0 && InWork(Events[index].Parent));
}
