using Aspire.Hosting.Eventing;
using Microsoft.Extensions.Hosting;

namespace Aspire.Hosting;

/// <summary>Starts and stops the application with the host.</summary>
internal sealed class ApplicationRunner(
    DistributedApplicationModel model, DistributedApplicationOptions options, IDistributedApplicationEventing eventing, IServiceProvider services, LocalData data,
    Watchdog watchdog, EndpointAllocator endpoints, EndpointFile addresses, ResourceControllers controllers, PassiveResources passive, HealthMonitor health, StartupReport report,
    StatusServer status) : IHostedService, IAsyncDisposable
{
    private DataLock? _lock;
    private bool _stopped;

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new DistributedApplicationException("This host runs applications on Linux. Elsewhere build with -p:UseAspire=true.");
        }

        _lock = DataLock.Take(data);
        try
        {
            await StartResourcesAsync(cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await StopAsync(CancellationToken.None).ConfigureAwait(false);
            throw;
        }
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        if (_stopped)
        {
            return;
        }

        _stopped = true;
        report.Stop();
        await health.StopAsync().ConfigureAwait(false);
        await controllers.EndAsync().ConfigureAwait(false);
        await status.StopAsync().ConfigureAwait(false);
        endpoints.Dispose();
        watchdog.Dispose();
        if (_lock is not null)
        {
            addresses.Delete();
            _lock.Dispose();
        }
    }

    // An application that is disposed without having been stopped leaves nothing behind either.
    public async ValueTask DisposeAsync() => await StopAsync(CancellationToken.None).ConfigureAwait(false);

    private async Task StartResourcesAsync(CancellationToken cancellationToken)
    {
        await eventing.PublishAsync(new BeforeStartEvent(services, model), cancellationToken).ConfigureAwait(false);
        watchdog.Start();
        foreach (var resource in model.Resources.OfType<IResourceWithEndpoints>())
        {
            endpoints.Allocate(resource);
            await eventing.PublishAsync(new ResourceEndpointsAllocatedEvent(resource, services), cancellationToken).ConfigureAwait(false);
        }

        addresses.Write();
        controllers.Create();
        await passive.PublishAsync().ConfigureAwait(false);
        foreach (var resource in model.Resources.OfType<IResourceWithConnectionString>().Where(resource => resource is not ParameterResource))
        {
            await eventing.PublishAsync(new ConnectionStringAvailableEvent(resource, services), cancellationToken).ConfigureAwait(false);
        }

        if (!options.DisableDashboard)
        {
            await status.StartAsync(cancellationToken).ConfigureAwait(false);
        }

        health.Start();
        report.Start();
        controllers.Begin();
        await eventing.PublishAsync(new AfterResourcesCreatedEvent(services, model), cancellationToken).ConfigureAwait(false);
    }
}
