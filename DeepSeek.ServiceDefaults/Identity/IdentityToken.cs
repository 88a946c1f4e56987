using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.ServiceDefaults.Identity;

/// <summary>Who is calling, as the gateway or another service vouches for it.</summary>
public sealed record PlatformIdentity
{
    /// <summary>Stable name used as owner, author and actor.</summary>
    public required string Sub { get; init; }
    public required string Name { get; init; }
    public required string Role { get; init; }
    /// <summary>Id of the API key behind it; null for a service.</summary>
    public string? Key { get; init; }
    /// <summary>The person a service acts for.</summary>
    public string? OnBehalfOf { get; init; }
    /// <summary>Unix seconds after which the token is void.</summary>
    public long Exp { get; init; }
}

/// <summary>Token = base64url(JSON) "." base64url(HMAC-SHA256(base64url(JSON), key)).</summary>
public sealed class IdentityTokens(byte[] signingKey, TimeProvider time)
{
    public const string Header = "X-DeepSeek-Identity";

    /// <summary>Life of a token that the gateway mints for one request.</summary>
    public static readonly TimeSpan RequestLife = TimeSpan.FromSeconds(60);
    /// <summary>Life of a token that a service mints for its calls.</summary>
    public static readonly TimeSpan ServiceLife = TimeSpan.FromSeconds(300);

    private const int MaxLength = 4096;
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        MaxDepth = 2,
    };

    public string Mint(PlatformIdentity identity, TimeSpan life)
    {
        var payload = Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(
            identity with { Exp = (time.GetUtcNow() + life).ToUnixTimeSeconds() }, Json));
        return payload + "." + Base64Url.EncodeToString(Sign(payload));
    }

    /// <summary>Null unless the signature is ours and the token has not expired.</summary>
    public PlatformIdentity? Validate(string? token)
    {
        if (token is null or { Length: > MaxLength } || token.IndexOf('.') is var dot && dot <= 0)
        {
            return null;
        }

        var payload = token[..dot];
        Span<byte> signature = stackalloc byte[HMACSHA256.HashSizeInBytes];
        if (!Base64Url.IsValid(token.AsSpan(dot + 1), out var signatureLength)
            || signatureLength != HMACSHA256.HashSizeInBytes
            || !Base64Url.TryDecodeFromChars(token.AsSpan(dot + 1), signature, out _)
            || !CryptographicOperations.FixedTimeEquals(signature, Sign(payload))
            || !Base64Url.IsValid(payload))
        {
            return null;
        }

        var identity = JsonSerializer.Deserialize<PlatformIdentity>(Base64Url.DecodeFromChars(payload), Json);
        return identity is not null && identity.Exp >= time.GetUtcNow().ToUnixTimeSeconds() ? identity : null;
    }

    private byte[] Sign(string payload) => HMACSHA256.HashData(signingKey, Encoding.UTF8.GetBytes(payload));
}
