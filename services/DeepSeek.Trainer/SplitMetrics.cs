namespace DeepSeek.Trainer;

/// <summary>Metrics of a whole split, in double precision.</summary>
internal static class SplitMetrics
{
    /// <summary>
    /// Log-odds closer than this, relative to their size beyond 1, are tied. Equal rows differ in the last bits of single precision by their
    /// place in the batch; without this such noise would rank them.
    /// </summary>
    private const double TieWidth = 1e-5;

    /// <summary>accuracy, logLoss and auc (macro average of one class against the rest, over classes with rows on both sides).</summary>
    internal static SortedDictionary<string, double> Classification(float[] logits, long[] target, int classes)
    {
        var rows = target.Length;
        var best = new int[rows];
        var others = new double[rows]; // Σ exp(logit − the greatest) over the other classes
        var right = 0L;
        var logLoss = 0.0;
        for (var i = 0; i < rows; i++)
        {
            var row = logits.AsSpan(i * classes, classes);
            var greatest = 0;
            for (var k = 1; k < classes; k++)
            {
                greatest = row[k] > row[greatest] ? k : greatest;
            }
            for (var k = 0; k < classes; k++)
            {
                others[i] += k == greatest ? 0 : Math.Exp((double)row[k] - row[greatest]);
            }
            best[i] = greatest;
            right += greatest == target[i] ? 1 : 0;
            logLoss += Math.Log(1 + others[i]) - ((double)row[(int)target[i]] - row[greatest]);
        }
        var metrics = new SortedDictionary<string, double>(StringComparer.Ordinal) { ["accuracy"] = (double)right / rows, ["logLoss"] = logLoss / rows };
        if (MacroAuc(logits, best, others, target, classes) is { } auc)
        {
            metrics["auc"] = auc;
        }
        return metrics;
    }

    /// <summary>rmse, mae and r2.</summary>
    internal static SortedDictionary<string, double> Regression(double[] prediction, float[] target)
    {
        var mean = target.Select(t => (double)t).Average();
        double squares = 0, absolute = 0, total = 0;
        for (var i = 0; i < target.Length; i++)
        {
            var error = prediction[i] - target[i];
            squares += error * error;
            absolute += Math.Abs(error);
            total += (target[i] - mean) * (target[i] - mean);
        }
        var metrics = new SortedDictionary<string, double>(StringComparer.Ordinal) { ["rmse"] = Math.Sqrt(squares / target.Length), ["mae"] = absolute / target.Length };
        if (total > 0)
        {
            metrics["r2"] = 1 - squares / total;
        }
        return metrics;
    }

    private static double? MacroAuc(float[] logits, int[] best, double[] others, long[] target, int classes)
    {
        var rows = target.Length;
        var sum = 0.0;
        var counted = 0;
        var scores = new double[rows];
        var order = new int[rows];
        for (var k = 0; k < classes; k++)
        {
            for (var i = 0; i < rows; i++)
            {
                scores[i] = LogOdds(logits.AsSpan(i * classes, classes), k, best[i], others[i]);
                order[i] = i;
            }
            Array.Sort(scores, order);
            if (Auc(scores, order, target, k) is { } auc)
            {
                sum += auc;
                counted++;
            }
        }
        return counted == 0 ? null : sum / counted;
    }

    // log(p / (1 − p)) of class k: in the order of p, and precise at both of its ends, since nothing close to the whole is taken from it.
    private static double LogOdds(ReadOnlySpan<float> logits, int k, int best, double others)
    {
        var behind = (double)logits[k] - logits[best];
        return k == best ? -Math.Log(others) : behind - Math.Log(1 + others - Math.Exp(behind));
    }

    // Mann and Whitney's U over sorted scores; tied scores share their mean rank. A tie is as wide as its least score allows, so a long
    // chain of close scores is many ties, not one.
    private static double? Auc(double[] sorted, int[] order, long[] target, int positive)
    {
        double ranks = 0;
        long positives = 0;
        for (var start = 0; start < sorted.Length;)
        {
            var end = start;
            var last = sorted[start] + (TieWidth * Math.Max(1, Math.Abs(sorted[start])));
            while (end < sorted.Length && sorted[end] <= last)
            {
                end++;
            }
            var rank = (start + 1 + end) / 2.0;
            for (; start < end; start++)
            {
                if (target[order[start]] == positive)
                {
                    ranks += rank;
                    positives++;
                }
            }
        }
        var negatives = sorted.Length - positives;
        return positives == 0 || negatives == 0 ? null : (ranks - positives * (positives + 1) / 2.0) / ((double)positives * negatives);
    }
}
