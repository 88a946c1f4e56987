using System.Text;

namespace DeepSeek.Testing;

/// <summary>A folder of its own under the system's temporary folder, deleted at the end.</summary>
public sealed class TestFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("deepseek-test-").FullName;

    /// <summary>Files below a folder whose bytes hold this text.</summary>
    public static IReadOnlyList<string> FilesWith(string folder, string text) =>
        [.. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Where(file => File.ReadAllBytes(file).AsSpan().IndexOf(Encoding.UTF8.GetBytes(text)) >= 0)];

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
