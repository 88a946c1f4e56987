namespace DeepSeek.Compression.Measurement;

/// <summary>Perplexity over every token of the rows, and the share of tokens for which both models would say the same.</summary>
public sealed class TokenComparison : Comparison
{
    private double _fp32, _int8;
    private long _same;

    public override string Output => "logits";
    public override double Fp32 => Math.Exp(_fp32 / Rows);
    public override double Int8 => Math.Exp(_int8 / Rows);
    public override double Agreement => (double)_same / Rows;

    /// <summary>What each token of the rows is to foresee: the rows moved by one, with the stored target at their ends.</summary>
    public static double[] NextTokens(LabelledBatch batch)
    {
        var tokens = (long[])batch.Batch.Inputs[0].Values;
        var length = tokens.Length / batch.Rows;
        var next = new double[tokens.Length];
        for (var i = 0; i < next.Length; i++)
        {
            next[i] = (i + 1) % length == 0 ? batch.Targets[i / length] : tokens[i + 1];
        }
        return next;
    }

    protected override void Add(ReadOnlySpan<float> fp32, ReadOnlySpan<float> int8, ReadOnlySpan<double> targets)
    {
        var k = fp32.Length / targets.Length;
        for (var i = 0; i < targets.Length; i++)
        {
            var a = fp32.Slice(i * k, k);
            var b = int8.Slice(i * k, k);
            _fp32 += Nats(a, (int)targets[i]);
            _int8 += Nats(b, (int)targets[i]);
            _same += Largest(a) == Largest(b) ? 1 : 0;
        }
    }

    // -log softmax, with the greatest logit taken out first.
    private static double Nats(ReadOnlySpan<float> logits, int target)
    {
        var greatest = logits[Largest(logits)];
        var sum = 0.0;
        foreach (var logit in logits)
        {
            sum += Math.Exp((double)logit - greatest);
        }
        return Math.Log(sum) + greatest - logits[target];
    }
}
