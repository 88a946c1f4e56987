using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;

namespace DeepSeek.Scheduling.Tests.Jobs;

public sealed class JobTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 1, 12, 0, 0, TimeSpan.Zero);
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan BackOff = TimeSpan.FromSeconds(2);
    private readonly Guid _lease = Guid.NewGuid();
    private readonly Job _job = Job.Create(
        new SubmitJob { JobId = Guid.NewGuid(), Kind = "train", SubjectId = Guid.NewGuid(), Name = "n", Owner = "ada", SubmittedAt = Now }, Now);

    [Fact]
    public void Accept_SecondWorker_IsRefused()
    {
        Run();

        Assert.False(_job.Accept(_lease, "other", Now, Lease));
        Assert.True(_job.Accept(_lease, "w", Now, Lease));
        Assert.Equal("w", Assert.Single(_job.Attempts).WorkerId);
    }

    [Fact]
    public void Fail_StaleLease_ChangesNothing()
    {
        Run();

        Assert.False(_job.Fail(Guid.NewGuid(), "fault", true, Now, BackOff));
        Assert.Equal(JobState.Running, _job.State);
    }

    [Fact]
    public void Fail_MaxAttemptsReached_FailsWithLastCauseAndKeepsAll()
    {
        for (var attempt = 1; attempt <= 3; attempt++)
        {
            var lease = Guid.NewGuid();
            _job.Dispatch(lease, Now, Lease);
            _job.Accept(lease, "w", Now, Lease);
            _job.Fail(lease, $"fault {attempt}", true, Now, BackOff);
        }

        Assert.Equal((JobState.Failed, "fault 3", 3), (_job.State, _job.Error, _job.Attempt));
        Assert.Equal(["fault 1", "fault 2", "fault 3"], _job.Attempts.Select(attempt => attempt.Cause));
    }

    [Fact]
    public void Fail_NotRetryable_FailsAtOnce()
    {
        Run();

        _job.Fail(_lease, "bad input", false, Now, BackOff);

        Assert.Equal((JobState.Failed, 1), (_job.State, _job.Failures));
    }

    [Fact]
    public void Complete_StaleLease_SucceedsBecauseTheResultIsStored()
    {
        Run();
        _job.Expire(Now, BackOff);
        _job.Dispatch(Guid.NewGuid(), Now, Lease);

        Assert.True(_job.Complete(_lease, "/r", Now));
        Assert.Equal((JobState.Succeeded, "/r"), (_job.State, _job.Result));
        Assert.False(_job.Complete(_lease, "/r", Now));
    }

    [Fact]
    public void Yield_Asked_CostsNoAttemptAndFencesTheOldLease()
    {
        Run();
        _job.Preempt(Guid.NewGuid(), Now);

        _job.Yield(_lease, Now);
        _job.Dispatch(Guid.NewGuid(), Now, Lease);

        Assert.Equal((0, 2), (_job.Failures, _job.Dispatches));
        Assert.Equal(JobDirective.Lost, Beat().Directive);
    }

    [Fact]
    public void Cancel_Queued_EndsAtOnce()
    {
        _job.Cancel("ada", Now);

        Assert.Equal((JobState.Cancelled, "Cancelled by ada."), (_job.State, _job.Error));
    }

    [Fact]
    public void Cancel_Running_TellsTheWorkerAndEndsWithItsWord()
    {
        Run();
        _job.Cancel("ada", Now);

        Assert.Equal((JobState.Running, JobDirective.Cancel), (_job.State, Beat().Directive));
        _job.Cancelled(_lease, Now);
        Assert.Equal(JobState.Cancelled, _job.State);
    }

    [Fact]
    public void Cancel_WorkerDies_EndsCancelledNotRetried()
    {
        Run();
        _job.Cancel("ada", Now);

        _job.Expire(Now, BackOff);

        Assert.Equal(JobState.Cancelled, _job.State);
    }

    [Fact]
    public void Retry_Failed_GrantsOneMoreAttempt()
    {
        Run();
        _job.Fail(_lease, "bad input", false, Now, BackOff);

        Assert.True(_job.Retry("ada", Now));
        Assert.Equal((JobState.Queued, 3, null), (_job.State, _job.MaxAttempts, _job.EndedAt));
        Assert.False(_job.Retry("ada", Now));
    }

    [Fact]
    public void Beat_Repeated_StoresEachLineOnce()
    {
        Run();
        var beat = new Heartbeat { Progress = 0.5, Message = "half", Log = ["a", "b"] };
        _job.Beat(_lease, beat, Now, Lease, 100);
        _job.Beat(_lease, beat, Now, Lease, 100);
        _job.Beat(_lease, beat with { LogStart = 1, Log = ["b", "c"] }, Now, Lease, 100);

        Assert.Equal(3, _job.Events.Count(entry => entry.Type == JobEventType.Log));
        Assert.Equal(1, _job.Events.Count(entry => entry.Type == JobEventType.Progress));
    }

    [Fact]
    public void Beat_JobJustEndedUnderTheLease_StillStoresTheLastLines()
    {
        Run();
        _job.Complete(_lease, "/r", Now);

        Assert.Equal(JobDirective.Lost, _job.Beat(_lease, new Heartbeat { Log = ["last words"] }, Now, Lease, 100));
        Assert.Equal(1, _job.Events.Count(entry => entry.Type == JobEventType.Log));
        Assert.Equal(JobState.Succeeded, _job.State);
    }

    [Fact]
    public void Beat_NotFiniteProgress_KeepsTheLast()
    {
        Run();
        _job.Beat(_lease, new Heartbeat { Progress = 0.5 }, Now, Lease, 100);
        _job.Beat(_lease, new Heartbeat { Progress = double.NaN }, Now, Lease, 100);

        Assert.Equal(0.5, _job.Progress);
    }

    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 4)]
    [InlineData(5, 32)]
    [InlineData(6, 60)]
    [InlineData(1000, 60)]
    public void BackOff_Failures_DoublesUpToTheLimit(int failures, double seconds) =>
        Assert.Equal(TimeSpan.FromSeconds(seconds), new SchedulingOptions().BackOff(failures));

    private (JobDirective Directive, bool _) Beat() => (_job.Beat(_lease, new Heartbeat(), Now, Lease, 100), true);

    private void Run()
    {
        _job.Dispatch(_lease, Now, Lease);
        _job.Accept(_lease, "w", Now, Lease);
    }
}
