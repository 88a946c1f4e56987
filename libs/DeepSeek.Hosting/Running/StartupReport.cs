using System.Diagnostics;
using System.Net.Sockets;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting;

/// <summary>Says when everything is healthy, how long it took and where to look.</summary>
internal sealed partial class StartupReport(
    DistributedApplicationModel model, ResourceNotificationService notifications, ResourceControllers controllers, StatusServer status, ILogger<StartupReport> log)
{
    private readonly CancellationTokenSource _stop = new();

    public void Start() => _ = RunAsync();

    public void Stop() => _stop.Cancel();

    private async Task RunAsync()
    {
        try
        {
            var awaited = model.Resources.Where(resource => !resource.HasAnnotationOfType<ExplicitStartupAnnotation>()).ToArray();
            await Task.WhenAll(awaited.Select(ReadyAsync)).ConfigureAwait(false);
            await Task.WhenAll(controllers.Replicas.Where(replica => awaited.Contains(replica.Resource)).SelectMany(replica => replica.Ports.Values).Select(ListensAsync)).ConfigureAwait(false);
            using var host = Process.GetCurrentProcess();
            AllHealthy(log, (DateTime.Now - host.StartTime).TotalSeconds);
            foreach (var endpoint in model.Resources.OfType<IResourceWithEndpoints>().SelectMany(resource => resource.GetEndpoints()).Where(endpoint => endpoint.EndpointAnnotation.IsExternal))
            {
                External(log, endpoint.Resource.Name, endpoint.Url);
            }

            if (status.Url is { } url)
            {
                StatusPage(log, url);
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Stopped before everything was healthy.
        }
    }

    // What is done when a resource is ready ends after its state has changed, and changes it no more: await it apart from the state.
    private async Task ReadyAsync(IResource resource)
    {
        await notifications.WaitForResourceAsync(resource.Name, _ => notifications.StatesOf(resource).All(IsReady), _stop.Token).ConfigureAwait(false);
        await Task.WhenAll(notifications.StatesOf(resource).Select(state => state.Snapshot.ResourceReadyEvent?.EventTask ?? Task.CompletedTask)).WaitAsync(_stop.Token).ConfigureAwait(false);
    }

    private static bool IsReady(ResourceEvent state)
        => state.Snapshot is { HealthStatus: HealthStatus.Healthy, ResourceReadyEvent: not null } || state.Snapshot.State?.Text == KnownResourceStates.Finished;

    // A check through the proxy is answered by any replica: look at each.
    private async Task ListensAsync(int port)
    {
        while (true)
        {
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync("127.0.0.1", port, _stop.Token).ConfigureAwait(false);
                return;
            }
            catch (SocketException)
            {
                await Task.Delay(50, _stop.Token).ConfigureAwait(false);
            }
        }
    }

    [LoggerMessage(LogLevel.Information, "all resources healthy in {Seconds:0.0} s")]
    private static partial void AllHealthy(ILogger log, double seconds);

    [LoggerMessage(LogLevel.Information, "{Name}: {Url}")]
    private static partial void External(ILogger log, string name, string url);

    [LoggerMessage(LogLevel.Information, "status page: {Url}")]
    private static partial void StatusPage(ILogger log, string url);
}
