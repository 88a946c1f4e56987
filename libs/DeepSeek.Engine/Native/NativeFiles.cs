namespace DeepSeek.Engine.Native;

/// <summary>Where a native library of the platform is looked for. Compiled into every assembly that loads one.</summary>
internal static class NativeFiles
{
    /// <summary>Environment variable with libdeepseek's file or folder.</summary>
    internal const string PathVariable = "DEEPSEEK_NATIVE";

    /// <summary>Without a configured path: beside the assembly, then artifacts/native of a source tree above it.</summary>
    internal static IEnumerable<string> Candidates(string baseDirectory, string fileName)
    {
        yield return Path.Combine(baseDirectory, fileName);
        for (var folder = new DirectoryInfo(baseDirectory).Parent; folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "native", "CMakeLists.txt")))
            {
                yield return Path.Combine(folder.FullName, "artifacts", "native", fileName);
                yield break;
            }
        }
    }
}
