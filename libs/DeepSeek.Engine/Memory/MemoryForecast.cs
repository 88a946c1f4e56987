using System.Globalization;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Memory;

/// <summary>Bytes as a straight line over the rows of a batch, from two measurements.</summary>
/// <param name="Few">Rows of the first; the second has twice as many.</param>
/// <param name="AtFew">Bytes of the first.</param>
/// <param name="AtTwice">Bytes of the second.</param>
public sealed record MemoryLine(int Few, long AtFew, long AtTwice)
{
    /// <summary>Bytes of a batch.</summary>
    public long At(int rows) => AtFew + (long)((AtTwice - AtFew) / (double)Few * (rows - Few));

    /// <summary>The most rows that take no more than so many bytes; 0 if even the few do not.</summary>
    public int Most(long bytes) => bytes < AtFew ? 0
        : AtTwice <= AtFew ? int.MaxValue
        : (int)Math.Min(int.MaxValue, Few + Math.Floor((bytes - AtFew) * (double)Few / (AtTwice - AtFew)));
}

/// <summary>
/// What a training step takes and what would make it fit, from real steps over a quarter and a half of the rows (or fewer, where these
/// do not fit either): every operator's bytes grow by a constant for each further row, or not at all.
/// </summary>
/// <param name="Lasting">Parameters, gradients, optimizer state and buffers, by part.</param>
/// <param name="Activations">What each part keeps between the passes with all rows.</param>
/// <param name="Plain">A step's most bytes besides the lasting ones.</param>
/// <param name="Recomputed">The same with every segment computed again; null for a net without segments.</param>
/// <param name="Half">The same in half precision; null where it is not to be had, or had already.</param>
/// <param name="Rows">Of the batch in question.</param>
/// <param name="Available">Bytes for all of this.</param>
public sealed record MemoryForecast(
    IReadOnlyList<MemoryHolding> Lasting, IReadOnlyList<MemoryHolding> Activations, MemoryLine Plain, MemoryLine? Recomputed, MemoryLine? Half, int Rows, long Available)
{
    private const double Mebibyte = 1 << 20;
    private const int Told = 6;

    /// <summary>Bytes for what stays from step to step.</summary>
    public long LastingBytes => Lasting.Sum(h => h.Bytes);

    /// <summary>Whether there is room for the step as it is.</summary>
    public bool Fits => LastingBytes + Plain.At(Rows) <= Available;

    /// <summary>Rows that there is room for; 0 for not even a few.</summary>
    public int MostRows => Plain.Most(Available - LastingBytes);

    /// <summary>
    /// Takes steps over a few rows, which change no weights, buffers or generators; gradients are cleared. To be called when the failed
    /// step's tensors are freed.
    /// </summary>
    /// <param name="net">On its device; whether its modules are computed again is as it was, afterwards.</param>
    /// <param name="optimizer">Of the net.</param>
    /// <param name="loss">Rows → loss of so many rows.</param>
    /// <param name="half">The same in half precision, or null.</param>
    /// <param name="rows">Of the batch in question.</param>
    /// <param name="free">Bytes of the device that no tensor holds.</param>
    public static MemoryForecast Measure(Module net, Optimizer optimizer, Func<int, Tensor> loss, Func<int, Tensor>? half, int rows, long free)
    {
        optimizer.ClearGradients();
        var available = free + MemoryHoldings.Lasting(net, optimizer).Sum(h => h.Bytes);
        for (var few = Math.Max(2, rows / 4); ; few /= 2)
        {
            try
            {
                return Measure(net, optimizer, loss, half, rows, few, available);
            }
            catch (NativeException fault) when (fault.Status == NativeStatus.OutOfMemory && few >= 4)
            {
                // Half as many, then.
            }
        }
    }

    private static MemoryForecast Measure(Module net, Optimizer optimizer, Func<int, Tensor> loss, Func<int, Tensor>? half, int rows, int few, long available)
    {
        var before = net.Modules().Select(m => m.Module.Recomputes).ToArray();
        var random = new RandomSnapshot(net.Device);
        using var repetition = Checkpoint.Repeat();
        try
        {
            var parts = MemoryHoldings.Parts(net);
            var (one, two) = (CheckpointPlanner.Measure(net, parts, () => loss(few)), CheckpointPlanner.Measure(net, parts, () => loss(2 * few)));
            Restore(net, before);
            var plain = Line(net, loss, few);
            var halved = half is null ? null : Line(net, half, few);
            var segments = CheckpointPlanner.Segments(net);
            foreach (var (_, module) in segments)
            {
                module.Recomputes = true;
            }
            var recomputed = segments.Count == 0 ? null : Line(net, loss, few);
            // The gradients of the last of these passes are among them.
            var lasting = MemoryHoldings.Lasting(net, optimizer);
            var activations = one.Segments.Join(two.Segments, c => c.Name, c => c.Name,
                (a, b) => new MemoryHolding(HoldingKind.Activations, a.Name, Math.Max(0, new MemoryLine(few, a.Kept, b.Kept).At(rows))));
            return new MemoryForecast(lasting, [.. activations.OrderByDescending(h => h.Bytes)], plain, recomputed, halved, rows, available);
        }
        finally
        {
            Restore(net, before);
            optimizer.ClearGradients();
            random.Restore();
        }
    }

    /// <summary>The answer to "out of memory": who holds it, and what would fit.</summary>
    public string Describe()
    {
        var kinds = Lasting.GroupBy(h => h.Kind).OrderBy(g => g.Key).Select(g => $"{Name(g.Key)} {Size(g.Sum(h => h.Bytes))}");
        var most = Activations.Concat(Lasting).OrderByDescending(h => h.Bytes).Take(Told).Select(h => $"{Name(h.Kind)} of {h.Part} {Size(h.Bytes)}");
        return string.Create(CultureInfo.InvariantCulture, $"A step over {Rows} rows needs {Size(LastingBytes + Plain.At(Rows))}, and {Size(Available)} are to be had. "
            + $"Lasting: {string.Join(", ", kinds)}; activations and their gradients take {Size(Plain.At(Rows))} more, as steps over {Plain.Few} and {2 * Plain.Few} rows tell. "
            + $"Most is held by {string.Join(", ", most)}. {Remedy()}");
    }

    private string Remedy()
    {
        var free = Available - LastingBytes;
        var remedies = new List<string>();
        if (MostRows >= 2)
        {
            remedies.Add($"at most {MostRows} rows a batch");
        }
        if (Recomputed is not null && Recomputed.At(Rows) <= free)
        {
            remedies.Add($"checkpointing ({Size(LastingBytes + Recomputed.At(Rows))})");
        }
        else if (Recomputed?.Most(free) > Math.Max(2, MostRows))
        {
            remedies.Add($"checkpointing and at most {Recomputed.Most(free)} rows a batch");
        }
        if (Half is not null && Half.At(Rows) <= free)
        {
            remedies.Add($"bf16 ({Size(LastingBytes + Half.At(Rows))})");
        }
        return Fits ? "There is room for it by now: another process held the memory."
            : remedies.Count > 0 ? $"It fits with {string.Join(", or ", remedies)}."
            : "Nothing but a smaller model fits.";
    }

    private static MemoryLine Line(Module net, Func<int, Tensor> loss, int few)
    {
        // Parameters' gradients are there before what is measured: they are counted among what lasts.
        StepPeak(net, loss, 2);
        return new MemoryLine(few, StepPeak(net, loss, few), StepPeak(net, loss, 2 * few));
    }

    private static long StepPeak(Module net, Func<int, Tensor> loss, int rows)
    {
        var device = net.Device;
        var before = AllocatorMemory.Of(device).Current;
        AllocatorMemory.ResetPeak(device);
        using (var scope = TensorScope.Open())
        {
            loss(rows).Backward();
        }
        return AllocatorMemory.Of(device).Peak - before;
    }

    private static void Restore(Module net, bool[] recomputes)
    {
        foreach (var ((_, module), value) in net.Modules().Zip(recomputes))
        {
            module.Recomputes = value;
        }
    }

    private static string Name(HoldingKind kind) => kind == HoldingKind.OptimizerState ? "optimizer state" : kind.ToString().ToLowerInvariant();

    private static string Size(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / Mebibyte:F1} MiB");
}
