using DeepSeek.Engine.Profiling;
using DeepSeek.Testing;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Engine.Tests.Profiling;

/// <summary>Traces made by hand, whose numbers are known.</summary>
public sealed class TraceTreeTests
{
    private const long Microsecond = 1000;

    [Fact]
    public void SelfTimes_OfAnyNesting_AddUpToTheRoots() =>
        Prop.ForAll(Gen.Choose(0, 9).ArrayOf().ToArbitrary(), choices =>
        {
            var events = Nested(choices);
            var tree = new TraceTree(events, 0, 1000);
            return tree.Self.Sum() == events.Where(e => e.Parent < 0).Sum(e => e.HostTime) && tree.Self.All(s => s >= 0);
        }).Holds();

    [Fact]
    public void Module_OfABackwardNode_IsThatOfItsForwardOperator()
    {
        TraceEvent[] events =
        [
            Event(TraceEventKind.Module, "Net", 0, 100),
            Event(TraceEventKind.Module, "Net.first", 0, 50, 0),
            Event(TraceEventKind.Operator, "aten::linear", 10, 40, 1) with { Sequence = 7 },
            Event(TraceEventKind.Phase, "backward", 100, 200),
            Event(TraceEventKind.Backward, "AddmmBackward0", 110, 190, 3) with { Sequence = 7, ForwardThread = 0 },
            Event(TraceEventKind.Operator, "aten::mm", 120, 180, 4),
        ];

        var tree = new TraceTree(events, 0, 200);

        Assert.Equal(["Net", "Net.first", "Net.first", null, "Net.first", "Net.first"], Enumerable.Range(0, 6).Select(tree.Module));
        Assert.Equal(["forward", "forward", "forward", "backward", "backward", "backward"], tree.Phase);
    }

    [Fact]
    public void Unit_OfWork_IsTheOutermostOperatorWithAFormula()
    {
        TraceEvent[] events =
        [
            Call("aten::conv2d|T6:0[2,3,8,8] T6:0[4,3,3,3] N|T6:0[2,4,8,8]", 0, 100),
            Call("aten::convolution|T6:0[2,3,8,8] T6:0[4,3,3,3] N L[1,1] L[1,1] L[1,1] B0 L[0,0] I1|T6:0[2,4,8,8]", 10, 90, 0),
            Call("aten::reshape|T6:0[4,8] L[32]|T6:0[32]", 100, 130),
            Call("aten::clone|T6:0[4,8] N|T6:0[4,8]", 105, 125, 2),
        ];

        var tree = new TraceTree(events, 0, 130);

        Assert.Equal([true, false, false, true], tree.Unit);
        Assert.Equal(27648, tree.Total[0].Flops);
        Assert.Equal(256, tree.Total[2].Bytes);
    }

    [Fact]
    public void Gap_BetweenOperators_LeavesOutWaitsForBatches()
    {
        TraceEvent[] events =
        [
            Call("aten::add|T6:0[4] T6:0[4]|T6:0[4]", 10, 20),
            Event(TraceEventKind.Data, "batches", 25, 80),
            Call("aten::add|T6:0[4] T6:0[4]|T6:0[4]", 83, 90),
        ];

        var tree = new TraceTree(events, 0, 100 * Microsecond);

        Assert.Equal([10, 5, 3], tree.Gap.Select(g => g / Microsecond));
        Assert.Equal(10, tree.Tail / Microsecond);
    }

    [Fact]
    public void Gap_WhereTheDeviceWasTimed_IsTheDevicesIdleTime()
    {
        TraceEvent[] events =
        [
            Call("aten::add|T6:1[4] T6:1[4]|T6:1[4]", 0, 5) with { DeviceBegin = 4_000, DeviceEnd = 9_000 },
            Call("aten::add|T6:1[4] T6:1[4]|T6:1[4]", 6, 9) with { DeviceBegin = 9_500, DeviceEnd = 12_000 },
        ];

        var tree = new TraceTree(events, 0, 20 * Microsecond);

        Assert.Equal([4_000, 500], tree.Gap);
        Assert.Equal(8_000, tree.Tail);
        Assert.Equal(5_000, tree.Time(0));
    }

    internal static TraceEvent Event(TraceEventKind kind, string name, long begin, long end, int parent = -1) =>
        new() { Kind = kind, Name = name, Begin = begin * Microsecond, End = end * Microsecond, Parent = parent };

    internal static TraceEvent Call(string signature, long begin, long end, int parent = -1)
    {
        var parsed = OperatorSignature.Parse(signature);
        return Event(TraceEventKind.Operator, parsed.Name, begin, end, parent) with { Signature = parsed };
    }

    // Each choice opens an event inside the last one open, or ends so many first.
    private static List<TraceEvent> Nested(int[] choices)
    {
        var (events, open, time) = (new List<TraceEvent>(), new Stack<int>(), 0L);
        void Close() => events[open.Peek()] = events[open.Pop()] with { End = ++time };
        foreach (var choice in choices)
        {
            for (var i = 0; i < choice - 5 && open.Count > 0; i++)
            {
                Close();
            }
            events.Add(new TraceEvent { Kind = (TraceEventKind)(choice % 6), Name = $"e{choice}", Begin = time += choice, End = 0, Parent = open.Count > 0 ? open.Peek() : -1 });
            open.Push(events.Count - 1);
        }
        while (open.Count > 0)
        {
            Close();
        }
        return events;
    }
}
