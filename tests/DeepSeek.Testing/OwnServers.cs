using Aspire.Hosting;
using DeepSeek.Contracts;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Testing;

/// <summary>PostgreSQL, RabbitMQ and Redis of this test process, started by the platform's own host.</summary>
internal static class OwnServers
{
    private static readonly TimeSpan s_startDeadline = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan s_stopDeadline = TimeSpan.FromSeconds(20);

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
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Stop(app, data);
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

    private static void Stop(DistributedApplication app, string data)
    {
        if (Task.Run(async () =>
        {
            await app.StopAsync();
            await app.DisposeAsync();
        }).Wait(s_stopDeadline) && Directory.Exists(data))
        {
            Directory.Delete(data, recursive: true);
        }
    }
}
