using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace DeepSeek.ServiceDefaults;

/// <summary>
/// Blobs on the local disk, one file per hash. Files appear by rename, so a file that is there is whole; each is hashed the first time
/// this process uses it, and thrown away if it is not what its name says. The least recently used go first when the cache is too large.
/// Several processes may share the folder.
/// </summary>
public sealed partial class BlobCache
{
    private readonly string _directory;
    private readonly BlobStoreOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger<BlobCache> _log;
    private readonly ConcurrentDictionary<string, bool> _verified = new();
    private readonly KeyedLocks _locks = new();
    private readonly Lock _evicting = new();

    public BlobCache(IOptions<BlobStoreOptions> options, TimeProvider clock, ILogger<BlobCache> log)
    {
        _options = options.Value;
        _clock = clock;
        _log = log;
        _directory = _options.CacheDirectory ?? throw new InvalidOperationException("Blobs:CacheDirectory is not set.");
        Directory.CreateDirectory(_directory);
        DeleteAbandoned();
    }

    /// <summary>Path of the verified file; <paramref name="download"/> fills a temporary file when it is not there, once for all who wait for it.</summary>
    public async Task<string> GetAsync(string sha256, Func<string, CancellationToken, Task> download, CancellationToken cancellationToken)
    {
        using var _ = await _locks.EnterAsync(sha256, cancellationToken);
        var path = PathOf(sha256);
        if (await IsSoundAsync(sha256, path, cancellationToken))
            return Touch(path);

        var temporary = NewTemporary();
        try
        {
            await download(temporary, cancellationToken);
            Adopt(temporary, sha256);
        }
        finally
        {
            File.Delete(temporary);
        }

        return path;
    }

    /// <summary>A path for a file that is to become a cached blob.</summary>
    public string NewTemporary() => Path.Combine(_directory, $"{Guid.NewGuid():N}.tmp");

    /// <summary>Moves a temporary file whose hash the caller has computed into its place.</summary>
    public void Adopt(string temporary, string sha256)
    {
        var path = PathOf(sha256);
        File.Move(temporary, path, overwrite: true);
        _verified[sha256] = true;
        Touch(path);
        Evict();
    }

    private string PathOf(string sha256) => Path.Combine(_directory, sha256);

    private async Task<bool> IsSoundAsync(string sha256, string path, CancellationToken cancellationToken)
    {
        try
        {
            if (!File.Exists(path))
                return false;
            if (_verified.ContainsKey(sha256))
                return true;
            var found = await BlobHash.OfFileAsync(path, cancellationToken);
            if (found == sha256)
                return _verified[sha256] = true;
            LogCorrupt(sha256, found);
            File.Delete(path);
            return false;
        }
        catch (FileNotFoundException)
        {
            return false; // evicted by another process meanwhile
        }
    }

    private string Touch(string path)
    {
        try
        {
            File.SetLastWriteTimeUtc(path, _clock.GetUtcNow().UtcDateTime);
        }
        catch (FileNotFoundException)
        {
            // Another process evicted it just now; the caller sees that when it opens the file.
        }

        return path;
    }

    private void Evict()
    {
        lock (_evicting)
        {
            var files = Snapshot();
            var total = files.Sum(f => f.Bytes);
            var usedBefore = (_clock.GetUtcNow() - _options.CacheKeep).UtcDateTime;
            foreach (var file in files.OrderBy(f => f.Used))
            {
                if (total <= _options.CacheBytes || file.Used > usedBefore)
                    break;
                File.Delete(PathOf(file.Sha256));
                _verified.TryRemove(file.Sha256, out _);
                total -= file.Bytes;
            }
        }
    }

    private List<(string Sha256, long Bytes, DateTime Used)> Snapshot()
    {
        var files = new List<(string, long, DateTime)>();
        foreach (var file in new DirectoryInfo(_directory).EnumerateFiles().Where(f => BlobRef.IsSha256(f.Name)))
        {
            try
            {
                files.Add((file.Name, file.Length, file.LastWriteTimeUtc));
            }
            catch (FileNotFoundException)
            {
                // Evicted by another process meanwhile.
            }
        }

        return files;
    }

    /// <summary>Temporary files of processes that died; a living download touches its file all the time.</summary>
    private void DeleteAbandoned()
    {
        foreach (var file in new DirectoryInfo(_directory).GetFiles("*.tmp"))
        {
            if (file.LastWriteTimeUtc < DateTime.UtcNow.AddDays(-1))
                file.Delete();
        }
    }

    [LoggerMessage(LogLevel.Warning, "Cached blob {Sha256} hashes to {Found}; it is fetched again.")]
    private partial void LogCorrupt(string sha256, string found);
}
