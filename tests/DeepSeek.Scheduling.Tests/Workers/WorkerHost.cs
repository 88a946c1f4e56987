using System.Collections.Concurrent;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace DeepSeek.Scheduling.Tests.Workers;

public sealed class WorkerDb(DbContextOptions<WorkerDb> options) : DbContext(options);

/// <summary>What the jobs of a test do; shared by all its workers.</summary>
public sealed class Script
{
    private readonly ConcurrentQueue<(Guid JobId, int Attempt)> _runs = new();

    public required Func<JobContext, WorkerDb, CancellationToken, Task> Work { get; set; }

    public IReadOnlyList<(Guid JobId, int Attempt)> Runs => [.. _runs];

    public static async Task CompleteAsync(JobContext job, WorkerDb db)
    {
        job.Complete(db, $"/api/v1/things/{job.SubjectId}");
        await db.SaveChangesAsync();
    }

    internal Task RunAsync(JobContext job, WorkerDb db, CancellationToken cancelled)
    {
        _runs.Enqueue((job.JobId, job.Attempt));
        return Work(job, db, cancelled);
    }
}

internal sealed class ScriptedHandler(Script script, WorkerDb db) : IJobHandler
{
    public Task RunAsync(JobContext job, CancellationToken cancelled) => script.RunAsync(job, db, cancelled);
}

/// <summary>A service with a worker in it, as preprocessing or training are, whose jobs a test scripts.</summary>
internal sealed class WorkerHost : IAsyncDisposable
{
    private readonly TestDatabase _database = new();
    private WebApplication? _app;

    public static async Task<WorkerHost> StartAsync(string kind, Script script, TestVhost vhost, Uri scheduling, int slots = 1, double yieldSeconds = 30)
    {
        var host = new WorkerHost();
        await host._database.InitializeAsync();
        var builder = WebApplication.CreateBuilder();
        builder.Configuration["ConnectionStrings:workerdb"] = host._database.ConnectionString;
        builder.Configuration["ConnectionStrings:messaging"] = vhost.ConnectionString;
        builder.Configuration["Identity:SigningKey"] = TestIdentity.SigningKey;
        builder.Configuration["services:scheduling:http:0"] = scheduling.AbsoluteUri;
        builder.Configuration[$"Worker:{kind}:Slots"] = $"{slots}";
        builder.Configuration["Worker:SeenSeconds"] = "1";
        builder.Configuration["Worker:BeatSeconds"] = "0.2";
        builder.Configuration["Worker:YieldSeconds"] = FormattableString.Invariant($"{yieldSeconds}");
        builder.Configuration["Worker:GiveBackSeconds"] = "30";
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.AddServiceDefaults("worker");
        builder.AddServiceDatabase<WorkerDb>("workerdb");
        builder.AddMessaging<WorkerDb>("messaging", _ => { });
        builder.AddJobWorker<ScriptedHandler>(kind);
        builder.Services.AddSingleton(script);
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        host._app = builder.Build();
        host._app.MapServiceDefaults();
        await host._app.StartAsync();
        return host;
    }

    /// <summary>The broker has confirmed all that the worker committed.</summary>
    public async Task<bool> HasSentEverythingAsync() => await _database.ScalarAsync<long>("select count(*) from outbox_messages") == 0;

    /// <summary>As SIGTERM.</summary>
    public Task StopAsync() => _app!.StopAsync();

    public async ValueTask DisposeAsync()
    {
        await _app!.DisposeAsync();
        await _database.DisposeAsync();
    }
}
