using DeepSeek.Onnx;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Inference.Serving;

/// <summary>Keys and values that a language model goes on from: inputs that may be left out, and the outputs that make the next ones.</summary>
/// <param name="Past">Names of the inputs, FLOAT [N, H, P, D].</param>
/// <param name="Present">Names of the outputs, in the same order, FLOAT [N, H, P + T, D].</param>
/// <param name="BytesPerToken">What all of them take for each token of one row.</param>
internal sealed record KeyValueLayout(string[] Past, string[] Present, long BytesPerToken)
{
    /// <summary>Null for a model that has none.</summary>
    public static KeyValueLayout? Of(InferenceSession session)
    {
        var past = session.OverridableInitializerMetadata.Where(i => i.Key.StartsWith(KeyValueNames.Past, StringComparison.Ordinal)).OrderBy(i => i.Key, StringComparer.Ordinal).ToList();
        string[] present = [.. past.Select(i => KeyValueNames.Present + i.Key[KeyValueNames.Past.Length..])];
        return past.Count > 0 && past.TrueForAll(i => i.Value is { ElementType: { } type, Dimensions: [_, > 0, _, > 0] } && type == typeof(float)) && Array.TrueForAll(present, session.OutputMetadata.ContainsKey)
            ? new([.. past.Select(i => i.Key)], present, past.Sum(i => (long)sizeof(float) * i.Value.Dimensions[1] * i.Value.Dimensions[3]))
            : null;
    }
}
