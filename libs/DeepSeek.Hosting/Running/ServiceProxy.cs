using System.Net;
using System.Net.Sockets;

namespace Aspire.Hosting;

/// <summary>
/// Holds the public port of an endpoint for as long as the application runs and passes each connection on to a process
/// behind it, chosen at random. Connections wait while no process takes them.
/// </summary>
internal sealed class ServiceProxy : IDisposable
{
    private const int MostParked = 20;
    private static readonly TimeSpan DialTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMilliseconds(500);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _backends = [];
    private readonly List<Socket> _listeners = [];
    private readonly CancellationTokenSource _stop = new();
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _parked;

    private ServiceProxy(int port) => Port = port;

    public int Port { get; }

    /// <summary>Starts to listen on both loopback addresses. Throws <see cref="SocketException"/> if the port is taken.</summary>
    public static ServiceProxy Listen(int port)
    {
        var proxy = new ServiceProxy(port);
        try
        {
            proxy.Listen(IPAddress.Loopback);
            if (Socket.OSSupportsIPv6)
            {
                proxy.TryListenOnIPv6();
            }
        }
        catch
        {
            proxy.Dispose();
            throw;
        }

        return proxy;
    }

    public void AddBackend(string id, int port)
    {
        lock (_gate)
        {
            _backends[id] = port;
            _changed.TrySetResult();
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    public void RemoveBackend(string id)
    {
        lock (_gate)
        {
            _backends.Remove(id);
        }
    }

    public void Dispose()
    {
        _stop.Cancel();
        foreach (var listener in _listeners)
        {
            listener.Dispose();
        }
    }

    private void TryListenOnIPv6()
    {
        try
        {
            Listen(IPAddress.IPv6Loopback);
        }
        catch (SocketException fault) when (fault.SocketErrorCode == SocketError.AddressNotAvailable)
        {
            // The machine's loopback has no IPv6 address.
        }
    }

    private void Listen(IPAddress address)
    {
        var listener = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        _listeners.Add(listener);
        listener.Bind(new IPEndPoint(address, Port));
        listener.Listen(512);
        _ = AcceptAsync(listener);
    }

    private async Task AcceptAsync(Socket listener)
    {
        while (!_stop.IsCancellationRequested)
        {
            Socket client;
            try
            {
                client = await listener.AcceptAsync(_stop.Token).ConfigureAwait(false);
            }
            catch (Exception fault) when (fault is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // Out of descriptors, or the client left at once: others may follow.
                await Task.Delay(FirstPause).ConfigureAwait(false);
                continue;
            }

            _ = ServeAsync(client);
        }
    }

    private async Task ServeAsync(Socket client)
    {
        using (client)
        {
            try
            {
                client.NoDelay = true;
                using var backend = await DialAsync(client).ConfigureAwait(false);
                if (backend is not null)
                {
                    await SocketRelay.RunAsync(client, backend, _stop.Token).ConfigureAwait(false);
                }
            }
            catch (Exception fault) when (fault is SocketException or OperationCanceledException or ObjectDisposedException)
            {
                // Either side left: closing both tells the other.
            }
        }
    }

    private async Task<Socket?> DialAsync(Socket client)
    {
        if (await DialAnyAsync().ConfigureAwait(false) is { } first)
        {
            return first;
        }

        if (Interlocked.Increment(ref _parked) > MostParked)
        {
            Interlocked.Decrement(ref _parked);
            return null;
        }

        try
        {
            for (var pause = FirstPause; !HasLeft(client); pause = pause * 2 < LongestPause ? pause * 2 : LongestPause)
            {
                await Task.WhenAny(Changed(), Task.Delay(pause, _stop.Token)).ConfigureAwait(false);
                _stop.Token.ThrowIfCancellationRequested();
                if (await DialAnyAsync().ConfigureAwait(false) is { } backend)
                {
                    return backend;
                }
            }

            return null;
        }
        finally
        {
            Interlocked.Decrement(ref _parked);
        }
    }

    private async Task<Socket?> DialAnyAsync()
    {
        int[] ports;
        lock (_gate)
        {
            ports = [.. _backends.Values];
        }

        Random.Shared.Shuffle(ports);
        foreach (var port in ports)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
                limit.CancelAfter(DialTimeout);
                await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), limit.Token).ConfigureAwait(false);
                return socket;
            }
            catch (Exception fault) when (fault is SocketException or OperationCanceledException)
            {
                socket.Dispose();
            }
        }

        return null;
    }

    private Task Changed()
    {
        lock (_gate)
        {
            return _changed.Task;
        }
    }

    private static bool HasLeft(Socket client) => client.Poll(0, SelectMode.SelectRead) && client.Available == 0;
}
