namespace DeepSeek.Hosting.Tests;

/// <summary>A data folder of its own for one test.</summary>
public sealed class DataFolder : IDisposable
{
    public DataFolder()
    {
        Path = Directory.CreateTempSubdirectory("deepseek-hosting-").FullName;
        // Servers that run as another user must pass through.
        File.SetUnixFileMode(Path, (UnixFileMode)0b111_101_101);
    }

    public string Path { get; }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
