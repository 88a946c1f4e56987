using System.Runtime.InteropServices;
using DeepSeek.Compression.Calibration;
using DeepSeek.Compression.Graphs;
using DeepSeek.Onnx;
using Google.Protobuf;
using Onnx;

namespace DeepSeek.Compression.Quantization;

/// <summary>
/// Removes the mean error that quantisation leaves on each output channel: M. Nagel et al., "Data-Free Quantization Through
/// Weight Equalization and Bias Correction", arXiv 1906.04721, §4.2, in its empirical form (appendix D). Layers are corrected in
/// execution order on what the corrected layers before them give.
/// </summary>
public sealed class BiasCorrector(ModelProto quantized, IReadOnlyList<ModelBatch> batches)
{
    /// <param name="layers">The layers in execution order; their biases change in place.</param>
    /// <param name="expected">Mean of each channel in the float model, by the layer's output.</param>
    /// <param name="progress">Told how many layers are done.</param>
    /// <param name="cancelled">Stops between layers.</param>
    public void Run(IReadOnlyList<QuantizedLayer> layers, IReadOnlyDictionary<string, double[]> expected, Action<int>? progress = null, CancellationToken cancelled = default)
    {
        var calibrator = new Calibrator(quantized, batches);
        for (var i = 0; i < layers.Count; i++)
        {
            var layer = layers[i];
            if (quantized.Graph.Initializer.Contains(layer.Bias))
            {
                var actual = calibrator.Means(new Dictionary<string, int> { [layer.Output] = layer.ChannelAxis }, cancelled)[layer.Output];
                Shift(layer, expected[layer.Output], actual);
            }
            progress?.Invoke(i + 1);
        }
    }

    private static void Shift(QuantizedLayer layer, double[] expected, double[] actual)
    {
        var bias = layer.Bias.Ints();
        for (var c = 0; c < bias.Length; c++)
        {
            var scale = layer.BiasScales[layer.BiasScales.Length == 1 ? 0 : c];
            bias[c] = QdqWriter.ToInt32((double)bias[c] * scale + expected[c] - actual[c], scale);
        }
        layer.Bias.RawData = ByteString.CopyFrom(MemoryMarshal.AsBytes<int>(bias));
    }
}
