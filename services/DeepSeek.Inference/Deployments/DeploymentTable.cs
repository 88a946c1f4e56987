using System.Collections.Concurrent;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Serving;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Deployments;

/// <summary>The deployments of this replica, by name: where requests find their model.</summary>
internal sealed class DeploymentTable(ReconcileSignal signal, DeploymentStore store, IOptions<InferenceOptions> options, TimeProvider time)
{
    private readonly ConcurrentDictionary<string, DeploymentSlot> _slots = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource _settled = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Names this process in the database and in replies about replicas.</summary>
    public string Replica { get; } = $"{Environment.MachineName}-{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..8]}";

    public IEnumerable<DeploymentSlot> Slots => _slots.Values.OrderBy(s => s.Name, StringComparer.Ordinal);

    /// <summary>True once every deployment known at start was loaded or has failed.</summary>
    public bool Settled => _settled.Task.IsCompleted;

    public void MarkSettled() => _settled.TrySetResult();

    public DeploymentSlot? Find(string name) => _slots.GetValueOrDefault(name);

    /// <summary>The slot of a deployment; a deleted and newly created one of the same name gets a new slot.</summary>
    public DeploymentSlot Ensure(Guid id, string name)
    {
        var slot = _slots.GetOrAdd(name, _ => new DeploymentSlot(id, name));
        if (slot.Id != id)
        {
            slot.Unload(remove: true);
            _slots[name] = slot = new DeploymentSlot(id, name);
        }

        return slot;
    }

    public void Remove(DeploymentSlot slot)
    {
        if (_slots.TryRemove(KeyValuePair.Create(slot.Name, slot)))
        {
            slot.Unload(remove: true);
        }
    }

    /// <summary>A lease on what serves this name (and version); waits, within bounds, for one that is being loaded.</summary>
    /// <exception cref="InferenceException">404: no such deployment or version. 503: not loaded in time.</exception>
    public async Task<LoadedVersion> AcquireAsync(string name, string? version, CancellationToken cancellationToken)
    {
        if (Find(name)?.TryAcquire() is not { } loaded)
        {
            loaded = await WaitAsync(name, cancellationToken);
        }

        if (version is not null && version != loaded.Model.Version.ToString(System.Globalization.CultureInfo.InvariantCulture))
        {
            loaded.Release();
            throw InferenceException.NotFound($"Model '{name}' has no version {JsonText.Shorten(version)} loaded; it serves version {loaded.Model.Version}.");
        }

        return loaded;
    }

    private async Task<LoadedVersion> WaitAsync(string name, CancellationToken cancellationToken)
    {
        // Another replica may have created it a moment ago: the event is on its way, the database knows.
        if (Find(name) is null && !await store.IsEnabledAsync(name, cancellationToken))
        {
            throw InferenceException.NotFound($"There is no model {JsonText.Shorten(name)}; create it with PUT /api/v1/deployments/{{name}}.");
        }

        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(options.Value.LoadWaitSeconds));
        signal.Raise();
        while (true)
        {
            var slot = Find(name);
            var changed = slot?.Changed ?? Task.Delay(TimeSpan.FromMilliseconds(50), time, patience.Token);
            if (slot?.TryAcquire() is { } loaded)
            {
                return loaded;
            }

            if (slot is { Hopeless: true })
            {
                throw slot.NotReady();
            }

            try
            {
                await changed.WaitAsync(patience.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw slot?.NotReady() ?? InferenceException.NotReady($"Model '{name}' is not ready: this replica has not loaded it yet.");
            }
        }
    }
}
