using System.Runtime.ExceptionServices;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Data;

/// <summary>One batch: features [rows, ..] and targets [rows], valid until the next one is asked for.</summary>
/// <param name="Features">Features as stored: float32, bytes for images, int16 for tokens.</param>
/// <param name="Target">Class indices (int64) or numbers (float32).</param>
/// <param name="Rows">Rows in the batch.</param>
/// <param name="Epoch">Epoch, from 0.</param>
/// <param name="Index">Place in the epoch, from 0.</param>
public readonly record struct Batch(Tensor Features, Tensor Target, int Rows, int Epoch, int Index);

/// <summary>How a <see cref="BatchLoader"/> goes through a split.</summary>
public sealed record BatchOptions
{
    /// <summary>Rows of a batch; the last one of an epoch may be shorter.</summary>
    public required int BatchSize { get; init; }

    /// <summary>Seed of the shuffling; null keeps the stored order.</summary>
    public long? Seed { get; init; }

    /// <summary>Epochs to deliver.</summary>
    public int Epochs { get; init; } = 1;

    /// <summary>Leaves out a last batch with fewer rows than this: batch normalisation cannot train on one row.</summary>
    public int LeastRows { get; init; } = 1;

    /// <summary>Bytes of shards held in memory at a time (at least one shard).</summary>
    public long WindowBytes { get; init; } = 512L << 20;

    /// <summary>Batches prepared ahead.</summary>
    public int Prefetch { get; init; } = 3;

    /// <summary>Epoch and batch to start with, to take up a run again.</summary>
    public (int Epoch, int Batch) Start { get; init; }
}

/// <summary>Delivers batches that a background thread fills ahead into a ring of tensors made once.</summary>
public sealed class BatchLoader : IDisposable
{
    private const int EndMark = -1;

    private sealed unsafe class Slot
    {
        private readonly nint _features;
        private readonly nint _target;

        internal Slot(TensorHandle features, TensorHandle target)
        {
            (Features, Target) = (features, target);
            fixed (byte* pointer = features.Bytes())
            {
                _features = (nint)pointer;
            }
            fixed (byte* pointer = target.Bytes())
            {
                _target = (nint)pointer;
            }
        }

        internal TensorHandle Features { get; }
        internal TensorHandle Target { get; }
        internal int Rows;
        internal int Epoch;
        internal int Index;

        internal Span<byte> FeatureBytes(int from, int length) => new((byte*)_features + from, length);

        internal Span<byte> TargetBytes(int from, int length) => new((byte*)_target + from, length);
    }

    private readonly ShardSet _shards;
    private readonly BatchOptions _options;
    private readonly RowOrder _order;
    private readonly Slot[] _ring;
    private readonly SemaphoreSlim _free;
    private readonly SemaphoreSlim _filled = new(0);
    private readonly CancellationTokenSource _stop = new();
    private readonly CancellationToken _stopping;
    private readonly Thread _thread;
    private byte[] _features = [];
    private byte[] _targets = [];
    private int[] _permutation = [];
    private Window? _loaded;
    private ExceptionDispatchInfo? _fault;
    private bool _ended;
    private int _next;
    private int _fill;
    private bool _holding;

    /// <summary>Starts filling.</summary>
    public BatchLoader(ShardSet shards, BatchOptions options)
    {
        _shards = shards;
        _options = options;
        _order = new RowOrder(shards, options.Seed, options.WindowBytes);
        _ring = [.. Enumerable.Range(0, options.Prefetch + 1).Select(_ => new Slot(
            TensorHandle.Empty(shards.FeatureType, [options.BatchSize, .. shards.FeatureShape]),
            TensorHandle.Empty(shards.TargetType, options.BatchSize)))];
        _free = new SemaphoreSlim(_ring.Length);
        _stopping = _stop.Token;
        _thread = new Thread(Fill) { IsBackground = true, Name = "batch loader" };
        _thread.Start();
    }

    /// <summary>Batches of one epoch.</summary>
    public static int BatchesPerEpoch(long rows, int batchSize, int leastRows) =>
        checked((int)(rows / batchSize + (rows % batchSize >= Math.Max(1, leastRows) ? 1 : 0)));

