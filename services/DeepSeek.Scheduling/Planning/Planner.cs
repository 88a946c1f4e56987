using DeepSeek.Contracts.Jobs;

namespace DeepSeek.Scheduling.Planning;

/// <summary>The scheduling rules, free of clocks, databases and chance.</summary>
/// <remarks>
/// For each kind by itself:
/// 1. a lease past its deadline ends (an offer is reclaimed, a running attempt expires);
/// 2. free slots go to the waiting jobs in order: higher priority first, then first come, first served;
/// 3. the next waiting jobs are covered by slots that are about to be released;
/// 4. each further one takes the slot of the lowest running job below its own priority: of these the one on the worker rated highest, then the newest.
/// A job preempts only strictly lower priorities, so a job that yielded can never take the slot back from the one it
/// yielded to, and preemptions cannot go round in circles.
/// </remarks>
public static class Planner
{
    public static IReadOnlyList<Decision> Plan(Snapshot snapshot)
    {
        var plan = new List<Decision>();
        foreach (var kind in snapshot.Jobs.GroupBy(job => job.Kind).OrderBy(group => group.Key, StringComparer.Ordinal))
        {
            PlanKind(snapshot, kind.Key, [.. kind], plan);
        }
        return plan;
    }

    /// <summary>Slots of live workers that nobody holds and no open offer will take.</summary>
    public static int FreeSlots(IEnumerable<LiveWorker> workers, IReadOnlyCollection<PlannedJob> active)
    {
        var held = active.Where(job => job.WorkerId is not null).CountBy(job => job.WorkerId!).ToDictionary(StringComparer.Ordinal);
        var free = workers.Sum(worker => Math.Max(0, worker.Slots - held.GetValueOrDefault(worker.Id)));
        return Math.Max(0, free - active.Count(job => job.WorkerId is null));
    }

    /// <summary>The order in which waiting jobs of one kind are served.</summary>
    public static IOrderedEnumerable<PlannedJob> InOrder(IEnumerable<PlannedJob> waiting) =>
        waiting.OrderByDescending(job => job.Priority).ThenBy(job => job.Sequence);

    private static void PlanKind(Snapshot snapshot, string kind, IReadOnlyList<PlannedJob> jobs, List<Decision> plan)
    {
        // 1. Ended leases hold no slot any more; their jobs wait for the next plan.
        var ended = jobs.Where(job => job.Active && HasEnded(job, snapshot)).ToList();
        plan.AddRange(ended.OrderBy(job => job.Sequence)
            .Select(job => job.State == JobState.Leased ? (Decision)new Reclaim(job.Id) : new Expire(job.Id)));
        var active = jobs.Where(job => job.Active).Except(ended).ToList();
        var workers = snapshot.Workers.Where(worker => worker.Kind == kind).ToList();
        var waiting = new Queue<PlannedJob>(InOrder(jobs.Where(job => job.EligibleAt(snapshot.Now))));

        // 2. Free slots.
        for (var free = FreeSlots(workers, active); free > 0 && waiting.TryDequeue(out var job); free--)
        {
            plan.Add(new Dispatch(job.Id));
        }

        // 3. Slots on their way.
        var live = workers.ToDictionary(worker => worker.Id, worker => worker.Rating, StringComparer.Ordinal);
        var held = active.Where(job => job.WorkerId is not null && live.ContainsKey(job.WorkerId)).ToList();
        for (var coming = held.Count(job => job.Releasing); coming > 0 && waiting.Count > 0; coming--)
        {
            waiting.Dequeue();
        }

        // 4. Slots of lower jobs. Victims get dearer and waiting jobs cheaper, so the first miss is the last.
        var victims = new Queue<PlannedJob>(held
            .Where(job => job.State == JobState.Running && !job.Releasing)
            .OrderBy(job => job.Priority).ThenByDescending(job => live[job.WorkerId!]).ThenByDescending(job => job.StartedAt).ThenByDescending(job => job.Sequence));
        while (waiting.TryDequeue(out var job) && victims.TryDequeue(out var victim) && victim.Priority < job.Priority)
        {
            plan.Add(new Preempt(victim.Id, job.Id));
        }
    }

    private static bool HasEnded(PlannedJob job, Snapshot snapshot) =>
        job.LeaseUntil <= snapshot.Now && (job.State == JobState.Leased || snapshot.NoExpiryBefore <= snapshot.Now);
}
