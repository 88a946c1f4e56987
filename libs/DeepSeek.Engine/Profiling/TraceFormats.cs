using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Engine.Profiling;

/// <summary>A trace's numbers as JSON of format <c>deepseek.trace/1</c>: seconds, bytes, operations; null is what is not known.</summary>
public sealed record TraceDocument
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web)
    {
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    /// <summary>Version of the document.</summary>
    public string Format { get; init; } = "deepseek.trace/1";

    /// <summary>The bottleneck in a sentence.</summary>
    public required string Summary { get; init; }

    /// <summary>Device that was traced.</summary>
    public required string Device { get; init; }

    /// <summary>Steps.</summary>
    public required int Steps { get; init; }

    /// <summary>Seconds of all steps.</summary>
    public required double Duration { get; init; }

    /// <summary>Floating-point operations of all steps.</summary>
    public double? Flops { get; init; }

    /// <summary>Most bytes held above what was held at the start.</summary>
    public long? PeakMemory { get; init; }

    /// <summary>Joule of a step, from the device's own counter over the steps after the traced ones, validation between them included; null without a counter, or when they took less than 30 s.</summary>
    public double? EnergyPerStep { get; init; }

    /// <summary>What the time goes into.</summary>
    public required Bottleneck Bottleneck { get; init; }

    /// <summary>The roof.</summary>
    public required DeviceCeilings Ceilings { get; init; }

    /// <summary>By phase.</summary>
    public required IReadOnlyList<PhaseStats> Phases { get; init; }

    /// <summary>By operator and phase.</summary>
    public required IReadOnlyList<OperatorStats> Operators { get; init; }

    /// <summary>By operator, phase, element type and shapes.</summary>
    public required IReadOnlyList<OperatorStats> ByShape { get; init; }

    /// <summary>By kernel; empty where the device's work was not recorded one by one.</summary>
    public required IReadOnlyList<KernelStats> Kernels { get; init; }

    /// <summary>By module.</summary>
    public required IReadOnlyList<ModuleStats> Modules { get; init; }

    /// <summary>What the numbers do not hold.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>The document of a report.</summary>
    public static TraceDocument Of(TraceReport report, double? energyPerStep = null) => new()
    {
        Summary = report.Summary,
        Device = report.Device,
        Steps = report.StepEnds.Count,
        Duration = report.Duration,
        Flops = report.Flops,
        PeakMemory = report.PeakMemory,
        EnergyPerStep = energyPerStep,
        Bottleneck = report.Bottleneck,
        Ceilings = report.Ceilings,
        Phases = report.Phases,
        Operators = report.Operators,
        ByShape = report.ByShape,
        Kernels = report.Kernels,
        Modules = report.Modules,
        Notes = report.Notes,
    };

    /// <summary>As UTF-8 text.</summary>
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, s_json);
}

/// <summary>A trace as a table of text.</summary>
public static class TraceTable
{
    private static readonly string[] s_columns = ["operator", "phase", "calls", "self ms", "host ms", "device ms", "gap ms", "GFLOP", "GFLOP/s", "GB/s", "roof", "occupancy", "allocated MB", "type"];

    private static readonly string[] s_kernelColumns = ["kernel", "asked for by", "runs", "ms", "share", "occupancy", "waves", "registers", "shared KiB"];

    /// <summary>The operators with the most self time, one line each, under the summary; then the kernels with the most time, where they are known.</summary>
    public static string Of(TraceReport report, int rows = 25)
    {
        var lines = new List<string[]> { s_columns };
        lines.AddRange(report.Operators.Take(rows).Select(o => (string[])
        [
            Bottleneck.Short(o.Name), o.Phase ?? "", o.Calls.ToString(CultureInfo.InvariantCulture), Number(1e3 * o.SelfTime), Number(1e3 * o.HostTime), Number(1e3 * o.DeviceTime), Number(1e3 * o.LaunchGap),
            Number(1e-9 * o.Flops), Number(1e-9 * o.FlopRate), Number(1e-9 * o.ByteRate), Percent(o.RoofShare), Percent(o.Occupancy), Number(1e-6 * o.Allocated), o.Type ?? "-",
        ]));
        var text = new StringBuilder().AppendLine(report.Summary);
        Append(text, lines);
        if (report.Kernels.Count > 0)
        {
            text.AppendLine();
            Append(text,
            [
                s_kernelColumns,
                .. report.Kernels.Take(rows).Select(k => (string[])
                [
                    Bottleneck.Short(k.Name), Bottleneck.Short(k.Operators.FirstOrDefault() ?? "-"), k.Calls.ToString(CultureInfo.InvariantCulture), Number(1e3 * k.Time), Percent(k.Share), Percent(k.Occupancy), Number(k.Waves),
                    k.Registers.ToString(CultureInfo.InvariantCulture), Number(k.SharedMemory / 1024.0),
                ]),
            ]);
        }
        return text.ToString();
    }

    private static void Append(StringBuilder text, IReadOnlyList<string[]> lines)
    {
        var widths = lines[0].Select((_, c) => lines.Max(l => l[c].Length)).ToArray();
        foreach (var line in lines)
        {
            text.AppendLine(string.Join("  ", line.Select((cell, c) => c < 2 ? cell.PadRight(widths[c]) : cell.PadLeft(widths[c]))).TrimEnd());
        }
    }

    private static string Percent(double? value) => value is { } share ? share.ToString("P0", CultureInfo.InvariantCulture) : "-";

    private static string Number(double? value) => value is { } number ? number.ToString(number is > -10 and < 10 ? "F2" : "F0", CultureInfo.InvariantCulture) : "-";
}
