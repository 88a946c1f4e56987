using System.Globalization;
using DeepSeek.Contracts.Jobs;

namespace DeepSeek.Scheduling.Planning;

/// <summary>Why a job does not run. Without the constraints named the next plan dispatches it.</summary>
public sealed record Waiting(IReadOnlyList<WaitConstraint> Constraints)
{
    /// <summary>Null for a job that does not wait.</summary>
    /// <param name="workers">Live workers of the job's kind.</param>
    /// <param name="active">Active jobs of the job's kind.</param>
    /// <param name="higher">Waiting jobs of its kind, not held back, with higher priority.</param>
    /// <param name="earlier">The same with equal priority that came earlier.</param>
    public static Waiting? For(
        PlannedJob job, DateTimeOffset now, IReadOnlyList<LiveWorker> workers, IReadOnlyList<PlannedJob> active, int higher, int earlier)
    {
        if (job.State == JobState.Leased)
        {
            return new([new AwaitingAcceptance(job.Kind, job.LeaseUntil!.Value)]);
        }
        if (job.State != JobState.Queued)
        {
            return null;
        }
        var constraints = new List<WaitConstraint>();
        if (!job.EligibleAt(now))
        {
            constraints.Add(new BackingOff(job.NotBefore!.Value));
        }
        var slots = workers.Sum(worker => worker.Slots);
        var free = Planner.FreeSlots(workers, active);
        if (slots == 0)
        {
            constraints.Add(new NoWorker(job.Kind));
        }
        else if (free == 0)
        {
            var live = workers.Select(worker => worker.Id).ToHashSet(StringComparer.Ordinal);
            constraints.Add(new SlotsBusy(slots, [.. active.Where(held => held.WorkerId is null || live.Contains(held.WorkerId))]));
        }
        // Jobs ahead hold this one back only when they need every slot that is free, or would be.
        var ahead = higher + earlier;
        if (ahead > 0 && ahead >= free)
        {
            constraints.Add(new Behind(higher, earlier));
        }
        return new(constraints);
    }

    public override string ToString() => Constraints.Count == 0
        ? "Next in line: it is being dispatched."
        : string.Join(" ", Constraints.Select(constraint => constraint.Words));
}

public abstract record WaitConstraint
{
    /// <summary>One sentence for people.</summary>
    public abstract string Words { get; }

    protected static string Clock(DateTimeOffset at) => at.UtcDateTime.ToString("HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);

    protected static string Jobs(int count) => count == 1 ? "1 job" : $"{count} jobs";
}

public sealed record NoWorker(string Kind) : WaitConstraint
{
    public override string Words => $"No live worker takes jobs of kind '{Kind}'.";
}

public sealed record SlotsBusy(int Slots, IReadOnlyList<PlannedJob> Holders) : WaitConstraint
{
    private const int Named = 3;

    public override string Words
    {
        get
        {
            var names = Holders.OrderByDescending(job => job.Priority).Take(Named).Select(job =>
                $"'{job.Name}' (priority {job.Priority}{(job.Releasing ? ", stopping" : job.State == JobState.Leased ? ", being dispatched" : "")})");
            var rest = Holders.Count > Named ? $" and {Jobs(Holders.Count - Named)} more" : "";
            return $"{(Slots == 1 ? "The only slot is" : $"All {Slots} slots are")} busy with {string.Join(", ", names)}{rest}.";
        }
    }
}

public sealed record Behind(int Higher, int Earlier) : WaitConstraint
{
    public override string Words => (Higher, Earlier) switch
    {
        ( > 0, > 0) => $"Behind {Jobs(Higher)} of higher priority and {Jobs(Earlier)} submitted earlier.",
        ( > 0, _) => $"Behind {Jobs(Higher)} of higher priority.",
        _ => $"Behind {Jobs(Earlier)} of the same priority submitted earlier.",
    };
}

public sealed record BackingOff(DateTimeOffset Until) : WaitConstraint
{
    public override string Words => $"Held back after the last attempt until {Clock(Until)}.";
}

public sealed record AwaitingAcceptance(string Kind, DateTimeOffset Until) : WaitConstraint
{
    public override string Words => $"Dispatched to the '{Kind}' workers, awaiting acceptance until {Clock(Until)}.";
}
