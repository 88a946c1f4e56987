using System.Globalization;

namespace Aspire.Hosting;

internal static class PostgresPrograms
{
    private const string DebianFolder = "/usr/lib/postgresql";

    /// <summary>Folder of the server's programs: those of the version that made the data, else the newest.</summary>
    public static string Find(string cluster)
    {
        var versionFile = Path.Combine(cluster, "PG_VERSION");
        if (File.Exists(versionFile))
        {
            var version = File.ReadAllText(versionFile).Trim();
            var own = $"{DebianFolder}/{version}/bin";
            if (File.Exists($"{own}/postgres"))
            {
                return own;
            }
        }

        var newest = !Directory.Exists(DebianFolder) ? null : Directory.EnumerateDirectories(DebianFolder)
            .Where(folder => File.Exists($"{folder}/bin/postgres") && File.Exists($"{folder}/bin/initdb"))
            .MaxBy(folder => int.TryParse(Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out var major) ? major : 0);
        return newest is not null ? $"{newest}/bin"
            : ServerPrograms.Find("postgres") is { } inPath ? Path.GetDirectoryName(inPath)!
            : throw ServerPrograms.Missing("PostgreSQL", "postgresql");
    }
}

/// <summary>The file by which a server claims its data.</summary>
internal static class PostgresPidFile
{
    /// <summary>
    /// Removes the claim of a server that was killed. The server itself leaves it alone when another process has got the
    /// same id meanwhile, and then never starts again.
    /// </summary>
    public static void RemoveStale(string cluster)
    {
        var path = Path.Combine(cluster, "postmaster.pid");
        if (!File.Exists(path) || !int.TryParse(File.ReadLines(path).FirstOrDefault(), NumberStyles.None, CultureInfo.InvariantCulture, out var pid))
        {
            return;
        }

        if (!IsServerOf(pid, cluster))
        {
            File.Delete(path);
        }
    }

    private static bool IsServerOf(int pid, string cluster)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/cmdline").Split('\0').Contains(cluster);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
