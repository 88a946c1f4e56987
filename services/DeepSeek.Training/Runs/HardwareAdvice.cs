using System.Globalization;
using DeepSeek.Contracts.Devices;

namespace DeepSeek.Training.Runs;

/// <summary>What another device would be expected to make of the same steps.</summary>
/// <param name="Host">Its machine.</param>
/// <param name="Device">cpu or cuda:0.</param>
/// <param name="Name">Product.</param>
/// <param name="Speedup">Time of a step here over the expected time there.</param>
/// <param name="Fits">Whether its memory holds what a step needs; null when either is unknown.</param>
public sealed record ExpectedDevice(string Host, string Device, string Name, double Speedup, bool? Fits);

/// <summary>
/// What limited a run and which of the platform's rated devices would do it faster. A step's least time on a device is the longest of its
/// arithmetic over the rated operations a second, its bytes over the rated bandwidth and its operators times a call's cost (the roofline
/// model with a cost for calls). Elsewhere it is expected to miss that bound by the factor by which it missed it here; waiting for batches stays as it is.
/// </summary>
/// <param name="Limit">data, calls, arithmetic or memory; null when nothing rated or measured explains a quarter of the time.</param>
/// <param name="Share">The largest share of a rated ceiling (arithmetic or bandwidth) that the steps reached, 0 to 1; null when the device is not rated.</param>
/// <param name="Expected">The other rated devices, the fastest first.</param>
/// <param name="Sentences">All that for people.</param>
public sealed record HardwareAdvice(string? Limit, double? Share, IReadOnlyList<ExpectedDevice> Expected, IReadOnlyList<string> Sentences)
{
    private const string Rate = "`deepseek devices --rate`";

    // Below this gain another device is not worth the move: predictions are no better.
    private const double Gain = 1.2;

    // What takes less of the time than this limits nothing.
    private const double Explains = 0.25;

    private readonly record struct Bounds(double Arithmetic, double Memory, double Calls)
    {
        internal double Longest => Math.Max(Math.Max(Arithmetic, Memory), Calls);
    }

    /// <param name="compute">How the run computed.</param>
    /// <param name="usage">What its steps took.</param>
    /// <param name="host">The machine it ran on.</param>
    /// <param name="known">The platform's rated devices.</param>
    public static HardwareAdvice Of(RunCompute compute, RunUsage usage, string host, IReadOnlyList<KnownDevice> known)
    {
        var text = new List<string>();
        var (step, waiting) = (usage.StepSeconds, usage.StepWaiting);
        var here = known.FirstOrDefault(k => Is(k, compute, host));
        var bounds = here is null ? null : BoundsOf(here.Device, usage, compute.Captured);
        double? share = bounds is { } b ? Math.Max(b.Arithmetic, b.Memory) / step : null;
        text.Add($"{usage.Steps} steps of {Time(step)} on {compute.Device} ({compute.DeviceName}){Reached(usage, here?.Device, bounds, step)}.");
        var limit = LimitOf(bounds, step, waiting);
        text.AddRange(Explain(limit, usage, bounds, step, waiting));
        if (usage.Memory is { } needed)
        {
            text.Add($"A step needs {Bytes(needed)} in tensors{(usage.MemoryLimit is { } had ? $" of {Bytes(had)} that there were" : "")}.");
        }
        if (here is null)
        {
            text.Add($"{compute.Device} of {host} is not rated: {Rate} there tells what share of its ceilings a run reaches and lets devices be compared.");
            return new HardwareAdvice(limit, null, [], text);
        }
        if (bounds is not { } own)
        {
            text.Add(usage.Flops is null ? "The run was too short for its operations to be counted, so it says nothing of other devices."
                : $"{here.Device.Name} is not rated for {usage.Type}, so it says nothing of other devices.");
            return new HardwareAdvice(limit, null, [], text);
        }
        var missed = Math.Max(1, (step - waiting) / own.Longest);
        List<(ExpectedDevice Device, Bounds Bounds)> others =
        [
            .. known.Where(k => !Is(k, compute, host)).DistinctBy(k => (k.Host, k.Device.Device))
                .Select(k => (k, Bounds: BoundsOf(k.Device, usage, compute.Captured))).Where(o => o.Bounds is not null)
                .Select(o => (new ExpectedDevice(o.k.Host, o.k.Device.Device, o.k.Device.Name, step / (waiting + missed * o.Bounds!.Value.Longest), Fits(usage, o.k.Device)), o.Bounds.Value))
                .OrderByDescending(o => o.Item1.Speedup).ThenBy(o => o.Item1.Host, StringComparer.Ordinal).ThenBy(o => o.Item1.Device, StringComparer.Ordinal),
        ];
        text.AddRange(others.Select(o => Compare(o.Device, o.Bounds, usage, limit)));
        if (others.Count == 0)
        {
            text.Add($"The platform knows no other device rated for {usage.Type}: {Rate} on the other machines makes them known.");
        }
        return new HardwareAdvice(limit, share, [.. others.Select(o => o.Device)], text);
    }

