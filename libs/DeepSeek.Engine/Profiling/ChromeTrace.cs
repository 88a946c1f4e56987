using System.Globalization;
using System.Text.Json;

namespace DeepSeek.Engine.Profiling;

/// <summary>Writes a trace in the Trace Event Format, JSON object form, which chrome://tracing and Perfetto show.</summary>
public static class ChromeTrace
{
    private const int Host = 1;
    private const int Accelerator = 2;

    /// <summary>Writes complete events (host, and device where it was timed), the ends of steps as instants, and names; times are in microseconds.</summary>
    public static void Write(TraceReport report, Stream destination)
    {
        using var json = new Utf8JsonWriter(destination);
        json.WriteStartObject();
        json.WriteString("displayTimeUnit", "ms");
        json.WriteStartArray("traceEvents");
        Name(json, "process_name", Host, 0, "host");
        foreach (var thread in report.Events.Select(e => e.Thread).Distinct())
        {
            Name(json, "thread_name", Host, thread, string.Create(CultureInfo.InvariantCulture, $"thread {thread}"));
        }
        if (report.Tree.DeviceTimed || report.Tree.Kernels is not null)
        {
            Name(json, "process_name", Accelerator, 0, report.Device);
        }
        for (var i = 0; i < report.Events.Count; i++)
        {
            var e = report.Events[i];
            Complete(json, report, i, Host, e.Thread, e.Begin, e.End);
            // Events inside a unit of work would lie over it.
            if (report.Tree.Kernels is null && report.Tree.Unit[i] && e.DeviceBegin is { } begin)
            {
                Complete(json, report, i, Accelerator, 0, begin, e.DeviceEnd!.Value);
            }
        }
        foreach (var stream in (report.Tree.Kernels ?? []).Select(k => k.Stream).Distinct())
        {
            Name(json, "thread_name", Accelerator, stream, string.Create(CultureInfo.InvariantCulture, $"stream {stream}"));
        }
        foreach (var kernel in report.Tree.Kernels ?? [])
        {
            Kernel(json, report, kernel);
        }
        for (var i = 0; i < report.StepEnds.Count; i++)
        {
            json.WriteStartObject();
            json.WriteString("name", string.Create(CultureInfo.InvariantCulture, $"step {i + 1} ends"));
            json.WriteString("cat", "step");
            json.WriteString("ph", "i");
            json.WriteString("s", "p");
            Place(json, Host, report.Tree.MainThread, report.StepEnds[i]);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void Complete(Utf8JsonWriter json, TraceReport report, int index, int process, int thread, double begin, double end)
    {
        var e = report.Events[index];
        json.WriteStartObject();
        json.WriteString("name", e.Name);
        json.WriteString("cat", e.Kind.ToString().ToLowerInvariant());
        json.WriteString("ph", "X");
        Place(json, process, thread, begin);
        json.WriteNumber("dur", Math.Max(0, end - begin) / 1000);
        json.WriteStartObject("args");
        json.WriteString("phase", report.Tree.Phase[index]);
        if (report.Tree.Module(index) is { } module)
        {
            json.WriteString("module", module);
        }
        if (e.Signature is { } signature)
        {
            json.WriteString("shapes", string.Join(' ', signature.Inputs.Select(t => $"{t.TypeName}{t}")));
        }
        if (report.Tree.Total[index].Flops is { } flops)
        {
            json.WriteNumber("flops", flops);
        }
        if (e.Allocated > 0)
        {
            json.WriteNumber("allocated", e.Allocated);
        }
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void Kernel(Utf8JsonWriter json, TraceReport report, TraceKernel kernel)
    {
        json.WriteStartObject();
        json.WriteString("name", kernel.Name);
        json.WriteString("cat", kernel.Kind.ToString().ToLowerInvariant());
        json.WriteString("ph", "X");
        Place(json, Accelerator, kernel.Stream, kernel.Begin);
        json.WriteNumber("dur", kernel.Time / 1000);
        json.WriteStartObject("args");
        if (kernel.Event >= 0)
        {
            json.WriteString("operator", report.Events[kernel.Event].Name);
        }
        if (kernel.Bytes > 0)
        {
            json.WriteNumber("bytes", kernel.Bytes);
        }
        if (kernel.Launch is { } launch)
        {
            json.WriteString("grid", string.Create(CultureInfo.InvariantCulture, $"{launch.GridX} {launch.GridY} {launch.GridZ}"));
            json.WriteString("block", string.Create(CultureInfo.InvariantCulture, $"{launch.BlockX} {launch.BlockY} {launch.BlockZ}"));
            json.WriteNumber("registers", launch.Registers);
            json.WriteNumber("shared memory", launch.SharedMemory);
            if (report.Limits is { } limits)
            {
                json.WriteNumber("occupancy", limits.Occupancy(launch));
            }
        }
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void Place(Utf8JsonWriter json, int process, int thread, double nanoseconds)
    {
        json.WriteNumber("pid", process);
        json.WriteNumber("tid", thread);
        json.WriteNumber("ts", nanoseconds / 1000);
    }

    private static void Name(Utf8JsonWriter json, string what, int process, int thread, string name)
    {
        json.WriteStartObject();
        json.WriteString("name", what);
        json.WriteString("ph", "M");
        json.WriteNumber("pid", process);
        json.WriteNumber("tid", thread);
        json.WriteStartObject("args");
        json.WriteString("name", name);
        json.WriteEndObject();
        json.WriteEndObject();
    }
}
