using Npgsql;

namespace DeepSeek.Hosting.Tests;

/// <summary>The real servers.</summary>
public sealed class ServerTests
{
    [Fact]
    public async Task Servers_KeepTheirDataAndPasswords_ThroughKillAndRestart()
    {
        using var data = new DataFolder();
        string first;
        await using (var app = await StartAsync(data))
        {
            first = await ConnectionStringAsync(app, "db");
            await ExecuteAsync(first, "create table notes (text text); insert into notes values ('kept')");
            var broker = app.ProcessId("messaging");
            Signals.Send(app.ProcessId("postgres"), Signals.Kill);
            Signals.Send(broker, Signals.Kill);
            await app.ResourceNotifications.WaitForResourceAsync("postgres", state => state.Snapshot.ExitCode is not null, Eventually.Token);
            await app.ResourceNotifications.WaitForResourceAsync("messaging", state => state.Snapshot is { HealthStatus: Microsoft.Extensions.Diagnostics.HealthChecks.HealthStatus.Healthy } && state.Snapshot.Properties.FirstOrDefault(p => p.Name == "executable.pid")?.Value is int pid && pid != broker, Eventually.Token);
            await app.ResourceNotifications.WaitForResourceHealthyAsync("db", Eventually.Token);
            // On the same port, with what was committed.
            Assert.Equal("kept", await ExecuteOnceUpAsync(first, "select text from notes"));
        }

        File.WriteAllText(Path.Combine(data.Path, "servers", "postgres", "data", "postmaster.pid"), "1\n");
        await using (var app = await StartAsync(data))
        {
            var second = await ConnectionStringAsync(app, "db");
            Assert.Equal("kept", await ExecuteAsync(second, "select text from notes"));
            Assert.Equal(new NpgsqlConnectionStringBuilder(first).Password, new NpgsqlConnectionStringBuilder(second).Password);
        }

        // A password that changed, or was lost, is set anew in the data that is there.
        await using (var app = await StartAsync(data, "--Parameters:postgres-password", "it's new", "--Parameters:messaging-password", "new too"))
        {
            Assert.Equal("kept", await ExecuteAsync(await ConnectionStringAsync(app, "db"), "select text from notes"));
            await Assert.ThrowsAsync<PostgresException>(async () => await ExecuteAsync(new NpgsqlConnectionStringBuilder(await ConnectionStringAsync(app, "db")) { Password = "wrong" }.ConnectionString, "select 1"));
        }
    }

    private static async Task<DistributedApplication> StartAsync(DataFolder data, params string[] args)
    {
        var builder = TestApplication.CreateBuilder(data, args);
        builder.AddPostgres("postgres").AddDatabase("db");
        builder.AddRabbitMQ("messaging");
        builder.AddRedis("cache").WithPersistence();
        var app = builder.Build();
        await app.StartAsync(Eventually.Token);
        await Task.WhenAll(new[] { "db", "messaging", "cache" }.Select(name => app.ResourceNotifications.WaitForResourceHealthyAsync(name, WaitBehavior.WaitOnResourceUnavailable, Eventually.Token)));
        return app;
    }

    private static async Task<string> ConnectionStringAsync(DistributedApplication app, string name)
        => await app.Services.GetRequiredService<DistributedApplicationModel>().Resources.OfType<IResourceWithConnectionString>().Single(r => r.Name == name)
            .GetConnectionStringAsync(Eventually.Token) ?? string.Empty;

    /// <summary>What is told of a server's health is as old as its last check.</summary>
    private static async Task<object?> ExecuteOnceUpAsync(string connectionString, string sql)
    {
        for (var deadline = Eventually.Token; ; await Task.Delay(50, deadline))
        {
            try
            {
                return await ExecuteAsync(connectionString, sql);
            }
            catch (NpgsqlException fault) when (fault.IsTransient || fault.InnerException is System.Net.Sockets.SocketException)
            {
                // It starts again, or recovers.
            }
        }
    }

    private static async Task<object?> ExecuteAsync(string connectionString, string sql)
    {
        await using var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false }.ConnectionString);
        await connection.OpenAsync(Eventually.Token);
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync(Eventually.Token);
    }
}
