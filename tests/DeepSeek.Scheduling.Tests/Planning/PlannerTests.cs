using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Planning;

namespace DeepSeek.Scheduling.Tests.Planning;

public sealed class PlannerTests
{
    private readonly World _world = new();

    [Fact]
    public void Plan_MoreJobsThanSlots_DispatchesByPriorityThenOrder()
    {
        _world.Join("train", 2);
        var low = _world.Submit("train", 10);
        var first = _world.Submit("train", 50);
        var second = _world.Submit("train", 50);

        _world.Plan();

        Assert.Equal([new Dispatch(first.Id), new Dispatch(second.Id)], _world.LastPlan);
        Assert.Equal(JobState.Queued, low.State);
    }

    [Fact]
    public void Plan_HigherJobWaits_TakesTheSlotOfTheFasterWorker()
    {
        _world.Join("train", 1, rating: 50e12);
        _world.Join("train", 1, rating: 1e12);
        var fast = _world.Submit("train", 10);
        _world.Submit("train", 10);
        RunAll();
        var urgent = _world.Submit("train", 90);

        _world.Plan();

        // The other one is newer, but its worker is slower.
        Assert.Equal([(fast.Id, urgent.Id)], _world.Preemptions);
    }

    [Fact]
    public void Plan_WorkerOfAnotherKind_DispatchesNothing()
    {
        _world.Join("prepare", 4);
        _world.Submit("train", 50);

        _world.Plan();

        Assert.Empty(_world.LastPlan);
    }

    [Fact]
    public void Plan_SlotOffered_IsNotOfferedTwice()
    {
        _world.Join("train", 1);
        _world.Submit("train", 50);
        _world.Submit("train", 50);
        _world.Plan();

        _world.Plan();

        Assert.Empty(_world.LastPlan);
    }

    [Fact]
    public void Plan_HigherJobWaits_AsksLowestNewestToYield()
    {
        _world.Join("train", 3);
        _world.Submit("train", 20);
        _world.Submit("train", 10);
        RunAll();
        _world.Advance(TimeSpan.FromSeconds(1));
        var newest = _world.Submit("train", 10);
        RunAll();
        var urgent = _world.Submit("train", 90);

        _world.Plan();

        Assert.Equal([new Preempt(newest.Id, urgent.Id)], _world.LastPlan);
    }

    [Fact]
    public void Plan_EqualPriority_PreemptsNobody()
    {
        _world.Join("train", 1);
        _world.Submit("train", 50);
        RunAll();
        _world.Submit("train", 50);

        _world.Plan();

        Assert.Empty(_world.LastPlan);
    }

    [Fact]
    public void Plan_YieldUnderWay_AsksNobodyElse()
    {
        _world.Join("train", 2);
        _world.Submit("train", 10);
        _world.Submit("train", 10);
        RunAll();
        _world.Submit("train", 90);
        _world.Plan();

        _world.Plan();

        Assert.Empty(_world.LastPlan);
    }

    [Fact]
    public void Plan_VictimYielded_GivesSlotToTheHigherJobAndVictimWaits()
    {
        _world.Join("train", 1);
        var victim = _world.Submit("train", 10);
        RunAll();
        var urgent = _world.Submit("train", 90);
        _world.Plan();
        _world.Obey();

        _world.Plan();

        Assert.Equal([new Dispatch(urgent.Id)], _world.LastPlan);
        Assert.Equal((JobState.Queued, 0), (victim.State, victim.Failures));
    }

    [Fact]
    public void Plan_OfferNotAccepted_ReclaimsWithoutCost()
    {
        _world.Join("train", 1);
        var job = _world.Submit("train", 50);
        _world.Plan();
        _world.Advance(World.Options.Acceptance);

        _world.Plan();

        Assert.Equal([new Reclaim(job.Id)], _world.LastPlan);
        Assert.Equal((JobState.Queued, 0), (job.State, job.Failures));
    }

    [Fact]
    public void Plan_HeartbeatsStopped_ExpiresAndBacksOff()
    {
        var worker = _world.Join("train", 1);
        var job = _world.Submit("train", 50);
        RunAll();
        _world.Kill(worker);
        _world.Advance(World.Options.Lease);

        _world.Plan();

        Assert.Equal([new Expire(job.Id)], _world.LastPlan);
        Assert.Equal((JobState.Queued, 1, _world.Now + TimeSpan.FromSeconds(2)), (job.State, job.Failures, job.NotBefore));
    }

    [Fact]
    public void Plan_NobodyCouldTakeHeartbeats_ExpiresNothing()
    {
        _world.Join("train", 1);
        _world.Submit("train", 50);
        RunAll();
        var late = _world.Snapshot() with { Now = _world.Now + World.Options.Lease, NoExpiryBefore = _world.Now + (World.Options.Lease * 2) };

        Assert.Empty(Planner.Plan(late));
    }

    [Fact]
    public void Plan_WorkerDead_ItsJobsHoldNoSlotOfOthers()
    {
        var dead = _world.Join("train", 1);
        _world.Submit("train", 50);
        RunAll();
        _world.Kill(dead);
        _world.Join("train", 1);
        var next = _world.Submit("train", 50);

        _world.Plan();

        Assert.Equal([new Dispatch(next.Id)], _world.LastPlan);
    }

    private void RunAll()
    {
        _world.Plan();
        _world.AcceptOffers();
    }
}
