using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using MassTransit;

namespace DeepSeek.Scheduling.Tests;

/// <summary>What other versions of the services send, and what databases hold: changed only by adding.</summary>
public sealed class WireFormatTests
{
    [Theory]
    [InlineData(typeof(SubmitJob))]
    [InlineData(typeof(RunJob))]
    [InlineData(typeof(JobCompleted))]
    [InlineData(typeof(JobFailed))]
    [InlineData(typeof(JobYielded))]
    [InlineData(typeof(JobCancelled))]
    [InlineData(typeof(JobEnded))]
    [InlineData(typeof(WorkerSeen))]
    public void Message_Urn_IsFrozen(Type message) =>
        Assert.Equal($"urn:message:DeepSeek.Contracts.Jobs:{message.Name}", MessageUrn.ForType(message).ToString());

    [Fact]
    public void Messages_OfJobs_AreThese() => Assert.Equal(
        "AcquireLease EndLease Heartbeat HeartbeatReply JobCancelled JobCompleted JobEnded JobFailed JobYielded RunJob SubmitJob WorkerSeen",
        string.Join(' ', typeof(SubmitJob).Assembly.GetTypes()
            .Where(type => type is { Namespace: "DeepSeek.Contracts.Jobs", IsEnum: false, IsAbstract: false } && type.IsPublic)
            .Select(type => type.Name).Order(StringComparer.Ordinal)));

    [Fact]
    public void Enums_Values_AreFrozen()
    {
        Assert.Equal("Queued=0 Leased=1 Running=2 Yielding=3 Succeeded=4 Failed=5 Cancelled=6", Values<JobState>());
        Assert.Equal("Continue=0 Cancel=1 Yield=2 Lost=3", Values<JobDirective>());
        Assert.Equal("Failed=0 Yielded=1 Cancelled=2 Declined=3 Completed=4", Values<LeaseOutcome>());
        Assert.Equal("Completed=0 Failed=1 Lost=2 Yielded=3 Cancelled=4", Values<AttemptOutcome>());
        Assert.Equal("State=0 Progress=1 Log=2", Values<JobEventType>());
    }

    private static string Values<T>() where T : struct, Enum =>
        string.Join(' ', Enum.GetValues<T>().Select(value => $"{value}={Convert.ToInt32(value)}"));
}
