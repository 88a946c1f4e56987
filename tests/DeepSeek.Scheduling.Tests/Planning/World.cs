using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.Scheduling.Planning;

namespace DeepSeek.Scheduling.Tests.Planning;

/// <summary>A platform in memory: the real planner and the real job rules, with workers and time that a test moves.</summary>
internal sealed class World
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    public static readonly SchedulingOptions Options = new();

    private readonly Dictionary<string, (string Kind, int Slots, bool Alive, double Rating)> _workers = [];
    private int _ids;

    public DateTimeOffset Now { get; private set; } = Start;
    public List<Job> Jobs { get; } = [];
    public List<(Guid Victim, Guid For)> Preemptions { get; } = [];
    public IReadOnlyList<Decision> LastPlan { get; private set; } = [];

    public IEnumerable<Job> Running => Jobs.Where(job => job.State is JobState.Running or JobState.Yielding);

    public Job Submit(string kind, int priority, int maxAttempts = 3)
    {
        var job = Job.Create(
            new SubmitJob
            {
                JobId = NextId(), Kind = kind, SubjectId = Guid.Empty, Name = $"job {Jobs.Count}", Owner = "ada",
                Priority = priority, MaxAttempts = maxAttempts, SubmittedAt = Now,
            }, Now, Jobs.Count);
        Jobs.Add(job);
        return job;
    }

    public string Join(string kind, int slots, double rating = 0)
    {
        var id = $"w{_workers.Count}";
        _workers.Add(id, (kind, slots, true, rating));
        return id;
    }

    public void Kill(string worker) => _workers[worker] = _workers[worker] with { Alive = false };

    public IReadOnlyList<string> LiveWorkers => [.. _workers.Where(worker => worker.Value.Alive).Select(worker => worker.Key)];

    /// <summary>Time passes; living workers keep their leases.</summary>
    public void Advance(TimeSpan span)
    {
        Now += span;
        foreach (var job in Running.Where(job => _workers[job.WorkerId!].Alive))
        {
            job.Beat(job.LeaseId!.Value, new Heartbeat(), Now, Options.Lease, 10);
        }
    }

    public Snapshot Snapshot() => new(
        Now, Start,
        [.. _workers.Where(worker => worker.Value.Alive).Select(worker => new LiveWorker(worker.Key, worker.Value.Kind, worker.Value.Slots, worker.Value.Rating))],
        [.. Jobs.Where(job => !job.Ended).Select(job => job.ToPlanned())]);

    public void Plan()
    {
        LastPlan = Planner.Plan(Snapshot());
        foreach (var step in LastPlan)
        {
            var job = Jobs.Single(job => job.Id == step.JobId);
            var applied = step switch
            {
                Dispatch => job.Dispatch(NextId(), Now, Options.Acceptance),
                Reclaim => job.Reclaim(job.LeaseId!.Value, "late", Now, TimeSpan.Zero),
                Expire => job.Expire(Now, Options.BackOff(job.Failures + 1)),
                Preempt preempt => job.Preempt(preempt.ForJobId, Now),
                _ => throw new InvalidOperationException(),
            };
            Assert.True(applied, $"{step} does not fit a job that is {job.State}");
            if (step is Preempt taken)
            {
                Preemptions.Add((taken.JobId, taken.ForJobId));
            }
        }
    }

    /// <summary>Workers take the offers made, in turn.</summary>
    public void AcceptOffers()
    {
        foreach (var job in Jobs.Where(job => job.State == JobState.Leased))
        {
            var worker = _workers.FirstOrDefault(worker =>
                worker.Value.Alive && worker.Value.Kind == job.Kind && worker.Value.Slots > Running.Count(held => held.WorkerId == worker.Key));
            if (worker.Key is not null)
            {
                Assert.True(job.Accept(job.LeaseId!.Value, worker.Key, Now, Options.Lease));
            }
        }
    }

    /// <summary>Living workers do what they were told: stop what was cancelled, yield what was asked for.</summary>
    public void Obey()
    {
        foreach (var job in Running.Where(job => _workers[job.WorkerId!].Alive).ToList())
        {
            if (job.CancelRequested)
            {
                job.Cancelled(job.LeaseId!.Value, Now);
            }
            else if (job.State == JobState.Yielding)
            {
                job.Yield(job.LeaseId!.Value, Now);
            }
        }
    }

    public void Finish(Job job) => job.Complete(job.LeaseId!.Value, "result", Now);

    public void Fail(Job job) => job.Fail(job.LeaseId!.Value, "fault", true, Now, Options.BackOff(job.Failures + 1));

    private Guid NextId() => new(++_ids, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0]);
}
