using System.Diagnostics;
using DeepSeek.Inference.Batching;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Rows;
using DeepSeek.Onnx.Runtime;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Inference.Serving;

/// <summary>
/// A model version in memory, ready to compute. Requests hold it by leases: once it is retired, the last lease's end
/// disposes it, so that a swap never takes a session from a running request.
/// </summary>
internal sealed class LoadedVersion
{
    private readonly OnnxSession _session;
    private readonly Batcher _batcher;
    private readonly BatchLimits _limits;
    private readonly KeyValuePair<string, object?>[] _tags;
    private bool _warm;
    private int _leases = 1;

    public LoadedVersion(string deployment, ServedModel model, OnnxSession session, BatchLimits limits, TimeProvider time)
    {
        Deployment = deployment;
        Model = model;
        Limits = limits;
        _session = session;
        // A model whose rows cannot be told apart computes every request alone.
        _limits = session.Signature.HasBatchAxis ? limits : limits with { MaxBatch = 0, MaxDelay = TimeSpan.Zero };
        _tags = [new(InferenceTelemetry.DeploymentTag, deployment), new(InferenceTelemetry.VersionTag, model.Version)];
        Statistics = new ModelStatistics(time, _tags);
        _batcher = new Batcher(_limits, session.Run, Statistics, time);
        Rows = RowModel.Of(session.Signature, session.Metadata);
        InferenceTelemetry.LoadedVersions.Add(1);
    }

    public string Deployment { get; }

    public ServedModel Model { get; }

    /// <summary>As the deployment set them.</summary>
    public BatchLimits Limits { get; }

    /// <summary>As the model allows them.</summary>
    public BatchLimits EffectiveLimits => _limits;

    public ModelSignature Signature => _session.Signature;

    /// <summary>How it goes on from keys and values; null when it cannot.</summary>
    public KeyValueLayout? Cache => _session.Cache;

    public RowModel Rows { get; }

    /// <summary>What a language model attends with, and any other whose attention is block-sparse; null for other models.</summary>
    public ServedAttention? Attention => _session.Attention ?? (Rows.IsText ? ServedAttention.Dense : null);

    public ModelStatistics Statistics { get; }

    public int QueueLength => _batcher.QueueLength;

    /// <summary>Why the warm-up failed; null when it did not. Such a model may still compute real requests.</summary>
    public string? WarmUpFault { get; private set; }

    public bool TryAcquire()
    {
        while (Volatile.Read(ref _leases) is var leases && leases > 0)
        {
            if (Interlocked.CompareExchange(ref _leases, leases + 1, leases) == leases)
            {
                return true;
            }
        }

        return false;
    }

    public void Release()
    {
        if (Interlocked.Decrement(ref _leases) == 0)
        {
            _session.Dispose();
            InferenceTelemetry.LoadedVersions.Add(-1);
        }
    }

    /// <summary>Gives up the owner's lease; to be called once.</summary>
    public void Retire() => Release();

    /// <summary>Runs made-up rows: memory is laid out and the speed known before the first request comes.</summary>
    public void WarmUp()
    {
        try
        {
            foreach (var rows in _limits.MaxBatch > 1 ? new[] { 1, 1, _limits.MaxBatch } : [1, 1])
            {
                _session.Run([WarmUpWork.Of(Signature, rows)], out var times);
                _batcher.Observe(rows, times);
            }

            _warm = true;
        }
        catch (OnnxRuntimeException fault)
        {
            WarmUpFault = fault.Message;
        }
    }

    /// <summary>Computes the work; more rows than a batch may have become several executions.</summary>
    /// <exception cref="InferenceException">Refused, or the model cannot compute it.</exception>
    public async Task<Tensor[]> InferAsync(InferenceWork work, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        var outcome = Outcome.Fail;
        try
        {
            var outputs = _limits.MaxBatch > 0 && work.Rows > _limits.MaxBatch
                ? await InferInPartsAsync(work, cancellationToken)
                : await _batcher.SubmitAsync(work, cancellationToken);
            outcome = Outcome.Success;
            return outputs;
        }
        catch (InferenceException)
        {
            outcome = Outcome.Rejected;
            throw;
        }
        catch (OperationCanceledException)
        {
            outcome = Outcome.Cancelled;
            throw;
        }
        catch (NotSplittableException fault)
        {
            throw InferenceException.BadRequest($"{fault.Message} Send at most {_limits.MaxBatch} rows to this model.");
        }
        catch (OnnxRuntimeException fault)
        {
            // The signature fits and made-up rows computed: then it is these values that the model cannot compute.
            throw new InferenceException(
                _warm ? StatusCodes.Status400BadRequest : StatusCodes.Status500InternalServerError,
                $"The model cannot compute these inputs: {fault.Message}");
        }
        finally
        {
            Statistics.RecordRequest(outcome, started);
        }
    }

    /// <summary>One part after the other: a large request takes one place in the queue and lets others pass in between.</summary>
    private async Task<Tensor[]> InferInPartsAsync(InferenceWork work, CancellationToken cancellationToken)
    {
        var parts = new List<Tensor[]>();
        for (var start = 0L; start < work.Rows; start += _limits.MaxBatch)
        {
            var rows = Math.Min(_limits.MaxBatch, work.Rows - start);
            var outputs = await _batcher.SubmitAsync(work.Slice(start, rows), cancellationToken);
            if (Array.Find(outputs, o => o.Shape.Length == 0 || o.Shape[0] != rows) is { } odd)
            {
                throw new NotSplittableException($"Output '{odd.Name}' has shape {Shapes.Text(odd.Shape)} for {rows} rows.");
            }

            parts.Add(outputs);
        }

        return [.. work.Outputs.Select((_, o) => Tensor.Concatenate([.. parts.Select(p => p[o])]))];
    }
}

/// <summary>Which registered version a session holds.</summary>
internal sealed record ServedModel(Guid VersionId, string Name, int Version, string Sha256);
