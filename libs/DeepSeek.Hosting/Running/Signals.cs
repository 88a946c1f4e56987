using System.Runtime.InteropServices;

namespace Aspire.Hosting;

/// <summary>Signals to processes and process groups.</summary>
internal static partial class Signals
{
    public const int Interrupt = 2;
    public const int Kill = 9;
    public const int Terminate = 15;

    /// <summary>Signals a process. False: it is gone.</summary>
    public static bool Send(int pid, int signal) => pid > 1 && NativeKill(pid, signal) == 0;

    /// <summary>Signals the group that a process leads; the process alone if it does not lead one yet.</summary>
    public static bool SendToGroup(int pid, int signal) => pid > 1 && (NativeKill(-pid, signal) == 0 || NativeKill(pid, signal) == 0);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int NativeKill(int pid, int signal);
}
