namespace Aspire.Hosting;

/// <summary>Files that only the host's user can read.</summary>
internal static class OwnFile
{
    /// <summary>Written aside and renamed, so that a crash leaves the old file or the new one.</summary>
    public static void Replace(string path, ReadOnlySpan<byte> content)
    {
        var aside = path + ".new";
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using (var file = new FileStream(aside, options))
        {
            file.Write(content);
            file.Flush(flushToDisk: true);
        }

        File.Move(aside, path, overwrite: true);
    }
}
