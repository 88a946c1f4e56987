using System.Runtime.InteropServices;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Optim;

/// <summary>The numbers an adaptive optimiser goes by, beside its tensors: float64 values and a log in one CPU tensor, so that a checkpoint holds them bit for bit.</summary>
internal sealed class AdaptiveState
{
    internal const int LogCapacity = 256;
    private const int LogWidth = 6;
    private const int Windows = 6;
    private static readonly int s_head = Marshal.SizeOf<Values>() / sizeof(double);

    internal TensorHandle Tensor { get; } = TensorHandle.Zeros(Dtype.Float64, s_head + Windows * 3 + LogCapacity * LogWidth);

    internal ref Values Now => ref MemoryMarshal.Cast<double, Values>(Tensor.Span<double>()[..s_head])[0];

    /// <summary>The last windows since a change, oldest first.</summary>
    internal Span<LossWindow> Trend => MemoryMarshal.Cast<double, LossWindow>(Tensor.Span<double>().Slice(s_head, Windows * 3))[..(int)Now.Windows];

    /// <summary>Entries that the log still holds, oldest first.</summary>
    internal IReadOnlyList<Adjustment> Log
    {
        get
        {
            var count = (long)Now.Entries;
            var log = Tensor.Span<double>()[(s_head + Windows * 3)..];
            var entries = new List<Adjustment>();
            for (var i = Math.Max(0, count - LogCapacity); i < count; i++)
            {
                var e = log.Slice((int)(i % LogCapacity) * LogWidth, LogWidth);
                entries.Add(new Adjustment((long)e[0], (Adjusted)(int)e[1], (AdjustmentCause)(int)e[2], e[3], e[4], e[5]));
            }
            return entries;
        }
    }

    internal void Add(Adjustment entry)
    {
        var place = (int)((long)Now.Entries++ % LogCapacity) * LogWidth;
        ReadOnlySpan<double> values = [entry.Step, (int)entry.What, (int)entry.Cause, entry.From, entry.To, entry.Evidence];
        values.CopyTo(Tensor.Span<double>()[(s_head + Windows * 3 + place)..]);
    }

    internal void Push(LossWindow window)
    {
        var all = MemoryMarshal.Cast<double, LossWindow>(Tensor.Span<double>().Slice(s_head, Windows * 3));
        if (Now.Windows == Windows)
        {
            all[1..].CopyTo(all);
            Now.Windows--;
        }
        all[(int)Now.Windows++] = window;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct Values
    {
        internal double Started, Observed, Rate, WeightDecay, DropoutShift, WarmupLeft, LargestRate, AverageWeight, Cut, CutAt;
        internal double Count, Mean, Squares, Windows, LastMean, LastDeviation, FirstMean, Recent, RecentCount, Pending;
        internal double NormMean, NormVariance, Norms, Limit;
        internal double Validations, BestValidation, LastValidation, Worse;
        internal double Entries;
        internal double Taken, Unread;
    }
}
