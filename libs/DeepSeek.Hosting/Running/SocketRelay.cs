using System.Buffers;
using System.Net.Sockets;

namespace Aspire.Hosting;

/// <summary>Copies bytes between two sockets, both ways.</summary>
internal static class SocketRelay
{
    private const int BufferBytes = 32 * 1024;

    public static async Task RunAsync(Socket one, Socket other, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await Task.WhenAll(CopyAsync(one, other, either), CopyAsync(other, one, either)).ConfigureAwait(false);
    }

    private static async Task CopyAsync(Socket from, Socket to, CancellationTokenSource either)
    {
        try
        {
            while (true)
            {
                // Waits without a buffer, so that an idle connection holds none.
                await from.ReceiveAsync(Memory<byte>.Empty, SocketFlags.None, either.Token).ConfigureAwait(false);
                var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
                try
                {
                    var count = await from.ReceiveAsync(buffer.AsMemory(0, BufferBytes), SocketFlags.None, either.Token).ConfigureAwait(false);
                    if (count == 0)
                    {
                        // This side said its last word; the other may still answer.
                        to.Shutdown(SocketShutdown.Send);
                        return;
                    }

                    for (var sent = 0; sent < count;)
                    {
                        sent += await to.SendAsync(buffer.AsMemory(sent, count - sent), SocketFlags.None, either.Token).ConfigureAwait(false);
                    }
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                }
            }
        }
        catch
        {
            await either.CancelAsync().ConfigureAwait(false);
            throw;
        }
    }
}
