using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting;

/// <summary>Healthy when a connection can be opened and closed with the resource's credentials (AMQP 0-9-1, section 2.2.4).</summary>
internal sealed class RabbitMQHealthCheck(RabbitMQServerResource broker) : IHealthCheck
{
    private const ushort ConnectionClass = 10;
    private const ushort Start = 10;
    private const ushort StartOk = 11;
    private const ushort Tune = 30;
    private const ushort TuneOk = 31;
    private const ushort Open = 40;
    private const ushort OpenOk = 41;
    private const ushort Close = 50;
    private const ushort CloseOk = 51;

    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(5));
        try
        {
            var user = await broker.UserNameReference.GetValueAsync(limit.Token).ConfigureAwait(false);
            using var client = new TcpClient();
            await client.ConnectAsync(broker.PrimaryEndpoint.Host, broker.PrimaryEndpoint.Port, limit.Token).ConfigureAwait(false);
            await ShakeHandsAsync(client.GetStream(), user!, broker.PasswordParameter.Value, limit.Token).ConfigureAwait(false);
            return HealthCheckResult.Healthy();
        }
        catch (Exception fault) when (fault is SocketException or IOException or InvalidDataException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            return HealthCheckResult.Unhealthy(fault.Message, fault);
        }
    }

    private static async Task ShakeHandsAsync(NetworkStream stream, string user, string password, CancellationToken cancellationToken)
    {
        await stream.WriteAsync("AMQP\0\0\u0009\u0001"u8.ToArray(), cancellationToken).ConfigureAwait(false);
        await ExpectAsync(stream, Start, cancellationToken).ConfigureAwait(false);
        await SendAsync(stream, StartOk, [0, 0, 0, 0, .. ShortText("PLAIN"), .. LongText($"\0{user}\0{password}"), .. ShortText("en_US")], cancellationToken).ConfigureAwait(false);
        var tune = await ExpectAsync(stream, Tune, cancellationToken).ConfigureAwait(false);
        // The server's limits are taken as they are, without heartbeats.
        await SendAsync(stream, TuneOk, [.. tune.AsSpan(4, 6), 0, 0], cancellationToken).ConfigureAwait(false);
        await SendAsync(stream, Open, [.. ShortText("/"), 0, 0], cancellationToken).ConfigureAwait(false);
        await ExpectAsync(stream, OpenOk, cancellationToken).ConfigureAwait(false);
        await SendAsync(stream, Close, [0, 200, .. ShortText("checked"), 0, 0, 0, 0], cancellationToken).ConfigureAwait(false);
        await ExpectAsync(stream, CloseOk, cancellationToken).ConfigureAwait(false);
    }

    private static async Task SendAsync(NetworkStream stream, ushort method, byte[] arguments, CancellationToken cancellationToken)
    {
        var frame = new byte[12 + arguments.Length];
        frame[0] = 1; // a method, on channel 0
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(3), 4 + arguments.Length);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(7), ConnectionClass);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(9), method);
        arguments.CopyTo(frame, 11);
        frame[^1] = 0xCE;
        await stream.WriteAsync(frame, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The payload of the next frame: class, method, arguments.</summary>
    private static async Task<byte[]> ExpectAsync(NetworkStream stream, ushort method, CancellationToken cancellationToken)
    {
        var head = new byte[7];
        await stream.ReadExactlyAsync(head, cancellationToken).ConfigureAwait(false);
        var size = BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(3));
        if (head[0] != 1 || size is < 4 or > 1 << 20)
        {
            throw new InvalidDataException("The broker's answer is not an AMQP method.");
        }

        var payload = new byte[size + 1];
        await stream.ReadExactlyAsync(payload, cancellationToken).ConfigureAwait(false);
        var got = BinaryPrimitives.ReadUInt16BigEndian(payload.AsSpan(2));
        return got == method ? payload : throw new InvalidDataException(got == Close
            ? $"The broker closed the connection with code {BinaryPrimitives.ReadUInt16BigEndian(payload.AsSpan(4))}."
            : $"The broker sent method {got}, expected {method}.");
    }

    private static byte[] ShortText(string text) => [(byte)text.Length, .. Encoding.UTF8.GetBytes(text)];

    private static byte[] LongText(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        var length = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(length, bytes.Length);
        return [.. length, .. bytes];
    }
}
