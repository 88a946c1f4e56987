using System.Reflection;
using System.Runtime.InteropServices;

namespace DeepSeek.Engine.Native;

/// <summary>Finds libdeepseek: DEEPSEEK_NATIVE (file or folder), beside the assembly, then artifacts/native of a source tree above it.</summary>
internal static class NativeLibraryResolver
{
    internal const string PathVariable = NativeFiles.PathVariable;
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

    // An explicit path is the only one tried: falling back would hide the mistake.
    internal static IEnumerable<string> Candidates(string? configured, string baseDirectory) =>
        string.IsNullOrEmpty(configured) ? NativeFiles.Candidates(baseDirectory, FileName)
        : [Directory.Exists(configured) ? Path.Combine(configured, FileName) : configured];
}
