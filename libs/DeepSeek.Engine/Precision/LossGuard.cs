namespace DeepSeek.Engine.Precision;

/// <summary>
/// Watches the loss around a lowering: the mean over the following steps against the one before. Between lowerings it knows a jump:
/// four losses in a row whose mean lies six standard deviations of one loss above what is expected.
/// </summary>
internal sealed class LossGuard(int steps, double tolerance)
{
    private const double Share = 1.0 / 32;
    private const int Recent = 4;
    private const double FarOut = 6;
    private long _count;
    private double _mean;
    private double _variance;
    private double _reference;
    private double _deviation;
    private long _watched = -1;
    private double _sum;
    private double _recent;
    private int _recentCount;

    /// <summary>Whether a lowering is being judged.</summary>
    internal bool Watching => _watched >= 0;

    /// <summary>All it knows.</summary>
    internal LossGuardState State
    {
        get => new(_count, _mean, _variance, _reference, _deviation, _watched, _sum, _recent, _recentCount);
        set => (_count, _mean, _variance, _reference, _deviation, _watched, _sum, _recent, _recentCount) = value;
    }

    /// <summary>Begins to judge a lowering against the losses so far.</summary>
    internal void Watch() => (_reference, _deviation, _watched, _sum) = (_mean, Math.Sqrt(_variance), 0, 0);

    /// <summary>Takes a step's loss; tells a fault and by how much the loss is too high.</summary>
    internal (MoveCause Cause, double Excess)? Step(double loss)
    {
        if (!double.IsFinite(loss))
        {
            Forget();
            return (MoveCause.LossJumped, loss);
        }
        var known = _count >= 8;
        _recent += loss;
        if (++_recentCount == Recent)
        {
            var excess = _recent / Recent - _mean;
            (_recent, _recentCount) = (0, 0);
            if (known && excess > FarOut * Math.Sqrt(_variance) + 10 * tolerance * Math.Abs(_mean))
            {
                Forget();
                return (MoveCause.LossJumped, excess);
            }
        }
        // A plain mean at first, then one over about the last 32.
        var share = Math.Max(Share, 1.0 / ++_count);
        var off = loss - _mean;
        if (!known || off < FarOut * Math.Sqrt(_variance) + 10 * tolerance * Math.Abs(_mean))
        {
            _mean += share * off;
            _variance = (1 - share) * (_variance + share * off * off);
        }
        if (!Watching)
        {
            return null;
        }
        _sum += loss;
        if (++_watched < steps)
        {
            return null;
        }
        var worse = _sum / steps - _reference;
        _watched = -1;
        return worse > tolerance * Math.Abs(_reference) + 3 * _deviation / Math.Sqrt(steps) ? (MoveCause.LossDegraded, worse) : null;
    }

    // After a fault everything is measured anew.
    private void Forget() => (_count, _mean, _variance, _watched, _recent, _recentCount) = (0, 0, 0, -1, 0, 0);
}
