using System.Globalization;

namespace DeepSeek.Trainer;

/// <summary>How much of the host's memory a trainer may take, so that it can say what does not fit before the kernel ends it.</summary>
internal static class HostMemory
{
    private const string Variable = "DEEPSEEK_MEMORY_MIB";

    // For everything that is no tensor: the runtime, libraries, matrix products' scratch memory.
    private const double Share = 0.95;

    /// <summary>Bytes: DEEPSEEK_MEMORY_MIB, or what the machine and the process's control group have to give now; 0 where neither tells.</summary>
    internal static long Limit(string root = "/")
    {
        if (long.TryParse(Environment.GetEnvironmentVariable(Variable), NumberStyles.None, CultureInfo.InvariantCulture, out var mebibytes) && mebibytes is > 0 and < 1L << 40)
        {
            return mebibytes << 20;
        }
        long[] known = [.. new[] { Machine(root), Group(root) }.Where(bytes => bytes > 0)];
        return known.Length == 0 ? 0 : (long)(Share * known.Min());
    }

    private static long Machine(string root)
    {
        var file = Path.Combine(root, "proc/meminfo");
        var line = File.Exists(file) ? File.ReadLines(file).FirstOrDefault(l => l.StartsWith("MemAvailable:", StringComparison.Ordinal)) : null;
        return line?.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [_, var number, ..] && long.TryParse(number, CultureInfo.InvariantCulture, out var kibibytes) ? kibibytes << 10 : 0;
    }

    // Version 2 of control groups, as containers see their own.
    private static long Group(string root) =>
        Number(Path.Combine(root, "sys/fs/cgroup/memory.max")) is { } most && Number(Path.Combine(root, "sys/fs/cgroup/memory.current")) is { } used ? Math.Max(1, most - used) : 0;

    private static long? Number(string file) => File.Exists(file) && long.TryParse(File.ReadAllText(file).Trim(), CultureInfo.InvariantCulture, out var number) ? number : null;
}
