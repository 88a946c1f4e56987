namespace DeepSeek.Engine.Memory;

/// <summary>Segments on their way from all kept to as little as a budget asks for.</summary>
internal sealed class CheckpointChoice
{
    private const int Whole = -1;

    private readonly StepCost _cost;
    private readonly int[] _keeps; // of each segment that is computed again, how many of its keepables; Whole for those that are not
    private readonly List<int> _chosen = [];

    internal CheckpointChoice(StepCost cost)
    {
        _cost = cost;
        _keeps = new int[cost.Segments.Count];
        Array.Fill(_keeps, Whole);
        Peak = MostBytes();
    }

    /// <summary>At the end of the forward pass, or while a segment is computed again: what lies behind it is gone by then.</summary>
    internal long Peak { get; private set; }

    /// <summary>Keeps less of a segment: that which costs least time per byte. False if nothing saves any more.</summary>
    internal bool Drop()
    {
        var best = (Segment: -1, Keeps: 0, Ratio: double.PositiveInfinity);
        for (var i = 0; i < _keeps.Length; i++)
        {
            for (var keeps = (_keeps[i] == Whole ? _cost.Segments[i].Keepables.Count + 1 : _keeps[i]) - 1; keeps >= 0; keeps--)
            {
                var saved = Saving(i, keeps) - Saving(i, _keeps[i]);
                var ratio = (Seconds(i, keeps) - Seconds(i, _keeps[i])) / saved;
                if (saved > 0 && ratio < best.Ratio)
                {
                    best = (i, keeps, ratio);
                }
            }
        }
        if (best.Segment < 0)
        {
            return false;
        }
        if (_keeps[best.Segment] == Whole)
        {
            _chosen.Add(best.Segment);
        }
        _keeps[best.Segment] = best.Keeps;
        Peak = MostBytes();
        return true;
    }

    /// <summary>Keeps more of a segment within the budget: that which saves most time. False if there is no room for anything.</summary>
    internal bool TakeBack(long budget)
    {
        var best = (Segment: -1, Keeps: 0, Seconds: 0.0);
        foreach (var i in _chosen)
        {
            var before = _keeps[i];
            for (var keeps = Whole; keeps <= _cost.Segments[i].Keepables.Count; keeps++)
            {
                var saved = Seconds(i, before) - Seconds(i, keeps);
                if (saved <= best.Seconds)
                {
                    continue;
                }
                _keeps[i] = keeps;
                if (MostBytes() <= budget)
                {
                    best = (i, keeps, saved);
                }
            }
            _keeps[i] = before;
        }
        if (best.Segment < 0)
        {
            return false;
        }
        _keeps[best.Segment] = best.Keeps;
        if (best.Keeps == Whole)
        {
            _chosen.Remove(best.Segment);
        }
        Peak = MostBytes();
        return true;
    }

    internal CheckpointPlan Plan(long budget) =>
        new([.. _chosen.Select(i => _cost.Segments[i].Name)], [.. _chosen.Select(i => _keeps[i])], _cost.Kept, Peak, budget, _chosen.Sum(i => Seconds(i, _keeps[i])));

    private long Saving(int i, int keeps) => keeps == Whole ? 0 : _cost.Segments[i].SavingWith(keeps);

    private double Seconds(int i, int keeps) => keeps == Whole ? 0 : _cost.Segments[i].SecondsWith(keeps);

    private long MostBytes()
    {
        var peak = _cost.Kept - Enumerable.Range(0, _keeps.Length).Sum(i => Saving(i, _keeps[i]));
        long saved = 0;
        for (var i = 0; i < _keeps.Length; i++)
        {
            if (_keeps[i] != Whole)
            {
                peak = Math.Max(peak, _cost.Segments[i].Before - saved + _cost.Segments[i].Kept);
                saved += Saving(i, _keeps[i]);
            }
        }
        return peak;
    }
}
