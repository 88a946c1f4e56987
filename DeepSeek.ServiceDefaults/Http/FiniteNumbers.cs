using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.ServiceDefaults.Http;

/// <summary>Refuses numbers beyond the range of their type: the default reads 1e400 as infinity, which then spreads through every sum.</summary>
internal static class FiniteNumbers
{
    internal const string Refusal = "is beyond the range of a floating-point number";

    internal sealed class Double : JsonConverter<double>
    {
        public override double Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            reader.GetDouble() is var value && double.IsFinite(value) ? value : throw new JsonException(Refusal);

        public override void Write(Utf8JsonWriter writer, double value, JsonSerializerOptions options) => writer.WriteNumberValue(value);
    }

    internal sealed class Single : JsonConverter<float>
    {
        public override float Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            reader.GetSingle() is var value && float.IsFinite(value) ? value : throw new JsonException(Refusal);

        public override void Write(Utf8JsonWriter writer, float value, JsonSerializerOptions options) => writer.WriteNumberValue(value);
    }
}
