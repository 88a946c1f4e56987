using System.Numerics;

namespace DeepSeek.Compression.Tests.Nets;

/// <summary>y = x·Wᵀ + b with its gradient and Adam, enough to train a small real net inside a test.</summary>
public sealed class DenseLayer
{
    private readonly float[] _gradW, _gradB, _m, _v;
    private int _step;

    public DenseLayer(int inputs, int outputs, Random random)
    {
        (Inputs, Outputs) = (inputs, outputs);
        W = new float[outputs * inputs];
        B = new float[outputs];
        var bound = Math.Sqrt(6.0 / inputs);
        for (var i = 0; i < W.Length; i++)
            W[i] = (float)((random.NextDouble() * 2 - 1) * bound);
        _gradW = new float[W.Length];
        _gradB = new float[outputs];
        _m = new float[W.Length + outputs];
        _v = new float[W.Length + outputs];
    }

    public int Inputs { get; }
    public int Outputs { get; }

    /// <summary>[outputs, inputs]</summary>
    public float[] W { get; }

    public float[] B { get; }

    public float[] Forward(float[] x)
    {
        var y = new float[Outputs];
        for (var o = 0; o < Outputs; o++)
            y[o] = B[o] + Dot(x, W.AsSpan(o * Inputs, Inputs));
        return y;
    }

    public float[] Backward(float[] x, float[] gradY)
    {
        var gradX = new float[Inputs];
        for (var o = 0; o < Outputs; o++)
        {
            if (gradY[o] == 0)
                continue;
            _gradB[o] += gradY[o];
            AddScaled(_gradW.AsSpan(o * Inputs, Inputs), x, gradY[o]);
            AddScaled(gradX, W.AsSpan(o * Inputs, Inputs), gradY[o]);
        }
        return gradX;
    }

    public void Step(float rate)
    {
        _step++;
        Update(W, _gradW, 0, rate);
        Update(B, _gradB, W.Length, rate);
    }

    private void Update(float[] p, float[] g, int offset, float rate)
    {
        var (c1, c2) = (1 - MathF.Pow(0.9f, _step), 1 - MathF.Pow(0.999f, _step));
        for (var i = 0; i < p.Length; i++)
        {
            ref var m = ref _m[offset + i];
            ref var v = ref _v[offset + i];
            m = 0.9f * m + 0.1f * g[i];
            v = 0.999f * v + 0.001f * g[i] * g[i];
            p[i] -= rate * (m / c1) / (MathF.Sqrt(v / c2) + 1e-8f);
            g[i] = 0;
        }
    }

    private static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        var sum = Vector<float>.Zero;
        var i = 0;
        for (; i <= a.Length - Vector<float>.Count; i += Vector<float>.Count)
            sum += new Vector<float>(a[i..]) * new Vector<float>(b[i..]);
        var total = Vector.Sum(sum);
        for (; i < a.Length; i++)
            total += a[i] * b[i];
        return total;
    }

    private static void AddScaled(Span<float> target, ReadOnlySpan<float> source, float factor)
    {
        var i = 0;
        var f = new Vector<float>(factor);
        for (; i <= target.Length - Vector<float>.Count; i += Vector<float>.Count)
            (new Vector<float>(target[i..]) + new Vector<float>(source[i..]) * f).CopyTo(target[i..]);
        for (; i < target.Length; i++)
            target[i] += source[i] * factor;
    }
}
