using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Planning;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Scheduling.Jobs;

/// <summary>Finds why jobs wait, from the same rows that the scheduler plans by.</summary>
public sealed class WaitingReader(SchedulingDb db, IOptions<SchedulingOptions> options, TimeProvider clock)
{
    /// <summary>Words by job id; jobs that do not wait are left out.</summary>
    public async Task<IReadOnlyDictionary<Guid, string>> ReadAsync(IReadOnlyCollection<Job> jobs, CancellationToken cancellationToken)
    {
        var waiting = jobs.Where(job => job.State is JobState.Queued or JobState.Leased).ToList();
        if (waiting.Count == 0)
        {
            return new Dictionary<Guid, string>();
        }
        var now = clock.GetUtcNow();
        var kinds = waiting.Select(job => job.Kind).Distinct().ToArray();
        var workers = await db.LiveWorkersAsync(now, options.Value, cancellationToken);
        var active = (await db.ActiveJobs().Where(job => kinds.Contains(job.Kind)).ToListAsync(cancellationToken)).ConvertAll(job => job.ToPlanned());
        var queue = await db.Jobs.AsNoTracking()
            .Where(job => job.State == JobState.Queued && kinds.Contains(job.Kind) && (job.NotBefore == null || job.NotBefore <= now))
            .Select(job => new { job.Kind, job.Priority, job.Sequence })
            .ToListAsync(cancellationToken);
        var words = new Dictionary<Guid, string>();
        foreach (var job in waiting)
        {
            var found = Waiting.For(
                job.ToPlanned(), now,
                [.. workers.Where(worker => worker.Kind == job.Kind)],
                [.. active.Where(held => held.Kind == job.Kind)],
                higher: queue.Count(other => other.Kind == job.Kind && other.Priority > job.Priority),
                earlier: queue.Count(other => other.Kind == job.Kind && other.Priority == job.Priority && other.Sequence < job.Sequence));
            if (found is not null)
            {
                words[job.Id] = found.ToString();
            }
        }
        return words;
    }
}
