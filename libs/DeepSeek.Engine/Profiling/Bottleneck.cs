using System.Globalization;
using System.Text.Json.Serialization;

namespace DeepSeek.Engine.Profiling;

/// <summary>What a step spends its time on.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<BottleneckKind>))]
public enum BottleneckKind
{
    /// <summary>Arithmetic: operators whose least time is set by operations.</summary>
    Compute = 0,
    /// <summary>Moving data: operators whose least time is set by bytes.</summary>
    Memory = 1,
    /// <summary>Calling operators: short gaps between them, operators that only call others, and those with less to do than a call costs.</summary>
    Launch = 2,
    /// <summary>Waiting for batches.</summary>
    Data = 3,
    /// <summary>The program between operators: long gaps.</summary>
    Host = 4,
    /// <summary>Operators far below both roofs, or of unknown work.</summary>
    Inefficient = 5,
}

/// <summary>The largest share of the time, in words.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Share">Its share of the traced time, 0 to 1.</param>
/// <param name="Operator">The operator that takes most of it; null where it is no operator.</param>
/// <param name="Phase">forward, backward or optimizer.</param>
/// <param name="Module">Module path of that operator; null when it runs in several or none.</param>
/// <param name="RoofShare">That operator's least time over its time; null when unknown.</param>
/// <param name="Shares">Shares of all kinds.</param>
/// <param name="Sentence">All that for people, with what helps.</param>
public sealed record Bottleneck(
    BottleneckKind Kind, double Share, string? Operator, string? Phase, string? Module, double? RoofShare, IReadOnlyDictionary<BottleneckKind, double> Shares, string Sentence)
{
    // An operator that takes longer than this many calls' cost does not only pay for its call.
    private const double LongCalls = 20;

    // A gap longer than this many calls' cost is the program's own work.
    private const double LongGap = 50;

    // Below this share of the roof the work does not explain the time.
    private const double FarBelow = 0.05;

    private const int Longest = 96;

    internal static Bottleneck Of(TraceTree tree, DeviceCeilings ceilings)
    {
        var call = ceilings.CallSeconds * 1e9;
        var times = Enum.GetValues<BottleneckKind>().ToDictionary(k => k, _ => 0.0);
        var groups = new Dictionary<BottleneckKind, List<Part>>();
        var replayed = (tree.Kernels ?? []).Where(k => k.Replayed && k.Event >= 0).ToLookup(k => k.Event);
        for (var i = 0; i < tree.Events.Count; i++)
        {
            var e = tree.Events[i];
            if (e.Kind == TraceEventKind.Data && e.Thread == tree.MainThread)
            {
                times[BottleneckKind.Data] += tree.Self[i];
            }
            if (tree.Unit[i] && replayed.Contains(i))
            {
                foreach (var kernel in replayed[i])
                {
                    Add(LooksArithmetic(kernel) ? BottleneckKind.Compute : BottleneckKind.Memory, new Part(i, kernel.Name, kernel.Time, null));
                }
            }
            else if (tree.Unit[i])
            {
                var (kind, roof) = Classify(tree, i, ceilings, call);
                Add(kind, new Part(i, e.Name, tree.Time(i), roof));
            }
            else if (e.IsWork && tree.IsComposite(i) && !tree.DeviceTimed && !Covered(tree, i))
            {
                times[BottleneckKind.Launch] += tree.Self[i];
            }
        }
        foreach (var gap in tree.Gaps)
        {
            times[gap > LongGap * call ? BottleneckKind.Host : BottleneckKind.Launch] += gap;
        }
        times[tree.Tail > LongGap * call ? BottleneckKind.Host : BottleneckKind.Launch] += tree.Tail;
        var whole = Math.Max(1, Math.Max(tree.Duration, times.Values.Sum()));
        var shares = times.ToDictionary(t => t.Key, t => t.Value / whole);
        var largest = shares.MaxBy(s => s.Value).Key;
        return Describe(tree, largest, shares, groups.GetValueOrDefault(largest) ?? [], ceilings);

        void Add(BottleneckKind kind, Part part)
        {
            times[kind] += part.Time;
            (groups.TryGetValue(kind, out var list) ? list : groups[kind] = []).Add(part);
        }
    }

    // Of a replayed graph names alone are known: those of matrix products, convolutions and attention, as libraries call them.
    private static bool LooksArithmetic(TraceKernel kernel) =>
        kernel.Kind == DeviceWorkKind.Kernel && Array.Exists(s_arithmetic, word => kernel.Name.Contains(word, StringComparison.OrdinalIgnoreCase));

    private static readonly string[] s_arithmetic = ["gemm", "nvjet", "cutlass", "xmma", "wgmma", "fprop", "dgrad", "wgrad", "convolve", "fmha", "sdpa", "flash", "attention", "bgrad"];

    private readonly record struct Part(int Event, string Name, double Time, double? Roof);

    private static bool Covered(TraceTree tree, int index)
    {
        for (var i = tree.Events[index].Parent; i >= 0; i = tree.Events[i].Parent)
        {
            if (tree.Unit[i])
            {
                return true;
            }
        }
        return false;
    }

    private static (BottleneckKind Kind, double? Roof) Classify(TraceTree tree, int index, DeviceCeilings ceilings, double call)
    {
        var (work, type, time) = (tree.Own[index], tree.Events[index].Signature?.TypeName, tree.Time(index));
        var roof = ceilings.RoofSeconds(work, type) * 1e9;
        if ((roof ?? 0) < call && time < LongCalls * call)
        {
            return (BottleneckKind.Launch, roof);
        }
        return roof is null || roof < FarBelow * time ? (BottleneckKind.Inefficient, roof)
            : (ceilings.IsArithmetic(work, type) ? BottleneckKind.Compute : BottleneckKind.Memory, roof);
    }

    private static Bottleneck Describe(
        TraceTree tree, BottleneckKind kind, Dictionary<BottleneckKind, double> shares, List<Part> units, DeviceCeilings ceilings)
    {
        var top = units.GroupBy(u => (u.Name, Phase: PhaseOf(tree, u))).MaxBy(g => g.Sum(u => u.Time));
        var module = top?.Select(u => tree.Module(u.Event)).Distinct().ToList() is [var only] ? only : null;
        var roof = top is null || top.Any(u => u.Roof is null) ? null : top.Sum(u => u.Roof) / top.Sum(u => u.Time);
        var calls = Enumerable.Range(0, tree.Events.Count).Count(i => tree.Unit[i]);
        var subject = top is null ? null : $"{Short(top.Key.Name)} in the {top.Key.Phase}{(module is null ? "" : $" of {module}")}";
        var part = top is null ? 0 : top.Sum(u => u.Time) / Math.Max(1.0, tree.Duration);
        var share = Percent(shares[kind]);
        var sentence = kind switch
        {
            BottleneckKind.Compute => $"Compute-bound: {share} of the time is arithmetic; {subject} takes {Percent(part)}{At(roof)}. Lower precision or fewer operations help.",
            BottleneckKind.Memory => $"Memory-bound: {share} of the time moves data; {subject} takes {Percent(part)}{At(roof)}. Fused operators or smaller element types help.",
            BottleneckKind.Launch => $"Launch-bound: {share} of the time goes into calling {calls} operators, of which each costs about {Microseconds(ceilings.CallSeconds)} before it does anything. Larger batches, fused operators or Capture help.",
            BottleneckKind.Data => $"Data-bound: {share} of the time waits for batches. Faster preparation or storage, or more batches prepared ahead, help; a faster device does not.",
            BottleneckKind.Host => $"Host-bound: {share} of the time passes in the program between operators. Move that work out of the step or onto another thread.",
            _ => $"Inefficient: {share} of the time is in operators whose work does not explain it; {subject} takes {Percent(part)}{(roof is null ? ", its work is not known" : $" at {Percent(roof.Value)} of the roof")}. Another algorithm or layout helps.",
        };
        return new Bottleneck(kind, shares[kind], top?.Key.Name, top is null ? null : tree.Phase[top.First().Event], module, roof, shares, sentence);
    }

    private static string PhaseOf(TraceTree tree, Part part) => part.Name == tree.Events[part.Event].Name ? $"{tree.Phase[part.Event]} pass" : "replayed graph";

    private static string At(double? roof) => roof is { } known ? $" at {Percent(known)} of the roof" : "";

    // Kernels' names have all template arguments.
    internal static string Short(string name) => name.StartsWith("aten::", StringComparison.Ordinal) ? name[6..] : name.Length <= Longest ? name : name[..Longest] + "…";

    private static string Percent(double share) => (100 * share).ToString(share is > 0 and < 0.0095 ? "F1" : "F0", CultureInfo.InvariantCulture) + " %";

    private static string Microseconds(double seconds) => (1e6 * seconds).ToString("F1", CultureInfo.InvariantCulture) + " µs";
}
