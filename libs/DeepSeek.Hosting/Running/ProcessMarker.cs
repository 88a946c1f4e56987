using System.Globalization;
using System.Text;

namespace Aspire.Hosting;

/// <summary>
/// Every process of the application carries a variable that names its host and its resource, and so do all processes
/// it starts, whatever sessions and groups they make: that is how nothing is left behind.
/// </summary>
internal static class ProcessMarker
{
    public const string Variable = "DEEPSEEK_HOST_PROCESS";

    /// <summary>Ids of the processes whose mark begins with <paramref name="mark"/>.</summary>
    public static List<int> Find(string mark)
    {
        var wanted = Encoding.UTF8.GetBytes($"{Variable}={mark}");
        var found = new List<int>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) && pid != Environment.ProcessId && Carries(folder, wanted))
            {
                found.Add(pid);
            }
        }

        return found;
    }

    /// <summary>Kills every process whose mark begins with <paramref name="mark"/>.</summary>
    public static void Kill(string mark)
    {
        foreach (var pid in Find(mark))
        {
            Signals.Send(pid, Signals.Kill);
        }
    }

    private static bool Carries(string folder, byte[] wanted)
    {
        try
        {
            return File.ReadAllBytes($"{folder}/environ").AsSpan().IndexOf(wanted) >= 0;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            // Gone meanwhile, or another user's.
            return false;
        }
    }
}
