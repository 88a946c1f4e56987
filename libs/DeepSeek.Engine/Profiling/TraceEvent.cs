using System.Text.Json.Serialization;

namespace DeepSeek.Engine.Profiling;

/// <summary>What an event of a trace is; numbered as trace.h numbers them.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<TraceEventKind>))]
public enum TraceEventKind
{
    /// <summary>A call of an operator.</summary>
    Operator = 0,
    /// <summary>A node of the backward pass.</summary>
    Backward = 1,
    /// <summary>A phase of training: backward, optimizer.</summary>
    Phase = 2,
    /// <summary>The forward pass of a module.</summary>
    Module = 3,
    /// <summary>Waiting for data.</summary>
    Data = 4,
    /// <summary>A range that the traced program named.</summary>
    User = 5,
}

/// <summary>One event; times in nanoseconds since the trace began, memory in bytes.</summary>
public sealed record TraceEvent
{
    /// <summary>What it is.</summary>
    public required TraceEventKind Kind { get; init; }

    /// <summary>Operator, node, module path or phase.</summary>
    public required string Name { get; init; }

    /// <summary>When it began.</summary>
    public required long Begin { get; init; }

    /// <summary>When the host was done with it.</summary>
    public required long End { get; init; }

    /// <summary>Index of the event around it, always smaller; -1 for none.</summary>
    public int Parent { get; init; } = -1;

    /// <summary>Thread, as libtorch numbers them.</summary>
    public int Thread { get; init; }

    /// <summary>Number by which a backward node finds its forward operator; -1 for none.</summary>
    public long Sequence { get; init; } = -1;

    /// <summary>A backward node's forward thread; -1 for none.</summary>
    public int ForwardThread { get; init; } = -1;

    /// <summary>Arguments and results, where they were recorded.</summary>
    public OperatorSignature? Signature { get; init; }

    /// <summary>When the device began with it; null where the device was not timed.</summary>
    public double? DeviceBegin { get; init; }

    /// <summary>When the device was done with it.</summary>
    public double? DeviceEnd { get; init; }

    /// <summary>Allocated by the event itself, events inside left out.</summary>
    public long Allocated { get; init; }

    /// <summary>Freed by the event itself.</summary>
    public long Freed { get; init; }

    /// <summary>Most held above what was held at its begin, events inside included.</summary>
    public long Peak { get; init; }

    /// <summary>Sparse attention: entries of its lists (key blocks of a query block, or keys of a query); -1 elsewhere.</summary>
    public long Listed { get; init; } = -1;

    /// <summary>Whether it is an operator or a node of the backward pass, not a range around some.</summary>
    [JsonIgnore]
    public bool IsWork => Kind is TraceEventKind.Operator or TraceEventKind.Backward;

    /// <summary>Host time in nanoseconds, events inside included.</summary>
    [JsonIgnore]
    public long HostTime => End - Begin;

    /// <summary>Nanoseconds of the device's work that was asked for while it was open; null where that work was not recorded one by one.</summary>
    public double? DeviceWork { get; init; }

    /// <summary>Its work's time on the device, or else that between its marks there, in nanoseconds.</summary>
    [JsonIgnore]
    public double? DeviceTime => DeviceWork ?? DeviceEnd - DeviceBegin;
}
