namespace DeepSeek.Hosting.Tests;

public sealed class PolicyTests
{
    [Fact]
    public void RestartDelay_Doubles_UpTo30Seconds_AndStartsAgainAfterAMinuteOfLife()
    {
        var delay = new RestartDelay();

        Assert.Equal([0.5, 1, 2, 4, 8, 16, 30, 30], Enumerable.Range(0, 8).Select(_ => delay.Next(TimeSpan.FromSeconds(1)).TotalSeconds));
        Assert.Equal(0.5, delay.Next(TimeSpan.FromSeconds(61)).TotalSeconds);
        Assert.Equal(1, delay.Next(TimeSpan.FromSeconds(1)).TotalSeconds);
    }

    [Fact]
    public void PollInterval_IsShortUntilHealthy_ThenAspires()
    {
        var interval = new PollInterval();

        Assert.Equal(0.1, interval.Next(healthy: false).TotalSeconds, precision: 3);
        Assert.Equal(0.12, interval.Next(healthy: false).TotalSeconds, precision: 3);
        Assert.True(Enumerable.Range(0, 50).All(_ => interval.Next(healthy: false) <= TimeSpan.FromSeconds(1)));
        Assert.Equal(30, interval.Next(healthy: true).TotalSeconds);
        Assert.Equal([1.0, 2, 3, 4, 5, 5], Enumerable.Range(0, 6).Select(_ => interval.Next(healthy: false).TotalSeconds));
        Assert.Equal(30, interval.Next(healthy: true).TotalSeconds);
        Assert.Equal(1, interval.Next(healthy: false).TotalSeconds);
    }

    [Fact]
    public void StopOrder_PutsDependentsBeforeWhatTheyUse()
    {
        var builder = GoldenModel.Create();
        var order = new StopOrder(builder.Resources.Where(r => r is ProjectResource or ContainerResource)).DependentsFirst.Select(r => r.Name).ToList();

        Assert.True(order.IndexOf("gateway") < order.IndexOf("training"));
        Assert.True(order.IndexOf("training") < order.IndexOf("registry"));
        Assert.True(order.IndexOf("registry") < order.IndexOf("postgres"));
        Assert.True(order.IndexOf("gateway") < order.IndexOf("cache"));
    }

    [Fact]
    public void StopOrder_WithACircle_StillHoldsEveryResourceOnce()
    {
        var builder = DistributedApplication.CreateBuilder();
        var a = builder.AddExecutable("a", "true", ".").WithHttpEndpoint();
        var b = builder.AddExecutable("b", "true", ".").WithHttpEndpoint().WithReference(a.GetEndpoint("http"));
        a.WithReference(b.GetEndpoint("http"));

        Assert.Equal(["a", "b"], new StopOrder(builder.Resources).DependentsFirst.Select(r => r.Name).Order());
    }
}
