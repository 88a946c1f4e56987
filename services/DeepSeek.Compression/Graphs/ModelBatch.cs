using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace DeepSeek.Compression.Graphs;

/// <summary>One input tensor: float, double, long, byte or string values, row-major; the first dimension counts rows.</summary>
public sealed record ModelInput(string Name, long[] Shape, Array Values)
{
    public OrtValue ToOrtValue() => Values switch
    {
        float[] floats => OrtValue.CreateTensorValueFromMemory(floats, Shape),
        double[] doubles => OrtValue.CreateTensorValueFromMemory(doubles, Shape),
        long[] longs => OrtValue.CreateTensorValueFromMemory(longs, Shape),
        byte[] bytes => OrtValue.CreateTensorValueFromMemory(bytes, Shape),
        string[] texts => OrtValue.CreateFromStringTensor(new DenseTensor<string>(texts, [.. Shape.Select(d => (int)d)])),
        _ => throw new NotSupportedException($"Input '{Name}' has values of type {Values.GetType().GetElementType()}."),
    };
}

/// <summary>Rows as the model takes them: one tensor per input, all with the same first dimension.</summary>
public sealed record ModelBatch(int Rows, IReadOnlyList<ModelInput> Inputs)
{
    /// <summary>The outputs, in the order asked for. Inputs that the session does not have are left out.</summary>
    public IDisposableReadOnlyCollection<OrtValue> Run(InferenceSession session, IReadOnlyCollection<string> outputs)
    {
        var used = Inputs.Where(i => session.InputMetadata.ContainsKey(i.Name)).ToArray();
        var values = used.Select(i => i.ToOrtValue()).ToArray();
        try
        {
            using var options = new RunOptions();
            return session.Run(options, [.. used.Select(i => i.Name)], values, outputs);
        }
        catch (OnnxRuntimeException e)
        {
            throw new UnsupportedModelException("The model fails in ONNX Runtime: " + e.Message, e);
        }
        finally
        {
            foreach (var value in values)
                value.Dispose();
        }
    }
}
