using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.Extensions.Options;

namespace DeepSeek.Registry.Audit;

/// <summary>
/// The arithmetic of the log. An entry's hash is SHA-256 over the previous entry's hash and its own fields, so no entry can be changed,
/// removed or put in between without breaking all that follow; its MAC signs the hash with a key that is not in the database, so whoever
/// can write the tables still cannot compute the whole chain anew. The head's MAC signs the length, so a shortened log is noticed.
/// </summary>
public sealed class AuditChain
{
    /// <summary>The hash before the first entry.</summary>
    public static readonly byte[] Origin = new byte[SHA256.HashSizeInBytes];

    private readonly byte[] _key;

    public AuditChain(IOptions<RegistryOptions> options, IOptions<IdentityOptions> identity)
    {
        var secret = Encoding.UTF8.GetBytes(options.Value.AuditKey ?? identity.Value.SigningKey);
        _key = HKDF.DeriveKey(HashAlgorithmName.SHA256, secret, SHA256.HashSizeInBytes, info: "deepseek.registry.audit/1"u8.ToArray());
    }

    /// <summary>SHA-256 of the canonical form: integers big-endian, times as microseconds since 1970, texts as UTF-8 behind their length.</summary>
    public static byte[] HashOf(AuditEntry entry)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData("deepseek.audit/1"u8);
        hash.AppendData(entry.PreviousHash);
        Append(hash, entry.Sequence);
        hash.AppendData(entry.EntryId.ToByteArray(bigEndian: true));
        Append(hash, Microseconds(entry.At));
        Append(hash, Microseconds(entry.RecordedAt));
        foreach (var text in (ReadOnlySpan<string>)[entry.Actor, entry.Action, entry.Subject, entry.Details])
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            Append(hash, bytes.Length);
            hash.AppendData(bytes);
        }

        return hash.GetHashAndReset();
    }

    public byte[] SignEntry(byte[] hash) => Sign([.. "entry"u8, .. hash]);

    public byte[] SignHead(long sequence, byte[] hash)
    {
        Span<byte> number = stackalloc byte[8];
        BinaryPrimitives.WriteInt64BigEndian(number, sequence);
        return Sign([.. "head"u8, .. number, .. hash]);
    }

    private byte[] Sign(byte[] text) => HMACSHA256.HashData(_key, text);

    /// <summary>PostgreSQL keeps microseconds; what is finer must go before it is hashed.</summary>
    public static DateTimeOffset Truncate(DateTimeOffset time) => DateTimeOffset.UnixEpoch.AddMicroseconds(Microseconds(time));

    private static long Microseconds(DateTimeOffset time) => (time.UtcTicks - DateTimeOffset.UnixEpoch.UtcTicks) / TimeSpan.TicksPerMicrosecond;

    private static void Append(IncrementalHash hash, long number)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteInt64BigEndian(bytes, number);
        hash.AppendData(bytes);
    }
}
