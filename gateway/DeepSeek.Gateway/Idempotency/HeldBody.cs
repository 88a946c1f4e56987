namespace DeepSeek.Gateway.Idempotency;

/// <summary>Holds a response back until it can be stored; one that grows over the limit passes through from then on, and one that is sent bit by bit from the start.</summary>
internal sealed class HeldBody(Stream client, int limit, Func<bool> isStream) : Stream
{
    private readonly MemoryStream _held = new();

    public bool IsHeld { get; private set; } = true;
    public byte[] Bytes => _held.ToArray();

    public async Task ReleaseAsync(CancellationToken cancellationToken)
    {
        if (IsHeld)
        {
            IsHeld = false;
            _held.Position = 0;
            await _held.CopyToAsync(client, cancellationToken);
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (IsHeld && (_held.Length + buffer.Length > limit || isStream()))
        {
            await ReleaseAsync(cancellationToken);
        }

        // What is held is for the repeat as well: it must be whole though this client may have gone.
        await (IsHeld ? _held.WriteAsync(buffer, CancellationToken.None) : client.WriteAsync(buffer, cancellationToken));
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task FlushAsync(CancellationToken cancellationToken) => IsHeld ? Task.CompletedTask : client.FlushAsync(cancellationToken);

    public override void Flush()
    {
        if (!IsHeld)
        {
            client.Flush();
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("Responses are written asynchronously.");
    public override bool CanRead => false;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
}
