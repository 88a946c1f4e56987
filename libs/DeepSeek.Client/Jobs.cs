using System.Net;
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;

namespace DeepSeek.Client;

/// <summary>A job: <c>queued</c>, <c>leased</c>, <c>running</c>, <c>yielding</c>, <c>succeeded</c>, <c>failed</c> or <c>cancelled</c>.</summary>
public sealed record Job
{
    public Guid Id { get; init; }
    public string Kind { get; init; } = "";
    public Guid SubjectId { get; init; }
    public string Name { get; init; } = "";
    public string Owner { get; init; } = "";
    public string State { get; init; } = "";
    public int Priority { get; init; }
    public int Attempt { get; init; }
    public int MaxAttempts { get; init; }
    public double Progress { get; init; }
    public string? Message { get; init; }

    /// <summary>Why it does not run yet, in words.</summary>
    public string? WaitingFor { get; init; }

    public string? Error { get; init; }
    public string? Result { get; init; }
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? StartedAt { get; init; }
    public DateTimeOffset? EndedAt { get; init; }

    /// <summary>The job as it is after the event; error and times are as they were.</summary>
    internal Job After(JobEvent item)
    {
        var data = item.Data;
        return item.Type switch
        {
            "state" => this with
            {
                State = Text("state") ?? State,
                Attempt = data.TryGetProperty("attempt", out var attempt) ? attempt.GetInt32() : Attempt,
                Priority = data.TryGetProperty("priority", out var priority) ? priority.GetInt32() : Priority,
                Result = Text("result") ?? Result,
                WaitingFor = Text("state") is "queued" or null ? WaitingFor : null,
            },
            "progress" => this with
            {
                Progress = data.TryGetProperty("progress", out var progress) ? progress.GetDouble() : Progress,
                Message = Text("message") ?? Message,
            },
            _ => this,
        };

        string? Text(string name) => data.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
    }

    public bool HasEnded => State is "succeeded" or "failed" or "cancelled";
    public bool Succeeded => State == "succeeded";
}

/// <summary>One event of a job: its sequence number, type (<c>state</c>, <c>progress</c>, <c>log</c>) and JSON data.</summary>
public sealed record JobEvent(string? Id, string Type, JsonElement Data);

/// <summary>A line that a worker logged.</summary>
public sealed record JobLogLine(long Seq, DateTimeOffset At, string Line);

/// <summary>One lease that a worker held, and why it ended without a result.</summary>
public sealed record JobAttempt(int Dispatch, string WorkerId, DateTimeOffset StartedAt, DateTimeOffset? EndedAt, string? Outcome, string? Cause);

/// <summary>Jobs: <c>/api/v1/jobs</c>.</summary>
public sealed class JobsClient
{
    private static readonly TimeSpan s_reconnect = TimeSpan.FromMilliseconds(300);

    // A job is made known to its owner by a message, which travels as long as the broker is away.
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(2);
    private readonly ApiTransport _api;
    internal JobsClient(ApiTransport api) => _api = api;

    public IAsyncEnumerable<Job> ListAsync(string? kind = null, string? state = null, CancellationToken cancellationToken = default) =>
        _api.ListAsync<Job>($"api/v1/jobs?{(kind is null ? "" : $"kind={kind}&")}{(state is null ? "" : $"state={state}")}".TrimEnd('&', '?'), cancellationToken);

    public Task<Job> GetAsync(Guid id, CancellationToken cancellationToken = default) => _api.GetAsync<Job>($"api/v1/jobs/{id}", cancellationToken);
    public Task CancelAsync(Guid id, CancellationToken cancellationToken = default) => _api.SendAsync(HttpMethod.Post, $"api/v1/jobs/{id}/cancel", null, cancellationToken);
    public Task RetryAsync(Guid id, CancellationToken cancellationToken = default) => _api.SendAsync(HttpMethod.Post, $"api/v1/jobs/{id}/retry", null, cancellationToken);

    /// <summary>The job's log lines as text, oldest first.</summary>
    public async Task<string> GetLogsAsync(Guid id, CancellationToken cancellationToken = default)
    {
        var text = new StringBuilder();
        await foreach (var line in ListLogsAsync(id, cancellationToken))
        {
            text.AppendLine(line.Line);
        }

        return text.ToString();
    }

    /// <summary>The job's log lines, oldest first.</summary>
    public IAsyncEnumerable<JobLogLine> ListLogsAsync(Guid id, CancellationToken cancellationToken = default) =>
        _api.ListAsync<JobLogLine>($"api/v1/jobs/{id}/logs?limit=200", cancellationToken);

