using System.Security.Cryptography;

namespace DeepSeek.Preprocessing.Privacy;

/// <summary>
/// The installation's secret for hashed columns: 32 random bytes in a file only the service may read. The same value hashes the
/// same in every dataset of one installation, so columns still join, and cannot be guessed back without the file.
/// </summary>
internal sealed class MaskingKey
{
    private const int Length = 32;

    private readonly byte[] _key;

    private MaskingKey(byte[] key) => _key = key;

    public static MaskingKey FromBytes(ReadOnlySpan<byte> key) => new(key.ToArray());

    /// <summary>Reads the key, or makes one when the installation has none yet.</summary>
    public static MaskingKey Open(string path)
    {
        if (!File.Exists(path))
        {
            // Written aside and linked into place, so that two processes starting at once end with one key.
            var fresh = $"{path}.{Guid.NewGuid():N}";
            using (var stream = new FileStream(fresh, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            }))
            {
                stream.Write(RandomNumberGenerator.GetBytes(Length));
                stream.Flush(flushToDisk: true);
            }
            try
            {
                File.Move(fresh, path, overwrite: false);
            }
            catch (IOException) when (File.Exists(path))
            {
                File.Delete(fresh);
            }
        }
        var key = File.ReadAllBytes(path);
        return key.Length == Length
            ? new MaskingKey(key)
            : throw new InvalidDataException($"The masking key {path} has {key.Length} bytes instead of {Length}. Restore it from a backup; a new key would hash old values differently.");
    }

    /// <summary>96 bits of HMAC-SHA256: short enough to read, and chance collisions stay below 10⁻⁹ for 10⁹ values.</summary>
    public string Hash(ReadOnlySpan<byte> value)
    {
        Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(_key, value, mac);
        return "h_" + Convert.ToHexStringLower(mac[..12]);
    }
}
