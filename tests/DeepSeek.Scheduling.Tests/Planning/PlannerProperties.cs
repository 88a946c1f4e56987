using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.Scheduling.Planning;
using DeepSeek.Testing;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Scheduling.Tests.Planning;

/// <summary>Random histories of submissions, workers, faults and time; FsCheck prints the shrunk history of a failure.</summary>
public sealed class PlannerProperties
{
    private static readonly string[] Kinds = ["train", "prepare"];
    private static readonly Arbitrary<Step[]> Histories = Gen.ArrayOf(
        from action in Gen.Choose(0, 10)
        from pick in Gen.Choose(0, 1000)
        select new Step(action, pick)).ToArbitrary();

    [Fact]
    public void History_Any_NeverHoldsMoreSlotsThanThereAre() => ForAll(world =>
    {
        var snapshot = world.Snapshot();
        return Kinds.All(kind =>
        {
            var live = snapshot.Workers.Where(worker => worker.Kind == kind).ToDictionary(worker => worker.Id);
            var held = snapshot.Jobs.Where(job => job.Kind == kind && job.Active && job.WorkerId is { } id && live.ContainsKey(id)).ToList();
            return held.GroupBy(job => job.WorkerId!).All(group => group.Count() <= live[group.Key].Slots);
        });
    });

    [Fact]
    public void History_Any_LeavesNoSlotFreeWhileAJobCouldTakeIt() => ForAll(world =>
    {
        var snapshot = world.Snapshot();
        return Kinds.All(kind =>
        {
            var active = snapshot.Jobs.Where(job => job.Kind == kind && job.Active).ToList();
            var free = Planner.FreeSlots(snapshot.Workers.Where(worker => worker.Kind == kind), active);
            // An attempt that this very plan ended makes room that the next plan fills; the service plans again at once.
            var justEnded = world.LastPlan.Any(step => step is Expire or Reclaim);
            return free == 0 || justEnded || !snapshot.Jobs.Any(job => job.Kind == kind && job.EligibleAt(world.Now));
        });
    });

    [Fact]
    public void History_Any_LosesAndDoublesNoJob() => ForAll(world =>
        world.Jobs.Select(job => job.Id).Distinct().Count() == world.Jobs.Count
        && world.Jobs.All(job =>
            job.Ended == (job.EndedAt is not null)
            && (job.Ended || (job.LeaseId is not null) == job.ToPlanned().Active)
            && job.Failures <= job.MaxAttempts
            && job.Events.Select(entry => entry.Seq).SequenceEqual(Enumerable.Range(1, job.Events.Count).Select(seq => (long)seq))
            && job.Attempts.Count(attempt => attempt.EndedAt is null) == (job.State is JobState.Running or JobState.Yielding ? 1 : 0)));

    [Fact]
    public void History_Any_ServesEqualsInOrderAndHigherFirst() => ForAll(world =>
    {
        var snapshot = world.Snapshot();
        var dispatched = world.LastPlan.OfType<Dispatch>().Select(step => snapshot.Jobs.FirstOrDefault(job => job.Id == step.JobId))
            .OfType<PlannedJob>();
        return dispatched.All(taken => !snapshot.Jobs.Any(left =>
            left.Kind == taken.Kind && left.EligibleAt(world.Now) && !WasJustQueued(world, left)
            && (left.Priority > taken.Priority || (left.Priority == taken.Priority && left.Sequence < taken.Sequence))));
    });

    [Fact]
    public void History_Any_PreemptsOnlyLowerAndNeverInACircle() => ForAll(world =>
        world.Preemptions.All(pair => Find(world, pair.Victim).Priority < Find(world, pair.For).Priority)
        && !world.Preemptions.Any(pair => world.Preemptions.Contains((pair.For, pair.Victim))));

    [Fact]
    public void Plan_SameSnapshotInAnyOrder_IsTheSame() => ForAll(world =>
    {
        var snapshot = world.Snapshot();
        var shuffled = snapshot with
        {
            Jobs = [.. snapshot.Jobs.OrderBy(job => job.Id.GetHashCode())],
            Workers = [.. snapshot.Workers.Reverse()],
        };
        return Planner.Plan(snapshot).SequenceEqual(Planner.Plan(shuffled));
    });

    [Fact]
    public void History_WorkersReturnAndJobsFinish_EndsEveryJob() => Check(history =>
    {
        var world = new World();
        foreach (var step in history)
        {
            Apply(world, step);
        }
        foreach (var kind in Kinds)
        {
            world.Join(kind, 1);
        }
        var before = world.Preemptions.Count;
        // Each round at least one job of each kind ends, or a lease or a pause of at most a minute runs out.
        for (var round = 0; round < (6 * world.Jobs.Count) + 6; round++)
        {
            world.Advance(TimeSpan.FromSeconds(61));
            world.Plan();
            world.AcceptOffers();
            world.Obey();
            foreach (var job in world.Running.Where(job => job.State == JobState.Running && world.LiveWorkers.Contains(job.WorkerId!)).ToList())
            {
                world.Finish(job);
            }
        }
        var asked = world.Preemptions.Skip(before).ToList();
        return world.Jobs.All(job => job.Ended) && asked.Distinct().Count() == asked.Count;
    });

