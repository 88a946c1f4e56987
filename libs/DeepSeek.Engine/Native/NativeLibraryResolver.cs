using System.Reflection;
using System.Runtime.InteropServices;

namespace DeepSeek.Engine.Native;

/// <summary>Finds libdeepseek: DEEPSEEK_NATIVE (file or folder), beside the assembly, then artifacts/native of a source tree above it.</summary>
internal static class NativeLibraryResolver
{
    internal const string PathVariable = "DEEPSEEK_NATIVE";
    private const string FileName = "libdeepseek.so";

    internal static void Register() => NativeLibrary.SetDllImportResolver(typeof(NativeLibraryResolver).Assembly, Resolve);

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        if (name != NativeMethods.Library)
        {
            return 0;
        }
        var faults = new List<string>();
        foreach (var path in Candidates(Environment.GetEnvironmentVariable(PathVariable), AppContext.BaseDirectory))
        {
            if (!File.Exists(path))
            {
                faults.Add($"{path}: not there");
                continue;
            }
            try
            {
                return NativeLibrary.Load(path);
            }
            catch (DllNotFoundException fault)
            {
                faults.Add($"{path}: {fault.Message}");
            }
        }
        throw new DllNotFoundException($"""
            The native engine {FileName} could not be loaded.
            {string.Join(Environment.NewLine, faults)}
            Build it with `cmake -S native -B artifacts/native -G Ninja && cmake --build artifacts/native`, or set {PathVariable} to the file.
            """);
    }

    internal static IEnumerable<string> Candidates(string? configured, string baseDirectory)
    {
        if (!string.IsNullOrEmpty(configured))
        {
            // An explicit path is the only one tried: falling back would hide the mistake.
            yield return Directory.Exists(configured) ? Path.Combine(configured, FileName) : configured;
            yield break;
        }
        yield return Path.Combine(baseDirectory, FileName);
        for (var folder = new DirectoryInfo(baseDirectory).Parent; folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "native", "CMakeLists.txt")))
            {
                yield return Path.Combine(folder.FullName, "artifacts", "native", FileName);
                yield break;
            }
        }
    }
}
