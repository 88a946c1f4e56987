using DeepSeek.Preprocessing.Columns;

namespace DeepSeek.Preprocessing.Splitting;

/// <summary>
/// Draws each class's rows without replacement to exact numbers per part (selection sampling, Knuth, TAOCP 2, algorithm S, with
/// three parts), so the shares hold in every class and only the remaining numbers are kept. One class gives a plain random split.
/// </summary>
internal sealed class StratifiedSplitter : ISplitter
{
    private readonly long[,] _left;
    private readonly SeededRandom _random;

    public StratifiedSplitter(IReadOnlyList<long> classRows, SplitShares shares, ulong seed)
    {
        _random = new SeededRandom(seed, "split");
        _left = new long[classRows.Count, 3];
        // What a class's quotas lose by rounding down is carried into the next class, so that the totals come out right too.
        double carriedValidation = 0, carriedTest = 0;
        for (var c = 0; c < classRows.Count; c++)
        {
            var validation = Quota(classRows[c], shares.Validation, ref carriedValidation);
            var test = Quota(classRows[c], shares.Test, ref carriedTest);
            var train = classRows[c] - validation - test;
            while (train < 1 && classRows[c] > 0)
            {
                // Nothing can be learnt of a class the train part lacks: it gives up its rarer parts first.
                _ = test > 0 ? test-- : validation--;
                train++;
            }
            _left[c, 0] = train;
            _left[c, 1] = validation;
            _left[c, 2] = test;
        }
    }

    public SplitPart Next(SplitKey row)
    {
        var c = row.Class;
        var total = _left[c, 0] + _left[c, 1] + _left[c, 2];
        if (total == 0)
        {
            throw new InvalidOperationException("The table has more labelled rows than the first pass over it counted.");
        }
        var draw = _random.Next(total);
        var part = draw < _left[c, 0] ? 0 : draw < _left[c, 0] + _left[c, 1] ? 1 : 2;
        _left[c, part]--;
        return (SplitPart)part;
    }

    private static long Quota(long rows, double share, ref double carried)
    {
        var exact = (rows * share) + carried;
        var whole = Math.Min(rows, (long)Math.Round(exact, MidpointRounding.AwayFromZero));
        carried = exact - whole;
        return whole;
    }
}
