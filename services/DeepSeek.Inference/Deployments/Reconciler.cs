using System.Collections.Concurrent;
using System.Globalization;
using DeepSeek.Inference.Batching;
using DeepSeek.Inference.Data;
using DeepSeek.Inference.Serving;
using DeepSeek.ServiceDefaults;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Deployments;

/// <summary>
/// Makes this replica serve what the database says. Events only make it look sooner: it also looks on its own, so a lost
/// event, a restart or a swap elsewhere costs time, never correctness.
/// </summary>
internal sealed partial class Reconciler(
    DeploymentTable table, DeploymentStore store, ModelLoader loader, IServiceScopeFactory scopes, ReconcileSignal signal,
    IOptions<InferenceOptions> options, TimeProvider time, ILogger<Reconciler> logger) : BackgroundService
{
    private const int Parallelism = 4;

    private readonly ConcurrentDictionary<Task, DeploymentSlot> _loads = new();
    private readonly SemaphoreSlim _reporting = new(1);

    /// <summary>The service counts as ready after this even if a model is still loading: it must not hold up the others.</summary>
    private static readonly TimeSpan SettleWithin = TimeSpan.FromSeconds(20);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var settling = SettleAsync(stoppingToken);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await CompareAsync(stoppingToken);
                FirstComparison.TrySetResult();
            }
            catch (Exception fault) when (!stoppingToken.IsCancellationRequested)
            {
                LogComparisonFailed(fault.Message);
            }

            await signal.WaitAsync(TimeSpan.FromSeconds(options.Value.PollSeconds), stoppingToken);
        }

        await settling;
    }

    /// <summary>Stops comparing, then gives back what is loaded once the requests on it have ended.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        await Task.WhenAll(_loads.Keys);
        foreach (var slot in table.Slots.ToList())
        {
            table.Remove(slot);
        }

        try
        {
            await store.LeaveAsync(table.Replica);
        }
        catch (Exception fault) when (fault is System.Data.Common.DbException or InvalidOperationException)
        {
            LogReportFailed(fault.Message);
        }
    }

    private TaskCompletionSource FirstComparison { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private async Task SettleAsync(CancellationToken stoppingToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
        deadline.CancelAfter(SettleWithin);
        try
        {
            await FirstComparison.Task.WaitAsync(deadline.Token);
            foreach (var slot in table.Slots)
            {
                for (var changed = slot.Changed; !slot.Converged && !slot.Hopeless; changed = slot.Changed)
                {
                    await changed.WaitAsync(deadline.Token);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Late or stopping: ready is what is there.
        }

        table.MarkSettled();
    }

    private async Task CompareAsync(CancellationToken cancellationToken)
    {
        var deployments = (await store.ListEnabledAsync(cancellationToken)).ToDictionary(d => d.Name, StringComparer.Ordinal);
        foreach (var slot in table.Slots.Where(s => deployments.GetValueOrDefault(s.Name)?.Id != s.Id).ToList())
        {
            table.Remove(slot);
            LogRemoved(slot.Name);
        }

        await Parallel.ForEachAsync(
            deployments.Values,
            new ParallelOptions { MaxDegreeOfParallelism = Parallelism, CancellationToken = cancellationToken },
            async (deployment, ct) => await AimAsync(deployment, ct));
        await ReportAsync(cancellationToken);
    }

    private async Task AimAsync(Deployment deployment, CancellationToken cancellationToken)
    {
        var slot = table.Ensure(deployment.Id, deployment.Name);
        var (model, error) = await ResolveAsync(deployment, cancellationToken);
        slot.Aim(model is null ? null : new Target(model, Limits(deployment)), error, deployment.Revision);
        if (model is null)
        {
            slot.Unload(remove: false);
        }
        else if (slot.TakeLoad(time.GetUtcNow(), continuing: false) is { } target)
        {
            var load = LoadAsync(slot, target, cancellationToken);
            _loads.TryAdd(load, slot);
            _ = load.ContinueWith(done => _loads.TryRemove(done, out _), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
    }

    private async Task<(ServedModel? Model, string? Error)> ResolveAsync(Deployment deployment, CancellationToken cancellationToken)
    {
        var last = deployment.Version is { } v ? new ServedModel(v.Id, v.Model, v.Version, v.Sha256) : null;
        try
        {
            await using var scope = scopes.CreateAsyncScope();
            var registry = scope.ServiceProvider.GetRequiredService<RegistryClient>();
            if (await registry.ResolveAsync(deployment.Model, deployment.Ref, cancellationToken) is { } found)
            {
                if (found.VersionId != last?.VersionId)
                {
                    await store.RecordTargetAsync(deployment.Id, found, cancellationToken);
                }

                return (found, null);
            }

            // A version that was deleted shall be gone; an alias that was removed says nothing about what it pointed to.
            return int.TryParse(deployment.Ref, CultureInfo.InvariantCulture, out _)
                ? (null, $"the registry has no version {deployment.Ref} of model '{deployment.Model}' any more.")
                : (last, $"model '{deployment.Model}' has no alias '{deployment.Ref}' any more; the last version goes on being served.");
        }
        catch (InvalidModelException fault)
        {
            return (last, fault.Message);
        }
        catch (Exception fault) when (!cancellationToken.IsCancellationRequested)
        {
            LogRegistryAway(deployment.Name, fault.Message);
            return (last, last is null ? "the registry cannot be reached." : null);
        }
    }

    private async Task LoadAsync(DeploymentSlot slot, Target first, CancellationToken stopping)
    {
        for (var target = first; target is not null; target = slot.TakeLoad(time.GetUtcNow(), continuing: true))
        {
            try
            {
                LogLoading(slot.Name, target.Model.Version);
                var version = await loader.LoadAsync(slot.Name, target, stopping);
                if (version.WarmUpFault is { } cold)
                {
                    LogCold(slot.Name, target.Model.Version, cold);
                }

                if (slot.Swap(version, target))
                {
                    LogServing(slot.Name, target.Model.Name, target.Model.Version);
                }
                else
                {
                    version.Retire();
                }
            }
            catch (Exception fault)
            {
                if (stopping.IsCancellationRequested)
                {
                    return;
                }

                // Whatever it was, this version is not served and the last one goes on; the slot tells why.
                slot.Fail(target, fault.Message, time.GetUtcNow(), final: fault is InvalidModelException);
                LogFailed(fault, slot.Name, target.Model.Version);
            }
        }

        await ReportAsync(stopping);
    }

    private async Task ReportAsync(CancellationToken cancellationToken)
    {
        try
        {
            // One at a time: a report must not be overtaken by one of an earlier moment.
            await _reporting.WaitAsync(cancellationToken);
            try
            {
                await store.ReportAsync(table.Replica, table.Slots.Select(s => new SlotReport(s.Id, s.Versions(), s.ServedRevision)), cancellationToken);
            }
            finally
            {
                _reporting.Release();
            }
        }
        catch (Exception fault) when (!cancellationToken.IsCancellationRequested)
        {
            LogReportFailed(fault.Message);
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    public static BatchLimits Limits(Deployment deployment) =>
        new(deployment.MaxBatch, TimeSpan.FromMilliseconds(deployment.MaxDelayMs), deployment.MaxQueue);

    [LoggerMessage(LogLevel.Information, "{Deployment}: loading version {Version}")]
    private partial void LogLoading(string deployment, int version);

    [LoggerMessage(LogLevel.Information, "{Deployment} serves {Model} version {Version}")]
    private partial void LogServing(string deployment, string model, int version);

    [LoggerMessage(LogLevel.Information, "{Deployment} is not served any more")]
    private partial void LogRemoved(string deployment);

    [LoggerMessage(LogLevel.Warning, "{Deployment}: version {Version} could not run made-up rows: {Reason}")]
    private partial void LogCold(string deployment, int version, string reason);

    [LoggerMessage(LogLevel.Error, "{Deployment}: version {Version} cannot be served")]
    private partial void LogFailed(Exception fault, string deployment, int version);

    [LoggerMessage(LogLevel.Warning, "{Deployment}: the registry does not answer ({Reason}); the last known version stays")]
    private partial void LogRegistryAway(string deployment, string reason);

    [LoggerMessage(LogLevel.Warning, "Deployments could not be compared: {Reason}")]
    private partial void LogComparisonFailed(string reason);

    [LoggerMessage(LogLevel.Warning, "This replica's state could not be stored: {Reason}")]
    private partial void LogReportFailed(string reason);
}
