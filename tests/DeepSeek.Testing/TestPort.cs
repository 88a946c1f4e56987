using System.Net;
using System.Net.Sockets;

namespace DeepSeek.Testing;

/// <summary>Loopback ports that stay this process's own, also while nobody listens on them: a service that is killed comes back on its port.</summary>
/// <remarks>
/// Below the range from which the kernel serves port 0 and outgoing connections and above the host's, so no stranger takes a port between two lives; test
/// processes keep apart by a locked file for each port.
/// </remarks>
public static class TestPort
{
    private const int First = 32_000;
    private const int Count = 700;
    private static readonly string s_locks = Directory.CreateDirectory(Path.Combine(Path.GetTempPath(), "deepseek-test-ports")).FullName;
    private static readonly List<FileStream> s_held = [];

    public static int Reserve()
    {
        for (var tries = 0; tries < Count; tries++)
        {
            var port = First + Random.Shared.Next(Count);
            if (Lock(port) is not { } held)
            {
                continue;
            }

            if (IsFree(port))
            {
                lock (s_held)
                {
                    s_held.Add(held);
                }

                return port;
            }

            held.Dispose();
        }

        throw new InvalidOperationException($"No loopback port from {First} to {First + Count - 1} is free.");
    }

    private static FileStream? Lock(int port)
    {
        try
        {
            return new FileStream(Path.Combine(s_locks, $"{port}"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return null; // Another test process has it.
        }
    }

    private static bool IsFree(int port)
    {
        using var listener = new TcpListener(IPAddress.Loopback, port);
        try
        {
            listener.Start();
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
