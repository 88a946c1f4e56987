using System.Text;
using System.Text.Json;
using DeepSeek.Inference.Protocol;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Inference.Generation;

/// <summary>
/// Sends a text as server-sent events while it is written: <c>data: {"text": …}</c> for each token that completes a character, at the end
/// the reply and <c>data: [DONE]</c>. A fault after the first token is an event <c>data: {"error": {…}}</c> without that end.
/// </summary>
internal sealed class EventWriter(HttpResponse response)
{
    /// <param name="bytes">What is written; its first fault, before anything is sent, goes to the caller.</param>
    /// <param name="reply">The reply as far as it is known.</param>
    /// <param name="most">Tokens asked for.</param>
    /// <param name="ended">Told how it ended, also when the client has left.</param>
    /// <param name="cancellationToken">Ends when the client leaves.</param>
    public async Task WriteAsync(IAsyncEnumerator<byte> bytes, GenerateReply reply, int most, Action<GenerateReply> ended, CancellationToken cancellationToken)
    {
        var more = await bytes.MoveNextAsync();
        try
        {
            response.ContentType = "text/event-stream";
            response.Headers.CacheControl = "no-store";
            response.Headers["X-Accel-Buffering"] = "no";
            var (decoder, characters) = (Encoding.UTF8.GetDecoder(), new char[4]);
            while (more)
            {
                reply = reply with { Tokens = reply.Tokens + 1 };
                if (decoder.GetChars([bytes.Current], characters, flush: false) is > 0 and var count)
                {
                    await SendAsync(new GenerateEvent(new string(characters, 0, count)), cancellationToken);
                }

                more = await bytes.MoveNextAsync();
            }

            reply = reply with { FinishReason = GenerateHandler.FinishReason(reply.Tokens, most), Text = new string(characters, 0, decoder.GetChars([], characters, flush: true)) };
            await SendAsync(reply, cancellationToken);
            await SendAsync("[DONE]"u8.ToArray(), cancellationToken);
        }
        catch (InferenceException fault)
        {
            await SendAsync(new { Error = new { fault.Status, fault.Message } }, cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The client has left: nobody is there to be told.
        }
        finally
        {
            ended(reply);
        }
    }

    private Task SendAsync<T>(T data, CancellationToken cancellationToken) => SendAsync(JsonSerializer.SerializeToUtf8Bytes(data, PlatformJson.Options), cancellationToken);

    // JSON escapes line breaks, so one line is enough.
    private async Task SendAsync(byte[] data, CancellationToken cancellationToken)
    {
        await response.Body.WriteAsync((byte[])[.. "data: "u8, .. data, .. "\n\n"u8], cancellationToken);
        await response.Body.FlushAsync(cancellationToken);
    }
}
