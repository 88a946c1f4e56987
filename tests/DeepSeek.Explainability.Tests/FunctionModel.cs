using DeepSeek.Explainability.Models;

namespace DeepSeek.Explainability.Tests;

/// <summary>A model given as a function of one row of raw values (double or string).</summary>
internal sealed class FunctionModel(string[] inputs, Func<object[], double> function) : ITabularModel
{
    public IReadOnlyList<string> Inputs => inputs;

    public int Calls { get; private set; }

    public void Predict(FeatureTable rows, Span<double> outputs)
    {
        Calls++;
        for (var row = 0; row < rows.Rows; row++)
        {
            outputs[row] = function([.. Enumerable.Range(0, inputs.Length).Select(column => rows[row, column])]);
        }
    }
}

/// <summary>A function of an image's pixels.</summary>
internal sealed class FunctionImageModel(Func<byte[], double> function) : IImageModel
{
    public void Predict(byte[] images, ImageShape shape, Span<double> outputs)
    {
        for (var i = 0; i < outputs.Length; i++)
        {
            outputs[i] = function(images[(i * shape.Length)..((i + 1) * shape.Length)]);
        }
    }
}
