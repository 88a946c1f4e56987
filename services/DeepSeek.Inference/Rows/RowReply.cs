using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Serving;

namespace DeepSeek.Inference.Rows;

/// <summary>A model's outputs told as one prediction per row.</summary>
internal static class RowReply
{
    /// <summary>Indices of the outputs that predictions are made of.</summary>
    public static int[] Outputs(ModelSignature signature)
    {
        string[] names = signature.Outputs.Any(o => o.Name == RowModel.LabelOutput)
            ? [RowModel.LabelOutput, RowModel.ProbabilitiesOutput]
            : [RowModel.PredictionOutput];
        return [.. names.Select(n => signature.Outputs.Select(o => o.Name).ToList().IndexOf(n))];
    }

    /// <summary>Writes the elements of <c>predictions</c>.</summary>
    public static void WritePredictions(Utf8JsonWriter json, Tensor[] outputs, IReadOnlyList<string> classes, long rows)
    {
        if (outputs.Length == 1)
        {
            var values = MemoryMarshal.Cast<byte, float>(outputs[0].Data.Span);
            var perRow = (int)(values.Length / rows);
            for (var row = 0; row < rows; row++)
            {
                json.WriteStartObject();
                json.WritePropertyName(RowModel.PredictionOutput);
                WriteNumber(json, values[row * perRow]);
                json.WriteEndObject();
            }

            return;
        }

        var labels = outputs[0].Data.Span;
        var probabilities = MemoryMarshal.Cast<byte, float>(outputs[1].Data.Span);
        var k = (int)(probabilities.Length / rows);
        for (var row = 0; row < rows; row++)
        {
            var length = (int)BinaryPrimitives.ReadUInt32LittleEndian(labels);
            json.WriteStartObject();
            if (AllFinite(probabilities.Slice(row * k, k)))
            {
                json.WriteString(RowModel.LabelOutput, labels.Slice(Tensor.LengthPrefix, length));
            }
            else
            {
                json.WriteNull(RowModel.LabelOutput); // the model names some class all the same, but nothing speaks for it
            }

            labels = labels[(Tensor.LengthPrefix + length)..];
            json.WriteStartObject(RowModel.ProbabilitiesOutput);
            for (var c = 0; c < k; c++)
            {
                json.WritePropertyName(c < classes.Count ? classes[c] : c.ToString(System.Globalization.CultureInfo.InvariantCulture));
                WriteNumber(json, probabilities[(row * k) + c]);
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }
    }

    private static bool AllFinite(ReadOnlySpan<float> values)
    {
        foreach (var value in values)
        {
            if (!float.IsFinite(value))
            {
                return false;
            }
        }

        return true;
    }

    private static void WriteNumber(Utf8JsonWriter json, float value)
    {
        // JSON has no NaN: a prediction that is none is null here, and its value in the tensor form.
        if (float.IsFinite(value))
        {
            json.WriteNumberValue(value);
        }
        else
        {
            json.WriteNullValue();
        }
    }
}
