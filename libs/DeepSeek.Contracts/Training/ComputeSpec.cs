using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Contracts.Training;

/// <summary>Number formats of a training step; weights, their updates and what is measured are float32 in each of them.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<RunPrecision>))]
public enum RunPrecision
{
    /// <summary>bf16 on GPUs that have it, fp16 on older ones, fp32 on the CPU.</summary>
    [JsonStringEnumMemberName("auto")] Auto = 1,
    /// <summary>float32 throughout.</summary>
    [JsonStringEnumMemberName("fp32")] Fp32 = 2,
    /// <summary>bfloat16 products, float32 norms and losses.</summary>
    [JsonStringEnumMemberName("bf16")] Bf16 = 3,
    /// <summary>float16 products with a scaled loss, float32 norms; GPUs only.</summary>
    [JsonStringEnumMemberName("fp16")] Fp16 = 4,
    /// <summary>Each linear layer in FP8, bfloat16 or float32 by the ranges seen in it and by the loss; heads and norms stay in float32.</summary>
    [JsonStringEnumMemberName("adaptive")] Adaptive = 5,
    /// <summary>gpt: weights and activations in bfloat16, updates of float32 masters, float32 norms; the fastest on GPUs that have bfloat16.</summary>
    [JsonStringEnumMemberName("bf16Weights")] Bf16Weights = 6,
}

/// <summary>Whether steps are recorded once and replayed.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<CaptureChoice>))]
public enum CaptureChoice
{
    /// <summary>Where it can be done.</summary>
    [JsonStringEnumMemberName("auto")] Auto = 1,
    /// <summary>Or the run is refused.</summary>
    [JsonStringEnumMemberName("on")] On = 2,
    /// <summary>Never.</summary>
    [JsonStringEnumMemberName("off")] Off = 3,
}

/// <summary>Whether activations are dropped and computed again in the backward pass: never, in every block, or in as many as a budget asks for.</summary>
[JsonConverter(typeof(CheckpointingConverter))]
public sealed record Checkpointing
{
    private Checkpointing(bool every, int? mebibytes) => (Every, Mebibytes) = (every, mebibytes);

    /// <summary>All activations are kept.</summary>
    public static Checkpointing Off { get; } = new(false, null);

    /// <summary>Every block keeps its input alone.</summary>
    public static Checkpointing On { get; } = new(true, null);

    /// <summary>Every block is computed again.</summary>
    public bool Every { get; }

    /// <summary>MiB that activations may take, or null where no budget is set.</summary>
    public int? Mebibytes { get; }

    /// <summary>As many blocks as bring the activations under a budget, those first that cost least.</summary>
    public static Checkpointing Within(int mebibytes) => new(false, mebibytes);
}

internal sealed class CheckpointingConverter : JsonConverter<Checkpointing>
{
    private const string Remedy = """Write "off", "on" or a number of MiB that activations may take.""";

    public override Checkpointing Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.TokenType switch
    {
        JsonTokenType.String when reader.ValueTextEquals("off") => Checkpointing.Off,
        JsonTokenType.String when reader.ValueTextEquals("on") => Checkpointing.On,
        JsonTokenType.Number when reader.TryGetInt32(out var mebibytes) => Checkpointing.Within(mebibytes),
        _ => throw new JsonException(Remedy),
    };

    public override void Write(Utf8JsonWriter writer, Checkpointing value, JsonSerializerOptions options)
    {
        if (value.Mebibytes is { } mebibytes)
        {
            writer.WriteNumberValue(mebibytes);
            return;
        }
        writer.WriteStringValue(value.Every ? "on" : "off");
    }
}
