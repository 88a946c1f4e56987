namespace DeepSeek.Inference.Generation;

/// <summary>Draws tokens from a model's probabilities, the same ones from the same seed on every machine.</summary>
internal sealed class TokenSampler(double temperature, int topK, long seed)
{
    private ulong _state = unchecked((ulong)seed);

    /// <summary>Index of the drawn token; ties go to the lowest.</summary>
    public int Next(ReadOnlySpan<float> probabilities)
    {
        var order = new int[probabilities.Length];
        var weights = new double[probabilities.Length];
        for (var i = 0; i < order.Length; i++)
        {
            (order[i], weights[i]) = (i, -probabilities[i]);
        }

        Array.Sort(weights, order); // the most probable first
        SortTies(weights, order);
        if (temperature == 0)
        {
            return order[0];
        }

        var count = topK > 0 ? Math.Min(topK, order.Length) : order.Length;
        var (greatest, sum) = (weights[0], 0.0);
        for (var i = 0; i < count; i++)
        {
            // Relative to the greatest, so that low temperatures do not underflow all of them.
            sum += weights[i] = Math.Pow(weights[i] / greatest, 1 / temperature);
        }

        var left = Uniform() * sum;
        for (var i = 0; i < count - 1; i++)
        {
            left -= weights[i];
            if (left < 0)
            {
                return order[i];
            }
        }

        return order[count - 1];
    }

    // The sort is not stable.
    private static void SortTies(double[] weights, int[] order)
    {
        for (var start = 0; start < order.Length;)
        {
            var end = start + 1;
            while (end < order.Length && weights[end] == weights[start])
            {
                end++;
            }

            Array.Sort(order, start, end - start);
            start = end;
        }
    }

    // SplitMix64 (Steele et al., OOPSLA 2014).
    private double Uniform()
    {
        unchecked
        {
            var z = _state += 0x9E3779B97F4A7C15;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return ((z ^ (z >> 31)) >> 11) * (1.0 / (1UL << 53));
        }
    }
}
