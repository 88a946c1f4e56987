using System.Globalization;
using System.Text;
using DeepSeek.Scheduling.Signals;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Scheduling.Jobs;

/// <summary>A job's series as server-sent events: from the start or after Last-Event-ID, live until the job has ended.</summary>
public static class JobEventStream
{
    private const int Batch = 500;

    /// <summary>Changes are heard of; the look in between covers a lost listener, and its comment line tells proxies that somebody is there.</summary>
    private static readonly TimeSpan LookAnyway = TimeSpan.FromSeconds(5);

    public static async Task WriteAsync(
        Guid id, HttpContext http, IDbContextFactory<SchedulingDb> databases, JobSignals signals, TimeProvider clock,
        IHostApplicationLifetime lifetime)
    {
        var last = ReadLastEventId(http.Request);
        using var stopping = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, lifetime.ApplicationStopping);
        using var changes = signals.Subscribe(id);
        try
        {
            await using (var db = await databases.CreateDbContextAsync(stopping.Token))
            {
                await JobsApi.FindAsync(db, id, stopping.Token);
            }
            http.Response.ContentType = "text/event-stream";
            http.Response.Headers.CacheControl = "no-store";
            http.Response.Headers["X-Accel-Buffering"] = "no";
            await http.Response.StartAsync(stopping.Token);
            while (true)
            {
                var (entries, ended) = await ReadAsync(databases, id, last, stopping.Token);
                foreach (var entry in entries)
                {
                    await http.Response.WriteAsync(Format(entry), stopping.Token);
                    last = entry.Seq;
                }
                if (entries.Count == 0)
                {
                    if (ended)
                    {
                        return;
                    }
                    await http.Response.WriteAsync(":\n\n", stopping.Token);
                }
                await http.Response.Body.FlushAsync(stopping.Token);
                if (entries.Count == 0)
                {
                    await changes.WaitAsync(LookAnyway, clock, stopping.Token);
                }
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // The client left, or this replica is stopping: the client resumes by Last-Event-ID.
        }
    }

    private static async Task<(IReadOnlyList<JobEvent> Entries, bool Ended)> ReadAsync(
        IDbContextFactory<SchedulingDb> databases, Guid id, long last, CancellationToken cancellationToken)
    {
        await using var db = await databases.CreateDbContextAsync(cancellationToken);
        // The state is read first: what it followed from is then among the entries.
        var job = await JobsApi.FindAsync(db, id, cancellationToken);
        var entries = await db.Events.AsNoTracking().Where(entry => entry.JobId == id && entry.Seq > last)
            .OrderBy(entry => entry.Seq).Take(Batch).ToListAsync(cancellationToken);
        return (entries, job.Ended);
    }

    private static long ReadLastEventId(HttpRequest request) => request.Headers["Last-Event-ID"].ToString() switch
    {
        "" => 0,
        var text when long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seq) => seq,
        _ => throw Problems.Invalid("Last-Event-ID", "is not an id that this stream sent; leave it out to start from the beginning."),
    };

    private static string Format(JobEvent entry)
    {
        // JSON escapes line breaks, so one data line is enough.
        var type = entry.Type switch { JobEventType.State => "state", JobEventType.Progress => "progress", _ => "log" };
        return new StringBuilder().Append("event: ").Append(type).Append("\nid: ").Append(entry.Seq.ToString(CultureInfo.InvariantCulture))
            .Append("\ndata: ").Append(entry.Data).Append("\n\n").ToString();
    }
}
