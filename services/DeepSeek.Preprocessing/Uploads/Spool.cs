using Microsoft.Extensions.Options;

namespace DeepSeek.Preprocessing.Uploads;

/// <summary>
/// The service's private folders: <c>spool/&lt;dataset&gt;</c> holds an upload until its job has ended, <c>scratch/…</c> what one
/// attempt is working on. Folders are 0700 and files 0600. One instance of the service per data folder.
/// </summary>
internal sealed class Spool
{
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private readonly IOptions<PreprocessingOptions> _options;

    public Spool(string root, IOptions<PreprocessingOptions> options)
    {
        (Root, _options) = (root, options);
        Create(Uploads);
        Create(Scratch);
    }

    public string Root { get; }

    public string Uploads => Path.Combine(Root, "spool");

    public string Scratch => Path.Combine(Root, "scratch");

    public string MaskingKey => Path.Combine(Root, "masking.key");

    public string DirectoryOf(Guid dataset) => Path.Combine(Uploads, dataset.ToString("N"));

    public bool Has(Guid dataset) => File.Exists(Path.Combine(DirectoryOf(dataset), Intake.FileName));

    public string CreateUpload(Guid dataset) => Create(DirectoryOf(dataset));

    public string CreateScratch(Guid dataset, int attempt)
    {
        var path = Path.Combine(Scratch, $"{dataset:N}-{attempt}");
        Delete(path);
        return Create(path);
    }

    public void DeleteUpload(Guid dataset) => Delete(DirectoryOf(dataset));

    public static void Delete(string directory)
    {
        try
        {
            Directory.Delete(directory, recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
            // Gone already: a second end of the same job.
        }
    }

    public static FileStream CreateFile(string path) => new(path, new FileStreamOptions
    {
        Mode = FileMode.CreateNew,
        Access = FileAccess.ReadWrite,
        UnixCreateMode = Private,
        BufferSize = 1 << 18,
    });

    /// <summary>Refuses what would fill the disk.</summary>
    public void RequireSpace(long bytes)
    {
        var free = new DriveInfo(Root).AvailableFreeSpace - _options.Value.ReserveBytes;
        if (bytes > free)
        {
            throw new ServiceDefaults.ApiProblem(StatusCodes.Status507InsufficientStorage, "No room", $"The upload needs {bytes:N0} bytes and {Math.Max(0, free):N0} are free for uploads; free some space on the server.");
        }
    }

    private static string Create(string path) => Directory.CreateDirectory(path, Private | UnixFileMode.UserExecute).FullName;
}
