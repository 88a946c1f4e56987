using System.Globalization;

namespace DeepSeek.Data;

/// <summary>
/// Text as tokens: its UTF-8 bytes (0 to 255) and a separator that stands in front of each document and behind the last. Nothing is
/// learned or lost: every text has tokens, and tokens give their text back.
/// </summary>
public static class ByteTokens
{
    /// <summary>Tokens there are.</summary>
    public const int Vocabulary = 257;

    /// <summary>Begins and ends a document.</summary>
    public const int Separator = 256;

    /// <summary>Fills rows of a batch behind their last token; a model passes over it.</summary>
    public const int Padding = -1;

    /// <summary>What the tokens are called, in their order: printable ASCII by itself, other bytes as <c>0x0A</c>, the separator <c>&lt;document&gt;</c>.</summary>
    public static IReadOnlyList<string> Names { get; } =
        [.. Enumerable.Range(0, Separator).Select(b => b is >= ' ' and <= '~' ? ((char)b).ToString() : "0x" + b.ToString("X2", CultureInfo.InvariantCulture)), "<document>"];
}
