using Microsoft.Extensions.Hosting;

namespace Aspire.Hosting;

/// <summary>An application, ready to run or to be published.</summary>
public class DistributedApplication(IHost host) : IHost, IAsyncDisposable
{
    private bool _running;

    /// <summary>Services of the host.</summary>
    public IServiceProvider Services => host.Services;

    /// <summary>States of the resources.</summary>
    public ResourceNotificationService ResourceNotifications => Services.GetRequiredService<ResourceNotificationService>();

    /// <summary>Commands to the resources.</summary>
    public ResourceCommandService ResourceCommands => Services.GetRequiredService<ResourceCommandService>();

    /// <summary>Starts the description of an application.</summary>
    public static IDistributedApplicationBuilder CreateBuilder() => CreateBuilder([]);

    /// <summary>Starts the description of an application.</summary>
    public static IDistributedApplicationBuilder CreateBuilder(string[] args) => new DistributedApplicationBuilder(args);

    /// <summary>Starts the description of an application.</summary>
    public static IDistributedApplicationBuilder CreateBuilder(DistributedApplicationOptions options) => new DistributedApplicationBuilder(options);

    /// <summary>Runs the application until it is told to stop; or publishes it. What cannot be done as described is said on standard error, with exit code 1.</summary>
    public void Run()
    {
        try
        {
            RunAsync().GetAwaiter().GetResult();
        }
        catch (DistributedApplicationException fault)
        {
            Console.Error.WriteLine(fault.Message);
            Environment.ExitCode = 1;
        }
    }

    /// <summary>Runs the application until it is told to stop; or publishes it.</summary>
    public async Task RunAsync(CancellationToken cancellationToken = default)
    {
        try
        {
            if (Services.GetRequiredService<DistributedApplicationExecutionContext>().IsPublishMode)
            {
                await Services.GetRequiredService<Publishing.ManifestPublisher>().PublishAsync(cancellationToken).ConfigureAwait(false);
                return;
            }

            using var signals = new TerminalSignals(Services.GetRequiredService<IHostApplicationLifetime>());
            await StartAsync(cancellationToken).ConfigureAwait(false);
            await host.WaitForShutdownAsync(cancellationToken).ConfigureAwait(false);
            _running = false;
        }
        finally
        {
            await DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Tells all resources to start; does not wait until they have.</summary>
    public Task StartAsync(CancellationToken cancellationToken = default)
    {
        _running = true;
        return host.StartAsync(cancellationToken);
    }

    /// <summary>Stops all resources.</summary>
    public Task StopAsync(CancellationToken cancellationToken = default)
    {
        _running = false;
        return host.StopAsync(cancellationToken);
    }

    /// <summary>Stops what still runs and frees everything.</summary>
    public void Dispose()
    {
        DisposeAsync().AsTask().GetAwaiter().GetResult();
        GC.SuppressFinalize(this);
    }

    /// <summary>Stops what still runs and frees everything.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_running)
        {
            await StopAsync().ConfigureAwait(false);
        }

        if (host is IAsyncDisposable disposable)
        {
            await disposable.DisposeAsync().ConfigureAwait(false);
        }
        else
        {
            host.Dispose();
        }

        GC.SuppressFinalize(this);
    }
}
