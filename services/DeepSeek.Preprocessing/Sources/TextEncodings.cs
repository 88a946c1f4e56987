using System.Text;

namespace DeepSeek.Preprocessing.Sources;

/// <summary>The encodings a text upload may have; everything is UTF-8 once spooled.</summary>
internal static class TextEncodings
{
    /// <summary>Null for UTF-8, which needs no conversion. A byte the encoding does not know throws on decoding.</summary>
    /// <exception cref="DataFault">The name is none of the known ones.</exception>
    public static Encoding? Find(string name) => name.ToLowerInvariant() switch
    {
        "utf-8" or "utf8" => null,
        "utf-16" or "utf-16le" => new UnicodeEncoding(bigEndian: false, byteOrderMark: false, throwOnInvalidBytes: true),
        "utf-16be" => new UnicodeEncoding(bigEndian: true, byteOrderMark: false, throwOnInvalidBytes: true),
        "latin1" or "iso-8859-1" => Encoding.Latin1,
        "windows-1252" => CodePagesEncodingProvider.Instance.GetEncoding(1252, EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback)!,
        _ => throw new DataFault("csv.encoding", "must be utf-8, utf-16, latin1 or windows-1252."),
    };
}
