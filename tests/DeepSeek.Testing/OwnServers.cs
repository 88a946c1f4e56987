using Aspire.Hosting;
using DeepSeek.Contracts;
using DeepSeek.ServiceDefaults;
using Xunit;

namespace DeepSeek.Testing;

/// <summary>PostgreSQL, RabbitMQ and Redis of this test process, started by the platform's own host.</summary>
internal static class OwnServers
{
    private static readonly TimeSpan s_startDeadline = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan s_stopDeadline = TimeSpan.FromSeconds(20);
    private static Running? s_running;

    public static async Task<TestServers.Addresses> StartAsync()
    {
        var data = Path.Combine(Path.GetTempPath(), $"deepseek-test-servers-{Environment.ProcessId}");
        var builder = DistributedApplication.CreateBuilder(new DistributedApplicationOptions
        {
            Args = [$"--{DataDirectories.Variable}={data}", "--DcpPublisher:RandomizePorts=true"],
            ProjectDirectory = AppContext.BaseDirectory,
            DisableDashboard = true,
        });
        var postgres = builder.AddPostgres(ResourceNames.Postgres);
        var messaging = builder.AddRabbitMQ(ResourceNames.Messaging).WithManagementPlugin();
        var cache = builder.AddRedis(ResourceNames.Cache);
        var app = builder.Build();
        s_running = new Running(app, data);
        using var deadline = new CancellationTokenSource(s_startDeadline);
        await app.StartAsync(deadline.Token);
        foreach (var name in new[] { ResourceNames.Postgres, ResourceNames.Messaging, ResourceNames.Cache })
        {
            await app.ResourceNotifications.WaitForResourceHealthyAsync(name, deadline.Token);
        }

        return new TestServers.Addresses(
            (await postgres.Resource.GetConnectionStringAsync(deadline.Token))!,
            new Uri((await messaging.Resource.ConnectionStringExpression.GetValueAsync(deadline.Token))!),
            new Uri(messaging.GetEndpoint("management").Url),
            (await cache.Resource.GetConnectionStringAsync(deadline.Token))!);
    }

    public static async Task StopAsync()
    {
        if (Interlocked.Exchange(ref s_running, null) is not { } running)
        {
            return;
        }

        using var deadline = new CancellationTokenSource(s_stopDeadline);
        await running.App.StopAsync(deadline.Token);
        await running.App.DisposeAsync();
        Directory.Delete(running.Data, recursive: true);
    }

    private sealed record Running(DistributedApplication App, string Data);
}

/// <summary>Every test assembly has it (Directory.Build.targets), so that the servers end before the process does.</summary>
public sealed class OwnServersLifetime : IAsyncLifetime
{
    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync() => await OwnServers.StopAsync();
}
