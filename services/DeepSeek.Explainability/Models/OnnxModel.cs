using DeepSeek.Onnx.Runtime;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace DeepSeek.Explainability.Models;

/// <summary>A model package's <c>model.onnx</c> on ONNX Runtime: raw inputs in, one chosen output out.</summary>
public sealed class OnnxModel : ITabularModel, IImageModel, IDisposable
{
    private readonly InferenceSession _session;
    private readonly RunOptions _runOptions = new();

    /// <summary>Opens the model file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="threads">Of an execution.</param>
    /// <param name="logger">Told when the platform's own operators are missed.</param>
    /// <exception cref="InvalidDataException">The file lacks the platform's metadata.</exception>
    /// <exception cref="OnnxRuntimeException">The file is no valid model.</exception>
    public OnnxModel(string path, int threads, ILogger? logger = null)
    {
        using var options = new Microsoft.ML.OnnxRuntime.SessionOptions { IntraOpNumThreads = threads, InterOpNumThreads = 1 };
        // As serving opens it, so that what is explained is what is served.
        _session = PlatformOperators.Open(path, options, out _, logger);
        Metadata = ModelMetadata.Parse(_session.ModelMetadata.CustomMetadataMap);
        Inputs = [.. _session.InputNames];
        Output = ModelOutput.Choose(Metadata, null);
    }

    /// <summary>Task and classes.</summary>
    public ModelMetadata Metadata { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> Inputs { get; }

    /// <summary>The output that <see cref="Predict(FeatureTable, Span{double})"/> returns.</summary>
    public ModelOutput Output { get; set; }

    /// <summary>True when the model takes one image tensor [N, C, H, W] of bytes.</summary>
    public bool IsImageModel => Inputs is [var only] && _session.InputMetadata[only].ElementType == typeof(byte);

    /// <summary>True when the input is a string column.</summary>
    public bool IsText(string input) => _session.InputMetadata[input].ElementDataType == TensorElementType.String;

    /// <inheritdoc/>
    public void Predict(FeatureTable rows, Span<double> outputs)
    {
        var values = new List<OrtValue>(Inputs.Count);
        try
        {
            foreach (var column in rows.Columns)
            {
                values.Add(column is double[] numbers
                    ? OrtValue.CreateTensorValueFromMemory(numbers, [numbers.Length, 1])
                    : OrtValue.CreateFromStringTensor(new DenseTensor<string>((string[])column, [column.Length, 1])));
            }

            Run(values, outputs);
        }
        finally
        {
            values.ForEach(value => value.Dispose());
        }
    }

    /// <inheritdoc/>
    public void Predict(byte[] images, ImageShape shape, Span<double> outputs)
    {
        using var value = OrtValue.CreateTensorValueFromMemory(images, [outputs.Length, shape.Channels, shape.Height, shape.Width]);
        Run([value], outputs);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _runOptions.Dispose();
        _session.Dispose();
    }

    private void Run(List<OrtValue> inputs, Span<double> outputs)
    {
        using var results = _session.Run(_runOptions, [.. Inputs], inputs, [Output.Tensor]);
        var scores = results[0].GetTensorDataAsSpan<float>(); // [N, K]
        var classes = scores.Length / outputs.Length;
        for (var row = 0; row < outputs.Length; row++)
        {
            outputs[row] = scores[row * classes + Output.Column];
        }
    }
}
