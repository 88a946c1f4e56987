namespace DeepSeek.Engine.Tests.Kernels;

/// <summary>[relu](norm(x) [+ residual]) of [batch, channels, inner] by its definition, in float64.</summary>
internal sealed class BatchNormReference
{
    internal const double Epsilon = 1e-5;

    internal BatchNormReference(int batch, int channels, int inner, double[] x, double[]? residual, double[] weight, double[] bias, double[]? runningMean, double[]? runningVariance, bool relu)
    {
        Y = new double[x.Length];
        (Mean, Variance) = (new double[channels], new double[channels]);
        for (var c = 0; c < channels; c++)
        {
            var places = Enumerable.Range(0, batch * inner).Select(i => (((i / inner * channels) + c) * inner) + (i % inner)).ToArray();
            Mean[c] = places.Average(i => x[i]);
            Variance[c] = places.Average(i => (x[i] - Mean[c]) * (x[i] - Mean[c]));
            var (mean, variance) = runningMean is null ? (Mean[c], Variance[c]) : (runningMean[c], runningVariance![c]);
            foreach (var i in places)
            {
                var y = ((x[i] - mean) / Math.Sqrt(variance + Epsilon) * weight[c]) + bias[c] + (residual?[i] ?? 0);
                Y[i] = relu ? Math.Max(y, 0) : y;
            }
        }
    }

    internal double[] Y { get; }

    /// <summary>Of the batch.</summary>
    internal double[] Mean { get; }

    /// <summary>Of the batch, biased.</summary>
    internal double[] Variance { get; }
}