    /// <summary>The leases that workers held on the job, in order, and why each ended.</summary>
    public Task<IReadOnlyList<JobAttempt>> GetAttemptsAsync(Guid id, CancellationToken cancellationToken = default) =>
        _api.GetAsync<IReadOnlyList<JobAttempt>>($"api/v1/jobs/{id}/attempts", cancellationToken);

    /// <summary>Changes the job's priority (0 to 100); refused (412) when somebody else has changed the job since it was read.</summary>
    public async Task<Job> SetPriorityAsync(Guid id, int priority, CancellationToken cancellationToken = default)
    {
        var current = await _api.GetTaggedAsync<Job>($"api/v1/jobs/{id}", cancellationToken);
        return await _api.SendAsync<Job>(HttpMethod.Patch, $"api/v1/jobs/{id}", new { priority }, cancellationToken, current.ETag);
    }

    /// <summary>
    /// The job's events from its beginning to its end; a broken stream is taken up where it broke. A platform that cannot be reached is waited
    /// for, two minutes at most.
    /// </summary>
    public async IAsyncEnumerable<JobEvent> WatchAsync(Guid id, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        string? last = null;
        var patience = DateTimeOffset.UtcNow + s_patience;
        while (true)
        {
            var events = ReadAsync(id, last, cancellationToken).GetAsyncEnumerator(cancellationToken);
            await using (events)
            {
                while (await NextAsync(events, patience))
                {
                    last = events.Current.Id ?? last;
                    patience = DateTimeOffset.UtcNow + s_patience;
                    yield return events.Current;
                }
            }

            if (await FindAsync(id, patience, cancellationToken) is { } job)
            {
                if (job.HasEnded)
                {
                    yield break;
                }

                patience = DateTimeOffset.UtcNow + s_patience;
            }

            await Task.Delay(s_reconnect, cancellationToken);
        }
    }

    /// <summary>
    /// Waits for the job's end, telling <paramref name="progress"/> of the job as its events tell it; returns the ended job. The job itself is
    /// read at the first event, and where it is queued again, because no event says what it waits for.
    /// </summary>
    public async Task<Job> WaitAsync(Guid id, Action<Job>? progress = null, CancellationToken cancellationToken = default)
    {
        Job? job = null;
        await foreach (var item in WatchAsync(id, cancellationToken))
        {
            if (progress is null)
            {
                continue;
            }

            var next = job?.After(item);
            job = next is null || (next.State == "queued" && job!.State != "queued") ? await FindAsync(id, DateTimeOffset.MaxValue, cancellationToken) : next;
            if (job is not null)
            {
                progress(job);
            }
        }

        return await GetAsync(id, cancellationToken);
    }

    private async IAsyncEnumerable<JobEvent> ReadAsync(Guid id, string? last, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var response = await _api.SendAsync(
            () =>
            {
                var request = new HttpRequestMessage(HttpMethod.Get, $"api/v1/jobs/{id}/events");
                request.Headers.Accept.ParseAdd("text/event-stream");
                if (last is not null)
                {
                    request.Headers.Add("Last-Event-ID", last);
                }

                return request;
            },
            cancellationToken);
        await using var stream = await response.Content.ReadAsStreamAsync(cancellationToken);
        await foreach (var item in SseParser.Create(stream).EnumerateAsync(cancellationToken))
        {
            yield return new JobEvent(item.EventId, item.EventType, JsonSerializer.Deserialize<JsonElement>(item.Data));
        }
    }

    /// <summary>The job; null when it, or the platform, is not to be found now and there is patience left.</summary>
    private async Task<Job?> FindAsync(Guid id, DateTimeOffset patience, CancellationToken cancellationToken)
    {
        try
        {
            return await GetAsync(id, cancellationToken);
        }
        catch (Exception fault) when (MayPass(fault) && DateTimeOffset.UtcNow < patience)
        {
            return null;
        }
    }

    private static async Task<bool> NextAsync(IAsyncEnumerator<JobEvent> events, DateTimeOffset patience)
    {
        try
        {
            return await events.MoveNextAsync();
        }
        catch (Exception fault) when (MayPass(fault) && DateTimeOffset.UtcNow < patience)
        {
            return false;
        }
    }

    // A job just submitted may not have reached its owner yet; a stream may break when a part of the platform restarts.
    private static bool MayPass(Exception fault) =>
        fault is IOException or HttpRequestException or DeepSeekApiException { Status: HttpStatusCode.NotFound or >= HttpStatusCode.InternalServerError };
}
