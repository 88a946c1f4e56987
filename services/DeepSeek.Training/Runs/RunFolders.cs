namespace DeepSeek.Training.Runs;

/// <summary>Where runs work on this machine: input, checkpoints and output of each, kept until the run has ended.</summary>
public sealed partial class RunFolders(string root, ILogger<RunFolders> logger)
{
    private static readonly TimeSpan LockPause = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LockPatience = TimeSpan.FromSeconds(60);

    public string Of(Guid run) => Path.Combine(root, run.ToString());

    /// <summary>Ids of the runs that have a folder here.</summary>
    public IReadOnlyList<Guid> Present() => Directory.Exists(root)
        ? [.. Directory.EnumerateDirectories(root).Select(Path.GetFileName).Where(name => Guid.TryParse(name, out _)).Select(name => Guid.Parse(name!))]
        : [];

    /// <summary>Makes the folder this attempt's own; waits for an older attempt of this machine that is still stopping.</summary>
    public async Task<IAsyncDisposable> EnterAsync(Guid run, CancellationToken cancellationToken)
    {
        for (var waited = TimeSpan.Zero; ; waited += LockPause)
        {
            Directory.CreateDirectory(Of(run));
            try
            {
                return new FileStream(Path.Combine(Of(run), "in-use"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException fault) when (waited < LockPatience && !IsDiskFull(fault))
            {
                await Task.Delay(LockPause, cancellationToken);
            }
        }
    }

    public void Delete(Guid run)
    {
        try
        {
            Directory.Delete(Of(run), recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
            // Somebody else was faster.
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            LogKept(logger, run, fault.Message);
        }
    }

    public static bool IsDiskFull(Exception fault)
    {
        const int noSpaceLeft = 28; // ENOSPC
        const int quotaExceeded = 122; // EDQUOT
        return fault is IOException && (fault.HResult & 0xFFFF) is noSpaceLeft or quotaExceeded;
    }

    [LoggerMessage(LogLevel.Warning, "The folder of run {RunId} stays until the next sweep: {Reason}")]
    private static partial void LogKept(ILogger logger, Guid runId, string reason);
}
