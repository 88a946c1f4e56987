using System.Buffers;
using System.Security.Cryptography;
using DeepSeek.ServiceDefaults;
using Microsoft.Extensions.Options;

namespace DeepSeek.Registry.Blobs;

/// <summary>The bytes on disk: <c>ab/cd/abcd…</c> by hash, <c>incoming/</c> for uploads under way. A file under its hash is whole.</summary>
public sealed class BlobFiles
{
    private const int BufferBytes = 128 * 1024;
    private readonly RegistryOptions _options;
    private readonly string _incoming;

    public BlobFiles(IOptions<RegistryOptions> options)
    {
        _options = options.Value;
        Root = _options.BlobDirectory ?? throw new InvalidOperationException("Registry:BlobDirectory is not set.");
        _incoming = Path.Combine(Root, "incoming");
        Directory.CreateDirectory(_incoming);
        // Uploads that were under way when the last process ended; their senders begin anew.
        foreach (var file in Directory.EnumerateFiles(_incoming))
            File.Delete(file);
    }

    public string Root { get; }

    public string PathOf(string sha256) => Path.Combine(Root, sha256[..2], sha256[2..4], sha256);

    public bool Exists(string sha256) => File.Exists(PathOf(sha256));

    public FileStream Open(string sha256) =>
        new(PathOf(sha256), FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, BufferBytes, FileOptions.Asynchronous | FileOptions.SequentialScan);

    /// <summary>Writes the stream to a new file in <c>incoming/</c> and flushes it to the disk; on any fault nothing stays behind.</summary>
    public async Task<Incoming> ReceiveAsync(Stream source, long? announced, CancellationToken cancellationToken)
    {
        RequireSpace(announced ?? 0);
        var path = Path.Combine(_incoming, Guid.NewGuid().ToString("N"));
        try
        {
            await using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0, FileOptions.Asynchronous);
            var (sha256, bytes) = await HashAsync(source, file, cancellationToken);
            file.Flush(flushToDisk: true);
            return new Incoming(path, sha256, bytes);
        }
        catch (Exception fault)
        {
            File.Delete(path);
            if (fault is IOException io && DurableFiles.IsDiskFull(io))
                throw Full();
            throw;
        }
    }

    /// <summary>Reads to the end and hashes, keeping nothing.</summary>
    public async Task<string> DrainAsync(Stream source, CancellationToken cancellationToken) =>
        (await HashAsync(source, Stream.Null, cancellationToken)).Sha256;

    /// <summary>Puts a received file in its place. The caller holds the blob's lock.</summary>
    public void Place(Incoming incoming)
    {
        var path = PathOf(incoming.Sha256);
        try
        {
            DurableFiles.CreateDirectory(Path.GetDirectoryName(path)!);
            DurableFiles.Move(incoming.Path, path);
        }
        catch (IOException fault) when (DurableFiles.IsDiskFull(fault))
        {
            throw Full();
        }
    }

    /// <summary>Deletes the file; returns the bytes freed. The caller holds the blob's lock.</summary>
    public long Delete(string sha256)
    {
        var file = new FileInfo(PathOf(sha256));
        if (!file.Exists)
            return 0;
        var bytes = file.Length;
        file.Delete();
        return bytes;
    }

    /// <summary>Hashes of the files last written before <paramref name="before"/>.</summary>
    public IEnumerable<string> OlderThan(DateTimeOffset before) =>
        from first in new DirectoryInfo(Root).EnumerateDirectories("??")
        from second in first.EnumerateDirectories("??")
        from file in second.EnumerateFiles()
        where BlobRef.IsSha256(file.Name) && file.LastWriteTimeUtc < before.UtcDateTime
        select file.Name;

    private async Task<(string Sha256, long Bytes)> HashAsync(Stream source, Stream target, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            for (long total = 0, sinceCheck = 0; ;)
            {
                var read = await source.ReadAsync(buffer.AsMemory(0, BufferBytes), cancellationToken);
                if (read == 0)
                    return (Convert.ToHexStringLower(hash.GetHashAndReset()), total);
                if ((total += read) > _options.MaxBlobBytes)
                    throw TooLarge(_options.MaxBlobBytes);
                if ((sinceCheck += read) > 64 << 20 && target != Stream.Null)
                {
                    RequireSpace(0);
                    sinceCheck = 0;
                }

                hash.AppendData(buffer, 0, read);
                await target.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private void RequireSpace(long bytes)
    {
        if (new DriveInfo(Root).AvailableFreeSpace - _options.ReserveBytes < bytes)
            throw Full();
    }

    internal static ApiProblem TooLarge(long limit) =>
        Problems.TooLarge($"A blob may have {limit} bytes at most (Registry:MaxBlobBytes). Split it, or raise the limit.");

    private static ApiProblem Full() =>
        new(StatusCodes.Status507InsufficientStorage, "Insufficient storage",
            "The registry's disk is full; nothing of this blob was kept. Delete models or datasets and collect garbage (POST /api/v1/registry/gc), or give the disk more room.");
}

/// <summary>A received file that has not got its name yet.</summary>
public sealed record Incoming(string Path, string Sha256, long Bytes);
