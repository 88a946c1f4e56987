using System.Runtime.InteropServices;

namespace DeepSeek.Registry.Blobs;

/// <summary>File operations that survive a loss of power: the bytes are on the disk before the name is, and the name before the reply.</summary>
internal static class DurableFiles
{
    private const int NoSpaceLeft = 28;   // ENOSPC
    private const int QuotaExceeded = 122; // EDQUOT

    /// <summary>Renames a file whose bytes are flushed already, and flushes both directories' entries.</summary>
    public static void Move(string from, string to)
    {
        File.Move(from, to, overwrite: true);
        FlushDirectory(Path.GetDirectoryName(to)!);
    }

    public static void WriteText(string path, string text)
    {
        var temporary = path + ".tmp";
        using (var file = new FileStream(temporary, FileMode.Create, FileAccess.Write))
        {
            file.Write(System.Text.Encoding.UTF8.GetBytes(text));
            file.Flush(flushToDisk: true);
        }

        Move(temporary, path);
    }

    /// <summary>Creates the directory and makes each new level known to its parent on disk.</summary>
    public static void CreateDirectory(string path)
    {
        if (Directory.Exists(path))
            return;
        var parent = Path.GetDirectoryName(path)!;
        CreateDirectory(parent);
        Directory.CreateDirectory(path);
        FlushDirectory(parent);
    }

    public static bool IsDiskFull(IOException fault) =>
        OperatingSystem.IsWindows() ? (fault.HResult & 0xFFFF) is 0x70 or 0x27 : fault.HResult is NoSpaceLeft or QuotaExceeded;

    private static void FlushDirectory(string path)
    {
        if (OperatingSystem.IsWindows())
            return; // NTFS journals renames
        var descriptor = open(path, flags: 0);
        if (descriptor < 0)
            throw new IOException($"The directory {path} cannot be opened to flush it.", Marshal.GetLastPInvokeError());
        var result = fsync(descriptor);
        var error = Marshal.GetLastPInvokeError();
        _ = close(descriptor);
        if (result != 0)
            throw new IOException($"The directory {path} cannot be flushed.", error);
    }

    [DllImport("libc", SetLastError = true)]
    private static extern int open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);

    [DllImport("libc", SetLastError = true)]
    private static extern int fsync(int descriptor);

    [DllImport("libc", SetLastError = true)]
    private static extern int close(int descriptor);
}
