using System.Net;
using System.Net.Sockets;
using System.Text;

namespace DeepSeek.Hosting.Tests;

public sealed class ServiceProxyTests
{
    [Fact]
    public async Task Connection_BeforeAProcessIsThere_WaitsForIt()
    {
        using var proxy = ServiceProxy.Listen(PortPool.Take());
        using var client = await ConnectAsync(proxy);
        await client.GetStream().WriteAsync("ping"u8.ToArray(), Eventually.Token);

        using var backend = new EchoServer("a");
        proxy.AddBackend("a", backend.Port);

        Assert.Equal("a:ping", await ReadAsync(client, 6));
    }

    [Fact]
    public async Task Connection_ToAProcessThatDoesNotListenYet_WaitsForIt()
    {
        using var proxy = ServiceProxy.Listen(PortPool.Take());
        var port = PortPool.Take();
        proxy.AddBackend("late", port);
        using var client = await ConnectAsync(proxy);
        await client.GetStream().WriteAsync("ping"u8.ToArray(), Eventually.Token);

        using var backend = new EchoServer("late", port);

        Assert.Equal("late:ping", await ReadAsync(client, 9));
    }

    [Fact]
    public async Task Connections_AreSharedAmongTheReplicas_AndPassOverADeadOne()
    {
        using var proxy = ServiceProxy.Listen(PortPool.Take());
        using var a = new EchoServer("a");
        using var b = new EchoServer("b");
        proxy.AddBackend("a", a.Port);
        proxy.AddBackend("b", b.Port);
        proxy.AddBackend("dead", PortPool.Take());

        var answers = new List<string>();
        for (var i = 0; i < 60; i++)
        {
            using var client = await ConnectAsync(proxy);
            await client.GetStream().WriteAsync("x"u8.ToArray(), Eventually.Token);
            answers.Add(await ReadAsync(client, 3));
        }

        // Each of 60 connections goes to either with equal chance: fewer than ten to one of them happens once in 10^7 runs.
        Assert.Equal(60, answers.Count(answer => answer is "a:x" or "b:x"));
        Assert.InRange(answers.Count(answer => answer == "a:x"), 10, 50);
    }

    [Fact]
    public async Task Connections_BeyondTwentyThatWait_AreClosed()
    {
        using var proxy = ServiceProxy.Listen(PortPool.Take());
        var clients = new List<TcpClient>();
        for (var i = 0; i < 20; i++)
        {
            clients.Add(await ConnectAsync(proxy));
        }

        // All twenty are parked once a further one is turned away.
        var refused = 0;
        await Eventually.True(() =>
        {
            using var extra = ConnectAsync(proxy).GetAwaiter().GetResult();
            extra.ReceiveTimeout = 200;
            try
            {
                refused = extra.GetStream().Read(new byte[1]) == 0 ? refused + 1 : refused;
            }
            catch (IOException)
            {
                // Still parked: one of the twenty had not arrived.
            }

            return refused > 0;
        }, "a connection beyond the limit is closed");

        using var backend = new EchoServer("a");
        proxy.AddBackend("a", backend.Port);
        foreach (var client in clients)
        {
            await client.GetStream().WriteAsync("1"u8.ToArray(), Eventually.Token);
            Assert.Equal("a:1", await ReadAsync(client, 3));
            client.Dispose();
        }
    }

    [Fact]
    public async Task Client_ThatHasSaidAll_StillGetsTheAnswer()
    {
        using var proxy = ServiceProxy.Listen(PortPool.Take());
        using var backend = new EchoServer("a", answerAtEnd: true);
        proxy.AddBackend("a", backend.Port);
        using var client = await ConnectAsync(proxy);
        var sent = new byte[1_000_000];
        Random.Shared.NextBytes(sent);

        var send = Task.Run(async () =>
        {
            await client.GetStream().WriteAsync(sent);
            client.Client.Shutdown(SocketShutdown.Send);
        });
        using var received = new MemoryStream();
        await client.GetStream().CopyToAsync(received, Eventually.Token);
        await send;

        Assert.Equal(sent, received.ToArray()[2..]);
    }

    private static async Task<TcpClient> ConnectAsync(ServiceProxy proxy)
    {
        var client = new TcpClient(AddressFamily.InterNetwork);
        await client.ConnectAsync(IPAddress.Loopback, proxy.Port, Eventually.Token);
        return client;
    }

    private static async Task<string> ReadAsync(TcpClient client, int count)
    {
        var buffer = new byte[count];
        await client.GetStream().ReadExactlyAsync(buffer, Eventually.Token);
        return Encoding.ASCII.GetString(buffer);
    }

    /// <summary>Answers with its name and what it got.</summary>
    private sealed class EchoServer : IDisposable
    {
        private readonly TcpListener _listener;

        public EchoServer(string name, int port = 0, bool answerAtEnd = false)
        {
            _listener = new TcpListener(IPAddress.Loopback, port);
            _listener.Start();
            _ = ServeAsync(Encoding.ASCII.GetBytes($"{name}:"), answerAtEnd);
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public void Dispose() => _listener.Dispose();

        private async Task ServeAsync(byte[] name, bool answerAtEnd)
        {
            while (true)
            {
                TcpClient client;
                try
                {
                    client = await _listener.AcceptTcpClientAsync();
                }
                catch (Exception fault) when (fault is SocketException or ObjectDisposedException)
                {
                    return;
                }

                _ = EchoAsync(client, name, answerAtEnd);
            }
        }

        private static async Task EchoAsync(TcpClient client, byte[] name, bool answerAtEnd)
        {
            using (client)
            {
                var stream = client.GetStream();
                using var answer = new MemoryStream();
                answer.Write(name);
                var buffer = new byte[65536];
                int count;
                while ((count = await stream.ReadAsync(buffer)) > 0)
                {
                    answer.Write(buffer, 0, count);
                    if (!answerAtEnd)
                    {
                        await stream.WriteAsync(answer.ToArray());
                        return;
                    }
                }

                await stream.WriteAsync(answer.ToArray());
            }
        }
    }
}
