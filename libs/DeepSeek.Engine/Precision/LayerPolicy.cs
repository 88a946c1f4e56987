namespace DeepSeek.Engine.Precision;

/// <summary>The worst of a layer's tensors against a format: shares of values that underflow and overflow, and which tensor it was.</summary>
internal readonly record struct RangeFit(double Underflow, RangeOf Under, double Overflow, RangeOf Over)
{
    internal RangeFit With(double underflow, double overflow, RangeOf tensor) => new(
        Math.Max(Underflow, underflow), underflow > Underflow ? tensor : Under, Math.Max(Overflow, overflow), overflow > Overflow ? tensor : Over);
}

/// <summary>One look at a layer.</summary>
internal readonly record struct RangeLook(RangeFit Float8, RangeFit Half, double NotFinite, RangeOf Broken);

/// <summary>
/// Decides on one layer's precision from what is seen of it. Hysteresis: a format is entered below a lower threshold than the one at
/// which it is left, after <c>Patience</c> good looks, and every forced return doubles that patience: n looks see at most about
/// 2·log₂(n) moves, so a layer cannot swing between formats.
/// </summary>
internal sealed class LayerPolicy(PrecisionOptions options, LayerPrecision start)
{
    private const long LongestPatience = 1L << 40;
    private long _patience = Math.Max(1, options.Patience);
    private long _good;

    internal LayerPrecision Precision { get; private set; } = start;

    /// <summary>Whether good looks are being counted.</summary>
    internal bool IsTrying => _good > 0;

    /// <summary>What its decisions depend on besides the looks to come.</summary>
    internal (LayerPrecision Precision, long Patience, long Good) State
    {
        get => (Precision, _patience, _good);
        set => (Precision, _patience, _good) = value;
    }

    /// <summary>The move after a look, if any; <paramref name="lowest"/> is the lowest format that may be taken.</summary>
    internal (LayerPrecision To, MoveCause Cause, RangeOf Tensor, double Evidence)? Decide(in RangeLook look, LayerPrecision lowest)
    {
        if (look.NotFinite > 0)
        {
            _good = 0;
            return Precision == LayerPrecision.Float32 ? null : Return(MoveCause.NotFinite, look.Broken, look.NotFinite);
        }
        var here = Precision == LayerPrecision.Float8 ? look.Float8 : Precision == LayerPrecision.Half ? look.Half : default;
        if (here.Overflow > options.HighOverflow)
        {
            return Return(MoveCause.Overflow, here.Over, here.Overflow);
        }
        if (here.Underflow > options.HighUnderflow)
        {
            return Return(MoveCause.Underflow, here.Under, here.Underflow);
        }
        if (Precision <= lowest)
        {
            return null;
        }
        var below = Precision == LayerPrecision.Half ? look.Float8 : look.Half;
        _good = below.Underflow < options.LowUnderflow && below.Overflow <= options.HighOverflow / 10 ? _good + 1 : 0;
        if (_good < _patience)
        {
            return null;
        }
        _good = 0;
        Precision--;
        return (Precision, MoveCause.Fits, below.Under, below.Underflow);
    }

    /// <summary>One level up; the way down takes twice as long from now on.</summary>
    internal (LayerPrecision To, MoveCause Cause, RangeOf Tensor, double Evidence) Return(MoveCause cause, RangeOf tensor, double evidence)
    {
        Precision++;
        _good = 0;
        _patience = Math.Min(2 * _patience, LongestPatience);
        return (Precision, cause, tensor, evidence);
    }
}
