using System.Collections.Immutable;
using Aspire.Hosting.Eventing;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting;

/// <summary>Runs the health checks of running resources and tells when a resource is ready.</summary>
internal sealed class HealthMonitor(
    DistributedApplicationModel model, ResourceNotificationService notifications, HealthCheckService checks,
    IDistributedApplicationEventing eventing, IServiceProvider services, ResourceLoggerService logs)
{
    private readonly CancellationTokenSource _stop = new();
    private Task _monitors = Task.CompletedTask;

    public void Start() => _monitors = Task.WhenAll(model.Resources.Select(resource => Task.Run(() => MonitorAsync(resource))));

    public async Task StopAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _monitors.ConfigureAwait(false);
    }

    private async Task MonitorAsync(IResource resource)
    {
        try
        {
            var ready = false;
            while (true)
            {
                await notifications.WaitForResourceAsync(resource.Name, change => IsRunning(change), _stop.Token).ConfigureAwait(false);
                if (resource is IResourceWithParent child)
                {
                    // It is made when its parent is ready.
                    await notifications.WaitForResourceHealthyAsync(child.Parent.Name, WaitBehavior.WaitOnResourceUnavailable, _stop.Token).ConfigureAwait(false);
                }

                ready = await WatchAsync(resource, ready).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // The application stops.
        }
    }

    /// <summary>Checks until the resource runs no longer, or was started again.</summary>
    private async Task<bool> WatchAsync(IResource resource, bool ready)
    {
        var keys = resource.Annotations.OfType<HealthCheckAnnotation>().Select(check => check.Key).ToHashSet();
        var life = LifeOf(resource);
        var interval = new PollInterval();
        while (LifeOf(resource) is { } now && now == life)
        {
            var healthy = true;
            if (keys.Count > 0)
            {
                var report = await checks.CheckHealthAsync(check => keys.Contains(check.Name), _stop.Token).ConfigureAwait(false);
                if (LifeOf(resource) != life)
                {
                    break;
                }

                healthy = report.Status == HealthStatus.Healthy;
                await PublishAsync(resource, report).ConfigureAwait(false);
            }

            if (healthy && !ready)
            {
                ready = true;
                await BecomeReadyAsync(resource).ConfigureAwait(false);
            }

            await WaitAsync(resource, life, keys.Count > 0 ? interval.Next(healthy) : Timeout.InfiniteTimeSpan).ConfigureAwait(false);
        }

        return ready;
    }

    private async Task PublishAsync(IResource resource, HealthReport report)
    {
        var reports = report.Entries.Select(entry => new HealthReportSnapshot(entry.Key, entry.Value.Status, entry.Value.Description, entry.Value.Exception?.Message)
        {
            LastRunAt = DateTime.UtcNow,
        }).ToImmutableArray();
        foreach (var state in notifications.StatesOf(resource).Where(IsRunning))
        {
            await notifications.PublishUpdateAsync(resource, state.ResourceId, snapshot => snapshot.State?.Text == KnownResourceStates.Running ? snapshot with { HealthReports = reports } : snapshot).ConfigureAwait(false);
        }
    }

    private async Task BecomeReadyAsync(IResource resource)
    {
        var handlers = eventing.PublishAsync(new ResourceReadyEvent(resource, services), _stop.Token);
        foreach (var state in notifications.StatesOf(resource))
        {
            await notifications.PublishUpdateAsync(resource, state.ResourceId, snapshot => snapshot with { ResourceReadyEvent = new EventSnapshot(handlers) }).ConfigureAwait(false);
        }

        try
        {
            await handlers.ConfigureAwait(false);
        }
        catch (Exception fault) when (!_stop.IsCancellationRequested)
        {
            logs.GetLogger(resource).LogError("What was to be done when ready failed: {Reason}", fault.Message);
        }
    }

    private async Task WaitAsync(IResource resource, string life, TimeSpan interval)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        limit.CancelAfter(interval);
        try
        {
            await notifications.WaitForResourceAsync(resource.Name, _ => LifeOf(resource) != life, limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
        {
            // Time for the next check.
        }
    }

    /// <summary>Changes whenever a process of the resource is started or ends; null while none runs.</summary>
    private string? LifeOf(IResource resource)
    {
        var running = notifications.StatesOf(resource).Where(IsRunning).Select(state => $"{state.ResourceId}@{state.Snapshot.StartTimeStamp?.Ticks}").ToArray();
        return running.Length == 0 ? null : string.Join(' ', running);
    }

    private static bool IsRunning(ResourceEvent change) => change.Snapshot.State?.Text == KnownResourceStates.Running;
}
