using DeepSeek.Inference.Batching;

namespace DeepSeek.Inference.Tests.Batching;

public sealed class ServiceRateTests
{
    [Fact]
    public void RetryAfter_BeforeAnyExecution_IsOneSecond() =>
        Assert.Equal(1, new ServiceRate(new ManualTime(), 1000).PromiseRetryAfter(1000, 1));

    [Fact]
    public void RetryAfter_FollowsQueueAndRate()
    {
        var rate = new ServiceRate(new ManualTime(), 1000);
        rate.Record(100, 1);

        // 250 rows wait and 10 are asked for, at 100 rows a second: 2.6 s.
        Assert.Equal(3, rate.PromiseRetryAfter(250, 10));
    }

    [Fact]
    public void RetryAfter_OfABurst_SpreadsItsSendersOverTheRate()
    {
        var rate = new ServiceRate(new ManualTime(), 1000);
        rate.Record(100, 1);

        var promises = Enumerable.Range(0, 500).Select(_ => rate.PromiseRetryAfter(0, 1)).ToList();

        // 100 rows a second: exactly a hundred senders per second.
        Assert.Equal([100, 100, 100, 100, 100], promises.GroupBy(p => p).OrderBy(g => g.Key).Select(g => g.Count()));
    }

    [Fact]
    public void RetryAfter_OfAShortQueue_PromisesNoMoreThanFit()
    {
        var rate = new ServiceRate(new ManualTime(), maxQueue: 16);
        rate.Record(1000, 1);

        var promises = Enumerable.Range(0, 36).Select(_ => rate.PromiseRetryAfter(0, 1)).ToList();

        // Three quarters of sixteen places in each second.
        Assert.Equal([12, 12, 12], promises.GroupBy(p => p).OrderBy(g => g.Key).Select(g => g.Count()));
    }

    [Fact]
    public void RetryAfter_WhenPromisesHavePassed_ForgetsThem()
    {
        var time = new ManualTime();
        var rate = new ServiceRate(time, 1000);
        rate.Record(1, 1);
        Assert.Equal([1, 2, 3], Enumerable.Range(0, 3).Select(_ => rate.PromiseRetryAfter(0, 1)));

        time.Advance(TimeSpan.FromSeconds(10));

        Assert.Equal(1, rate.PromiseRetryAfter(0, 1));
    }

    [Fact]
    public void RetryAfter_OfAHopelessQueue_IsBounded()
    {
        var rate = new ServiceRate(new ManualTime(), 1000);
        rate.Record(1, 10);

        Assert.Equal(ServiceRate.MaxRetryAfterSeconds, rate.PromiseRetryAfter(1_000_000, 1));
        Assert.Equal(ServiceRate.MaxRetryAfterSeconds, rate.PromiseRetryAfter(1_000_000, 1));
    }

    private sealed class ManualTime : TimeProvider
    {
        private long _ticks;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => _ticks;

        public void Advance(TimeSpan by) => _ticks += by.Ticks;
    }
}