    // Of several GPUs of a kind one is listed.
    private static bool Is(KnownDevice known, RunCompute compute, string host) =>
        known.Host == host && (known.Device.Device == compute.Device || (compute.Device != "cpu" && known.Device.Device != "cpu" && known.Device.Name == compute.DeviceName));

    private static Bounds? BoundsOf(RatedDevice device, RunUsage usage, bool captured) =>
        usage is { Flops: { } flops, Bytes: { } bytes, Calls: { } calls } && device.FlopRates.TryGetValue(usage.Type, out var rate)
            ? new Bounds(flops / rate, bytes / device.Bandwidth, captured ? 0 : calls * device.CallSeconds) : null;

    private static string? LimitOf(Bounds? bounds, double step, double waiting)
    {
        if (bounds is not { } own)
        {
            return waiting > step / 2 ? "data" : null;
        }
        var (name, seconds) = new[] { ("data", waiting), ("calls", own.Calls), ("arithmetic", own.Arithmetic), ("memory", own.Memory) }.MaxBy(part => part.Item2);
        return seconds >= Explains * step ? name : null;
    }

    private static string Reached(RunUsage usage, RatedDevice? device, Bounds? bounds, double step) => device is null || bounds is not { } own ? ""
        : $", at {Percent(own.Arithmetic / step)} of its rated {usage.Type} arithmetic ({Number(usage.Flops!.Value / step * 1e-9)} of {Number(device.FlopRates[usage.Type] * 1e-9)} GFLOP/s) and {Percent(own.Memory / step)} of its rated bandwidth";

    private static IEnumerable<string> Explain(string? limit, RunUsage usage, Bounds? bounds, double step, double waiting)
    {
        var share = limit switch { "data" => waiting, "calls" => bounds!.Value.Calls, "arithmetic" => bounds!.Value.Arithmetic, "memory" => bounds!.Value.Memory, _ => 0 } / step;
        return limit switch
        {
            "data" => [$"Waiting for batches limits it most: {Percent(share)} of the time. Faster storage or preparation helps; a faster device does not."],
            "calls" => [$"Calling operators limits it most: {usage.Calls} a step, which do next to nothing each, take at least {Percent(share)} of the time. Larger batches help."],
            "arithmetic" => [$"Arithmetic limits it most: at least {Percent(share)} of the time."],
            "memory" => [$"Moving data limits it most: at least {Percent(share)} of the time."],
            _ when bounds is { } own => [$"Neither batches, calls, arithmetic nor memory explain its time: the longest of them takes {Percent(Math.Max(waiting, own.Longest) / step)} of it. A trace (`\"trace\": {{}}` in the spec) shows where it goes."],
            _ => [],
        };
    }

    private static string Compare(ExpectedDevice device, Bounds bounds, RunUsage usage, string? limit)
    {
        var subject = $"{device.Name} ({device.Device} of {device.Host})";
        if (device.Fits == false)
        {
            return $"{subject} has too little memory for it.";
        }
        if (device.Speedup >= Gain)
        {
            return $"{subject} would be expected to take a step {Number(device.Speedup)} times as fast.";
        }
        var why = limit == "data" ? "batches would be waited for there, too"
            : bounds.Calls >= bounds.Longest ? string.Create(CultureInfo.InvariantCulture, $"the steps are too small, their {usage.Calls} operators take {Time(bounds.Calls)} there to be called alone") : "it is rated no faster for this work";
        return $"{subject} would not pay: expected at {Number(device.Speedup)} times the speed, as {why}.";
    }

    private static bool? Fits(RunUsage usage, RatedDevice device) => usage.Memory is { } needed && device.Memory is { } has ? needed <= has : null;

    private static string Percent(double share) => (100 * share).ToString(share < 0.0995 ? "F1" : "F0", CultureInfo.InvariantCulture) + " %";

    private static string Number(double value) => value.ToString(value < 0.995 ? "F2" : value < 99.5 ? "G3" : "F0", CultureInfo.InvariantCulture);

    private static string Time(double seconds) => seconds < 1 ? $"{Number(seconds * 1e3)} ms" : $"{Number(seconds)} s";

    private static string Bytes(long bytes) => bytes < 1L << 30 ? $"{Number(bytes / (double)(1 << 20))} MiB" : $"{Number(bytes / (double)(1 << 30))} GiB";
}
