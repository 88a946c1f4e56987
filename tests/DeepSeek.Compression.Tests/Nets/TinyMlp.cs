namespace DeepSeek.Compression.Tests.Nets;

/// <summary>Two dense layers with ReLU between, trained on cross-entropy.</summary>
public sealed class TinyMlp(int inputs, int hidden, int classes, int seed)
{
    public DenseLayer First { get; } = new(inputs, hidden, new Random(seed));

    public DenseLayer Second { get; } = new(hidden, classes, new Random(seed + 1));

    public void Train(IReadOnlyList<float[]> x, IReadOnlyList<int> y, int epochs, float rate, int seed)
    {
        const int Batch = 32;
        var random = new Random(seed);
        var order = Enumerable.Range(0, x.Count).ToArray();
        for (var epoch = 0; epoch < epochs; epoch++)
        {
            random.Shuffle(order);
            foreach (var batch in order.Chunk(Batch))
            {
                foreach (var row in batch)
                    Learn(x[row], y[row], 1f / batch.Length);
                First.Step(rate);
                Second.Step(rate);
            }
        }
    }

    private void Learn(float[] x, int label, float weight)
    {
        var h = First.Forward(x);
        for (var i = 0; i < h.Length; i++)
            h[i] = Math.Max(h[i], 0);
        var z = Second.Forward(h);
        var max = z.Max();
        var sum = z.Sum(v => MathF.Exp(v - max));
        var gradZ = z.Select((v, c) => weight * (MathF.Exp(v - max) / sum - (c == label ? 1 : 0))).ToArray();
        var gradH = Second.Backward(h, gradZ);
        for (var i = 0; i < h.Length; i++)
            gradH[i] = h[i] > 0 ? gradH[i] : 0;
        First.Backward(x, gradH);
    }
}
