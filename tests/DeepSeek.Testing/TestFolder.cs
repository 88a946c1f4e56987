namespace DeepSeek.Testing;

/// <summary>A folder of its own under the system's temporary folder, deleted at the end.</summary>
public sealed class TestFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("deepseek-test-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
