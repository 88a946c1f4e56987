using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace DeepSeek.Gateway.Keys;

/// <summary>The secret that a client sends: <c>dsk_</c> and 256 random bits in base64url.</summary>
internal static class ApiKeySecret
{
    public const string Prefix = "dsk_";
    private const int RandomBytes = 32;
    private const int Length = 4 + 43; // Prefix and 32 bytes in base64url without padding.
    private const int HintLength = 8;

    public static string Create() => Prefix + Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(RandomBytes));

    public static byte[] Hash(string secret) => SHA256.HashData(Encoding.ASCII.GetBytes(secret));

    public static string Hint(string secret) => secret[..HintLength] + "…";

    public static bool HasForm(string secret) =>
        secret.Length == Length && secret.StartsWith(Prefix, StringComparison.Ordinal) && Base64Url.IsValid(secret.AsSpan(Prefix.Length));
}
