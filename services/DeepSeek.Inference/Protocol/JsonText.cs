using System.Text;
using System.Text.Json;

namespace DeepSeek.Inference.Protocol;

/// <summary>Words about JSON for error messages.</summary>
internal static class JsonText
{
    private const int MaxQuoted = 40;

    /// <summary>A value as it was sent, cut to a length that fits a message.</summary>
    public static string Shorten(ReadOnlySpan<byte> value)
    {
        var text = Encoding.UTF8.GetString(value.Length > MaxQuoted ? value[..MaxQuoted] : value);
        return "'" + (value.Length > MaxQuoted ? text + "…" : text) + "'";
    }

    public static string Shorten(string value) =>
        "'" + (value.Length > MaxQuoted ? value[..MaxQuoted] + "…" : value) + "'";

    /// <summary>Says what is wrong with the JSON; a bare NaN or Infinity gets the remedy.</summary>
    /// <param name="instead">What to send in place of NaN and Infinity.</param>
    public static InferenceException Fault(JsonException fault, ReadOnlySpan<byte> json, long consumed, string instead)
    {
        var rest = json[(int)Math.Clamp(consumed, 0, json.Length)..].TrimStart(" \t\r\n,:["u8);
        var signless = rest.StartsWith("-"u8) ? rest[1..] : rest;
        if (signless.StartsWith("NaN"u8) || signless.StartsWith("Infinity"u8) || signless.StartsWith("nan"u8) || signless.StartsWith("inf"u8))
        {
            return InferenceException.BadRequest($"The body is not JSON: JSON has no NaN or Infinity. Send {instead}.");
        }

        return InferenceException.BadRequest($"The body is not JSON: {fault.Message}");
    }
}