    [Fact]
    public void Waiting_NamedConstraintsRemoved_AdmitsTheJob() => ForAll(world =>
    {
        var snapshot = world.Snapshot();
        return snapshot.Jobs.Where(job => job.State == JobState.Queued).All(job =>
        {
            var reason = Explain(snapshot, job);
            var freed = reason.Constraints.Aggregate(snapshot, (left, constraint) => Remove(left, job, constraint));
            return Planner.Plan(freed).Contains(new Dispatch(job.Id));
        });
    });

    [Fact]
    public void Waiting_ConstraintsStay_AdmitsNobody() => ForAll(world =>
    {
        var snapshot = world.Snapshot();
        var plan = Planner.Plan(snapshot);
        return snapshot.Jobs.Where(job => job.State == JobState.Queued).All(job =>
            plan.Contains(new Dispatch(job.Id)) == (Explain(snapshot, job).Constraints.Count == 0));
    });

    private static Waiting Explain(Snapshot snapshot, PlannedJob job)
    {
        var ahead = Ahead(snapshot, job).ToList();
        return Waiting.For(
            job, snapshot.Now,
            [.. snapshot.Workers.Where(worker => worker.Kind == job.Kind)],
            [.. snapshot.Jobs.Where(other => other.Kind == job.Kind && other.Active)],
            ahead.Count(other => other.Priority > job.Priority),
            ahead.Count(other => other.Priority == job.Priority))!;
    }

    private static IEnumerable<PlannedJob> Ahead(Snapshot snapshot, PlannedJob job) => snapshot.Jobs.Where(other =>
        other.Kind == job.Kind && other.EligibleAt(snapshot.Now)
        && (other.Priority > job.Priority || (other.Priority == job.Priority && other.Sequence < job.Sequence)));

    private static Snapshot Remove(Snapshot snapshot, PlannedJob job, WaitConstraint constraint) => constraint switch
    {
        NoWorker => snapshot with { Workers = [.. snapshot.Workers, new LiveWorker("new", job.Kind, 1 + OpenOffers(snapshot, job.Kind))] },
        SlotsBusy busy => snapshot with { Jobs = [.. snapshot.Jobs.Except(busy.Holders)] },
        Behind => snapshot with { Jobs = [.. snapshot.Jobs.Except(Ahead(snapshot, job))] },
        BackingOff => snapshot with { Jobs = [.. snapshot.Jobs.Select(other => other == job ? job with { NotBefore = null } : other)] },
        _ => throw new InvalidOperationException(constraint.ToString()),
    };

    private static int OpenOffers(Snapshot snapshot, string kind) =>
        snapshot.Jobs.Count(job => job.Kind == kind && job.State == JobState.Leased);

    private static bool WasJustQueued(World world, PlannedJob job) =>
        world.LastPlan.Any(step => step.JobId == job.Id && step is Expire or Reclaim);

    private static Job Find(World world, Guid id) => world.Jobs.Single(job => job.Id == id);

    /// <summary>Checks after every step of every history, when the planner has just done its part.</summary>
    private static void ForAll(Func<World, bool> holds) => Check(history =>
    {
        var world = new World();
        return history.All(step =>
        {
            Apply(world, step);
            world.Plan();
            var held = holds(world);
            world.AcceptOffers();
            return held;
        });
    });

    private static void Check(Func<Step[], bool> holds) =>
        Prop.ForAll(Histories, holds).Holds(300, size: 60);

    private static void Apply(World world, Step step)
    {
        var running = world.Running.ToList();
        var picked = running.Count == 0 ? null : running[step.Pick % running.Count];
        switch (step.Action)
        {
            case 0 or 1 or 2 or 3:
                world.Submit(Kinds[step.Pick % 2], step.Pick / 2 % 4 * 25);
                break;
            case 4:
                world.Join(Kinds[step.Pick % 2], 1 + (step.Pick / 2 % 3));
                break;
            case 5 when world.LiveWorkers is { Count: > 0 } live:
                world.Kill(live[step.Pick % live.Count]);
                break;
            case 6:
                world.Advance(TimeSpan.FromSeconds(step.Pick % 40));
                break;
            case 7 when picked is not null:
                world.Finish(picked);
                break;
            case 8 when picked is not null:
                world.Fail(picked);
                break;
            case 9 when world.Jobs.Count > 0:
                world.Jobs[step.Pick % world.Jobs.Count].Cancel("ada", world.Now);
                break;
            case 10:
                world.Obey();
                break;
        }
    }

    internal readonly record struct Step(int Action, int Pick);
}
