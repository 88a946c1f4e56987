namespace DeepSeek.Onnx;

/// <summary>
/// Names of a language model's keys and values, as exporters of transformer models use them: inputs <c>past_key_values.i.key</c> and
/// <c>past_key_values.i.value</c> of layer i, outputs <c>present.i.key</c> and <c>present.i.value</c>.
/// </summary>
public static class KeyValueNames
{
    /// <summary>What the inputs' names begin with.</summary>
    public const string Past = "past_key_values.";

    /// <summary>What the outputs' names begin with.</summary>
    public const string Present = "present.";
}
