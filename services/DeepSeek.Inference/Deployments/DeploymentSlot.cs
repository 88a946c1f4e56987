using DeepSeek.Inference.Batching;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Serving;
using DeepSeek.Onnx.Runtime;

namespace DeepSeek.Inference.Deployments;

internal enum VersionState
{
    Loading,
    Ready,
    Failed,
}

/// <summary>One version of a deployment as a replica has it.</summary>
/// <param name="Version">Its number.</param>
/// <param name="State">Whether it is served.</param>
/// <param name="Error">Why it is not.</param>
/// <param name="Attention">What a language model attends with there; null for other models and before it is served.</param>
internal sealed record VersionStatus(int Version, VersionState State, string? Error, ServedAttention? Attention = null);

/// <summary>What a deployment shall serve.</summary>
internal sealed record Target(ServedModel Model, BatchLimits Limits);

/// <summary>
/// A deployment in this replica: what it shall serve, what it serves, and who waits for the difference to go. Swapping
/// is one reference; a request that holds a lease finishes on the version it began with.
/// </summary>
internal sealed class DeploymentSlot(Guid id, string name)
{
    private readonly Lock _gate = new();
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private LoadedVersion? _current;
    private Target? _target;
    private long _revision;
    private string? _referenceError;
    private string? _loadError;
    private Target? _failed;
    private DateTimeOffset _retryAt;
    private int _failures;
    private bool _loading;
    private bool _removed;

    public Guid Id { get; } = id;

    public string Name { get; } = name;

    public LoadedVersion? Current => Volatile.Read(ref _current);

    public Target? Target
    {
        get
        {
            lock (_gate)
            {
                return _target;
            }
        }
    }

    /// <summary>Why it does not serve what it shall; null when it does or is about to.</summary>
    public string? Error
    {
        get
        {
            lock (_gate)
            {
                return _loadError ?? _referenceError;
            }
        }
    }

    /// <summary>True when waiting does not help: there is nothing to load, or loading it failed.</summary>
    public bool Hopeless
    {
        get
        {
            lock (_gate)
            {
                return _loadError is not null || (_target is null && _referenceError is not null);
            }
        }
    }

    /// <summary>True when it serves what it shall.</summary>
    public bool Converged => Target is { } target && Serves(target);

    public bool Serves(Target target) =>
        Current is { } current && current.Model.VersionId == target.Model.VersionId && current.Limits == target.Limits;

    /// <summary>The deployment's revision that it was told last.</summary>
    public long AimedRevision
    {
        get
        {
            lock (_gate)
            {
                return _revision;
            }
        }
    }

    /// <summary>The deployment's revision that it serves as it shall; null while it does not.</summary>
    public long? ServedRevision
    {
        get
        {
            lock (_gate)
            {
                return _target is { } target && Serves(target) ? _revision : null;
            }
        }
    }

    /// <summary>Sets what it shall serve; <paramref name="error"/> says what is wrong with its reference.</summary>
    /// <param name="revision">Of the deployment that asks for it.</param>
    public void Aim(Target? target, string? error, long revision)
    {
        lock (_gate)
        {
            if (_target != target)
            {
                _loadError = null;
            }

            _target = target;
            _revision = revision;
            _referenceError = error;
            Signal();
        }
    }

    /// <summary>
    /// What to load now; null when there is nothing to do. One loader works on a slot, so that versions appear in order:
    /// it asks first with <paramref name="continuing"/> false, then with true until it gets null.
    /// </summary>
    public Target? TakeLoad(DateTimeOffset now, bool continuing)
    {
        lock (_gate)
        {
            if (_loading && !continuing)
            {
                return null;
            }

            _loading = !_removed && _target is not null && !Serves(_target) && !(_target == _failed && now < _retryAt);
            return _loading ? _target : null;
        }
    }

    /// <param name="final">True when trying again cannot help.</param>
    public void Fail(Target target, string error, DateTimeOffset now, bool final)
    {
        lock (_gate)
        {
            _failures = _failed == target ? _failures + 1 : 1;
            _failed = target;
            _retryAt = final ? DateTimeOffset.MaxValue : now + TimeSpan.FromSeconds(Math.Min(60, 1 << Math.Min(_failures, 6)));
            if (_target == target)
            {
                _loadError = error;
            }

            Signal();
        }
    }

    /// <summary>Serves <paramref name="version"/> from now on, unless the slot shall serve something else by now.</summary>
    public bool Swap(LoadedVersion version, Target target)
    {
        LoadedVersion? old;
        lock (_gate)
        {
            if (_removed || _target != target)
            {
                return false;
            }

            old = _current;
            Volatile.Write(ref _current, version);
            _loadError = null;
            Signal();
        }

        old?.Retire();
        return true;
    }

    /// <summary>Serves nothing from now on; running requests finish.</summary>
    public void Unload(bool remove)
    {
        LoadedVersion? old;
        lock (_gate)
        {
            _removed |= remove;
            old = _current;
            Volatile.Write(ref _current, null);
            Signal();
        }

        old?.Retire();
    }

    /// <summary>A lease on what is served now; null when nothing is.</summary>
    public LoadedVersion? TryAcquire()
    {
        while (Current is { } current)
        {
            // A lease fails only for a version that was swapped out between the two steps.
            if (current.TryAcquire())
            {
                return current;
            }
        }

        return null;
    }

    /// <summary>Completes at the next change of anything above.</summary>
    public Task Changed
    {
        get
        {
            lock (_gate)
            {
                return _changed.Task;
            }
        }
    }

    public IReadOnlyList<VersionStatus> Versions()
    {
        lock (_gate)
        {
            var versions = new List<VersionStatus>();
            var current = _current;
            if (current is not null)
            {
                versions.Add(new(current.Model.Version, VersionState.Ready, null, current.Attention));
            }

            if (_target is { } target && current?.Model.VersionId != target.Model.VersionId)
            {
                versions.Add(new(target.Model.Version, _loadError is null ? VersionState.Loading : VersionState.Failed, _loadError));
            }

            return versions;
        }
    }

    public InferenceException NotReady() => InferenceException.NotReady(
        Error is { } error ? $"Model '{Name}' is not ready: {error}" : $"Model '{Name}' is not ready: it is being loaded.");

    private void Signal()
    {
        _changed.TrySetResult();
        _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
