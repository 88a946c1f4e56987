using System.Net;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.Extensions.Logging.Abstractions;

namespace DeepSeek.ServiceDefaults.Tests.Jobs;

/// <summary>A worker whose Scheduling is away, by a clock that runs a hundred times as fast as the wall's.</summary>
public sealed class JobRunnerTests
{
    private static readonly RunJob s_offer = new() { JobId = Guid.NewGuid(), Kind = "test", SubjectId = Guid.NewGuid(), LeaseId = Guid.NewGuid(), Attempt = 1, LeaseSeconds = 30 };

    [Fact]
    public async Task Offer_SchedulingAwayForTwoMinutes_IsTakenWhenItIsBack()
    {
        var clock = new FastClock();
        var back = clock.GetUtcNow() + TimeSpan.FromMinutes(2);
        var (runner, taken) = Start(clock, acquire: () => clock.GetUtcNow() < back ? null : HttpStatusCode.OK);

        runner.Offer(s_offer);

        await taken.Task.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Assert.True(clock.GetUtcNow() >= back);
        await Eventually.True(() => runner.Busy == 0);
    }

    [Theory]
    [InlineData(HttpStatusCode.InternalServerError)] // for twenty seconds
    [InlineData(HttpStatusCode.Conflict)] // at once
    public async Task Offer_SchedulingRefuses_LetsGoOfItsSlot(HttpStatusCode status)
    {
        var asked = 0;
        var (runner, taken) = Start(new FastClock(), acquire: () =>
        {
            asked++;
            return status;
        });

        runner.Offer(s_offer);

        await Eventually.True(() => asked > 0 && runner.Busy == 0);
        Assert.False(taken.Task.IsCompleted);
        Assert.True(status == HttpStatusCode.Conflict ? asked == 1 : asked > 3, $"{asked} times");
    }

    [Fact]
    public async Task Stop_WhileSchedulingIsAway_EndsTheWaiting()
    {
        var asked = new TaskCompletionSource();
        var (runner, taken) = Start(new FastClock(), acquire: () =>
        {
            asked.TrySetResult();
            return null;
        });
        runner.Offer(s_offer);
        await asked.Task.WaitAsync(TestContext.Current.CancellationToken);

        await runner.StopAsync(TimeSpan.FromHours(1));

        Assert.Equal(0, runner.Busy);
        Assert.False(taken.Task.IsCompleted);
    }

    /// <param name="clock">The worker's.</param>
    /// <param name="acquire">What Scheduling says to a worker that wants a lease; null: nothing, it is away.</param>
    private static (JobRunner Runner, TaskCompletionSource Taken) Start(TimeProvider clock, Func<HttpStatusCode?> acquire)
    {
        var taken = new TaskCompletionSource();
        var services = new ServiceCollection();
        services.AddScoped(_ => new LeaseClient(new HttpClient(new Scheduling(acquire)) { BaseAddress = new Uri("http://scheduling") }));
        var runner = new JobRunner(
            services.BuildServiceProvider().GetRequiredService<IServiceScopeFactory>(), _ => new Handler(taken), "test", new JobWorkerOptions(), clock, NullLogger<JobRunner>.Instance);
        return (runner, taken);
    }

    private sealed class Handler(TaskCompletionSource taken) : IJobHandler
    {
        public Task RunAsync(JobContext job, CancellationToken cancelled)
        {
            taken.TrySetResult();
            throw new JobRefusedException("Enough.");
        }
    }

    private sealed class Scheduling(Func<HttpStatusCode?> acquire) : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            !request.RequestUri!.AbsolutePath.EndsWith("/lease", StringComparison.Ordinal)
                ? Task.FromResult(new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent("""{"directive":"continue"}""") })
                : acquire() is { } status ? Task.FromResult(new HttpResponseMessage(status)) : throw new HttpRequestException("Connection refused");
    }

    private sealed class FastClock : TimeProvider
    {
        private const int Speed = 100;
        private readonly DateTimeOffset _start = System.GetUtcNow();

        public override DateTimeOffset GetUtcNow() => _start + (System.GetUtcNow() - _start) * Speed;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            System.CreateTimer(callback, state, dueTime > TimeSpan.Zero ? dueTime / Speed : dueTime, period > TimeSpan.Zero ? period / Speed : period);
    }
}
