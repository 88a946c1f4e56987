using DeepSeek.Compression.Graphs;
using DeepSeek.Onnx;
using Microsoft.ML.OnnxRuntime;
using Onnx;

namespace DeepSeek.Compression.Calibration;

/// <summary>Runs a float model over calibration rows and learns the ranges and means of its inner values.</summary>
public sealed class Calibrator(ModelProto model, IReadOnlyList<ModelBatch> batches)
{
    /// <summary>The ranges of tensors; every range holds zero, which padding and ReLU need represented exactly.</summary>
    /// <param name="tensors">Their names.</param>
    /// <param name="method">How the range follows from the values.</param>
    /// <param name="whole">Tensors that keep their whole range under any method: inputs of the net are bounded by the data and often
    /// have spikes (the background of images), from which the entropy method would learn to clip what matters.</param>
    /// <param name="cancelled">Stops between batches.</param>
    public IReadOnlyDictionary<string, TensorRange> Ranges(IReadOnlyCollection<string> tensors, CalibrationMethod method, IReadOnlySet<string>? whole = null, CancellationToken cancelled = default)
    {
        var seen = tensors.ToDictionary(t => t, _ => new TensorRange(0, 0), StringComparer.Ordinal);
        Run(tensors, (name, values, _) =>
        {
            var (min, max) = seen[name];
            foreach (var value in values)
            {
                if (!float.IsFinite(value))
                    throw new UnsupportedModelException($"Value '{name}' is {value} on a calibration row; a model that makes NaN or infinite values cannot be quantised. Check the training data and the weights.");
                min = Math.Min(min, value);
                max = Math.Max(max, value);
            }
            seen[name] = new TensorRange(min, max);
        }, cancelled);
        return method == CalibrationMethod.MinMax ? seen : Clipped(seen, whole, cancelled);
    }

    /// <summary>Mean of each channel of tensors whose channel axis is given (−1 = last).</summary>
    public IReadOnlyDictionary<string, double[]> Means(IReadOnlyDictionary<string, int> channelAxes, CancellationToken cancelled = default)
    {
        var means = channelAxes.ToDictionary(t => t.Key, _ => (ChannelMean?)null, StringComparer.Ordinal);
        Run(channelAxes.Keys.ToArray(), (name, values, shape) =>
        {
            var axis = channelAxes[name] < 0 ? shape.Length - 1 : channelAxes[name];
            (means[name] ??= new ChannelMean((int)shape[axis], shape[(axis + 1)..].Aggregate(1L, (a, b) => a * b))).Add(values);
        }, cancelled);
        return means.ToDictionary(m => m.Key, m => m.Value!.Values(), StringComparer.Ordinal);
    }

    /// <summary>Ranks of values, from one batch.</summary>
    public IReadOnlyDictionary<string, int> Ranks(IReadOnlyCollection<string> tensors, CancellationToken cancelled = default)
    {
        var ranks = new Dictionary<string, int>(StringComparer.Ordinal);
        new Calibrator(model, [.. batches.Take(1)]).Run(tensors, (name, _, shape) => ranks[name] = shape.Length, cancelled);
        return ranks;
    }

    private Dictionary<string, TensorRange> Clipped(Dictionary<string, TensorRange> seen, IReadOnlySet<string>? whole, CancellationToken cancelled)
    {
        var histograms = seen.Where(s => s.Value.Max > s.Value.Min && whole?.Contains(s.Key) != true)
            .ToDictionary(s => s.Key, s => new Histogram(Math.Max(s.Value.Max, -s.Value.Min)), StringComparer.Ordinal);
        Run(histograms.Keys.ToArray(), (name, values, _) => histograms[name].Add(values), cancelled);
        return seen.ToDictionary(s => s.Key, s =>
        {
            if (!histograms.TryGetValue(s.Key, out var histogram))
                return s.Value;
            // The share of the 255 steps that lies on the longer side of zero.
            var largest = Math.Max(s.Value.Max, -s.Value.Min);
            var levels = Math.Max(1, (int)Math.Round(255 * largest / (s.Value.Max - s.Value.Min)));
            var threshold = EntropyThreshold.Find(histogram.Bins, histogram.BinWidth, levels);
            return new TensorRange(Math.Max(s.Value.Min, -threshold), Math.Min(s.Value.Max, threshold));
        }, StringComparer.Ordinal);
    }

    private delegate void Visit(string name, ReadOnlySpan<float> values, long[] shape);

    private void Run(IReadOnlyCollection<string> tensors, Visit visit, CancellationToken cancelled)
    {
        if (tensors.Count == 0)
            return;
        var names = tensors.Order(StringComparer.Ordinal).ToArray();
        using var session = ModelSession.Open(GraphOrder.Extract(model, names), GraphOptimizationLevel.ORT_ENABLE_BASIC);
        foreach (var batch in batches)
        {
            cancelled.ThrowIfCancellationRequested();
            using var results = batch.Run(session, names);
            foreach (var (name, value) in names.Zip(results))
                visit(name, value.GetTensorDataAsSpan<float>(), value.GetTensorTypeAndShape().Shape);
        }
    }

    private sealed class ChannelMean(int channels, long stride)
    {
        private readonly double[] _sums = new double[channels];
        private long _count;

        public void Add(ReadOnlySpan<float> values)
        {
            for (var i = 0; i < values.Length; i++)
                _sums[i / stride % channels] += values[i];
            _count += values.Length / channels;
        }

        public double[] Values() => [.. _sums.Select(s => s / Math.Max(1, _count))];
    }
}
