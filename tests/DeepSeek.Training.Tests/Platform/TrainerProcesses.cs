using System.Diagnostics;

namespace DeepSeek.Training.Tests.Platform;

/// <summary>Finds the trainers of a run among the machine's processes.</summary>
internal static class TrainerProcesses
{
    public static IReadOnlyList<int> Of(Guid run)
    {
        var found = new List<int>();
        foreach (var folder in Directory.EnumerateDirectories("/proc").Where(folder => int.TryParse(Path.GetFileName(folder), out _)))
        {
            try
            {
                if (File.ReadAllText(Path.Combine(folder, "cmdline")).Contains(run.ToString()))
                {
                    found.Add(int.Parse(Path.GetFileName(folder)));
                }
            }
            catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
            {
                // It ended while it was looked at.
            }
        }
        return found;
    }

    /// <summary>As <c>kill -9</c>.</summary>
    public static void Kill(Guid run)
    {
        foreach (var id in Of(run))
        {
            Process.GetProcessById(id).Kill();
        }
    }
}
