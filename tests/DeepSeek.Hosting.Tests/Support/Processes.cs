using System.Globalization;

namespace DeepSeek.Hosting.Tests;

/// <summary>Looks at the machine's processes.</summary>
internal static class Processes
{
    public static bool Exists(int pid)
    {
        try
        {
            return !Stat(pid).State.Equals("Z", StringComparison.Ordinal);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>All living processes below a process.</summary>
    public static HashSet<int> Descendants(int root)
    {
        var parents = new Dictionary<int, int>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out var pid))
            {
                try
                {
                    parents[pid] = Stat(pid).Parent;
                }
                catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
                {
                    // Gone meanwhile.
                }
            }
        }

        var found = new HashSet<int> { root };
        int before;
        do
        {
            before = found.Count;
            found.UnionWith(parents.Where(pair => found.Contains(pair.Value)).Select(pair => pair.Key));
        }
        while (found.Count > before);
        found.Remove(root);
        return found;
    }

    /// <summary>Living processes with a text in their environment.</summary>
    public static HashSet<int> WithEnvironment(string text) => [.. Directory.EnumerateDirectories("/proc")
        .Select(folder => int.TryParse(Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) ? pid : 0)
        .Where(pid => pid > 0 && Environ(pid).Contains(text, StringComparison.Ordinal))];

    public static string Describe(IEnumerable<int> pids) => string.Join(", ", pids.Where(Exists).Select(pid => $"{pid} {CommandLine(pid)}"));

    private static (string State, int Parent) Stat(int pid)
    {
        var text = File.ReadAllText($"/proc/{pid}/stat");
        var fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return (fields[0], int.Parse(fields[1], CultureInfo.InvariantCulture));
    }

    private static string Environ(int pid) => Read($"/proc/{pid}/environ");

    private static string CommandLine(int pid) => Read($"/proc/{pid}/cmdline").Replace('\0', ' ');

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return string.Empty;
        }
    }
}