    /// <summary>Waits for the next batch; false after the last epoch. The former batch's tensors are used again.</summary>
    /// <exception cref="InvalidDataException">A shard is damaged.</exception>
    public bool Next(out Batch batch)
    {
        if (_holding)
        {
            _next = (_next + 1) % _ring.Length;
            _holding = false;
            _free.Release();
        }
        if (!_ended)
        {
            using var waiting = Trace.IsRunning ? Trace.Enter(TraceEventKind.Data, "batches") : default;
            _filled.Wait();
        }
        var slot = _ring[_next];
        if (slot.Rows == EndMark)
        {
            _ended = true;
            _fault?.Throw();
            batch = default;
            return false;
        }
        _holding = true;
        var whole = slot.Rows == _options.BatchSize;
        batch = new Batch(
            whole ? slot.Features.Tensor : slot.Features.Tensor.Narrow(0, 0, slot.Rows),
            whole ? slot.Target.Tensor : slot.Target.Tensor.Narrow(0, 0, slot.Rows),
            slot.Rows, slot.Epoch, slot.Index);
        return true;
    }

    /// <summary>Stops the thread and frees the ring.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        _thread.Join();
        foreach (var slot in _ring)
        {
            slot.Features.Dispose();
            slot.Target.Dispose();
        }
        _free.Dispose();
        _filled.Dispose();
        _stop.Dispose();
    }

    private void Fill()
    {
        try
        {
            for (var epoch = _options.Start.Epoch; epoch < _options.Epochs; epoch++)
            {
                FillEpoch(epoch, epoch == _options.Start.Epoch ? _options.Start.Batch : 0);
            }
            Mark();
        }
        catch (OperationCanceledException)
        {
            // Disposed: nobody waits for more.
        }
        catch (Exception fault)
        {
            _fault = ExceptionDispatchInfo.Capture(fault);
            try { Mark(); } catch (OperationCanceledException) { /* disposed meanwhile */ }
        }
    }

    /// <summary>Publishes the end (or the fault) behind the batches filled before.</summary>
    private void Mark()
    {
        _free.Wait(_stopping);
        _ring[_fill].Rows = EndMark;
        _filled.Release();
    }

    private void FillEpoch(int epoch, int firstBatch)
    {
        var skip = (long)firstBatch * _options.BatchSize;
        var index = firstBatch;
        var rows = 0;
        var windows = _order.Windows(epoch);
        for (var w = 0; w < windows.Count; w++)
        {
            var window = windows[w];
            if (skip >= window.Rows)
            {
                skip -= window.Rows;
                continue;
            }
            Load(window);
            var permutation = _permutation.AsSpan(0, window.Rows);
            _order.Permute(epoch, w, permutation);
            foreach (var row in permutation[(int)skip..])
            {
                if (rows == 0)
                {
                    _free.Wait(_stopping);
                }
                var slot = _ring[_fill];
                _features.AsSpan(row * _shards.RowBytes, _shards.RowBytes).CopyTo(slot.FeatureBytes(rows * _shards.RowBytes, _shards.RowBytes));
                _targets.AsSpan(row * _shards.TargetBytes, _shards.TargetBytes).CopyTo(slot.TargetBytes(rows * _shards.TargetBytes, _shards.TargetBytes));
                if (++rows == _options.BatchSize)
                {
                    Publish(rows, epoch, index++);
                    rows = 0;
                }
            }
            skip = 0;
        }
        if (rows >= Math.Max(1, _options.LeastRows))
        {
            Publish(rows, epoch, index);
        }
        else if (rows > 0)
        {
            _free.Release();
        }
    }

    private void Publish(int rows, int epoch, int index)
    {
        var slot = _ring[_fill];
        (slot.Rows, slot.Epoch, slot.Index) = (rows, epoch, index);
        _fill = (_fill + 1) % _ring.Length;
        _filled.Release();
    }

    private void Load(Window window)
    {
        if (_loaded is not null && _loaded.Shards.SequenceEqual(window.Shards))
        {
            return;
        }
        _loaded = null;
        Fit(ref _features, (long)window.Rows * _shards.RowBytes);
        Fit(ref _targets, (long)window.Rows * _shards.TargetBytes);
        Fit(ref _permutation, window.Rows);
        var row = 0;
        foreach (var shard in window.Shards)
        {
            foreach (var block in _shards.Read(shard))
            {
                _stopping.ThrowIfCancellationRequested();
                if (row + block.Rows > window.Rows)
                {
                    throw new InvalidDataException($"Shard {_shards.Shards[shard].Path} has more rows than its manifest says. Prepare the dataset again.");
                }
                block.Features.Data.CopyTo(_features.AsSpan(row * _shards.RowBytes));
                block.Target.Data.CopyTo(_targets.AsSpan(row * _shards.TargetBytes));
                row += block.Rows;
            }
        }
        _loaded = window;
    }

    private static void Fit<T>(ref T[] buffer, long length)
    {
        if (length > Array.MaxLength)
        {
            throw new InvalidDataException("One shard is larger than 2 GiB. Prepare the dataset again, in smaller shards.");
        }
        if (buffer.Length < length)
        {
            buffer = new T[length];
        }
    }
}
