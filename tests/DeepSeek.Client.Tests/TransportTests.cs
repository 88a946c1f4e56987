using System.Net;

namespace DeepSeek.Client.Tests;

public sealed class TransportTests
{
    private static readonly object s_run = new { id = Guid.Empty, jobId = Guid.Empty, name = "r", state = "queued" };

    [Fact]
    public async Task Call_RefusedWithRetryAfter_WaitsThatLongAndSendsTheSameRequest()
    {
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Status(429, "1"), ScriptedGateway.Json(s_run, 202));

        var run = await gateway.Client.Runs.CreateAsync(new { name = "r" }, TestContext.Current.CancellationToken);

        var asked = gateway.Requests.ToArray();
        Assert.Equal("queued", run.State);
        Assert.Equal(2, asked.Length);
        Assert.True(TimeProvider.System.GetElapsedTime(asked[0].At, asked[1].At) >= TimeSpan.FromSeconds(0.99));
        Assert.NotNull(asked[0].Header("Idempotency-Key"));
        Assert.Equal(asked[0].Header("Idempotency-Key"), asked[1].Header("Idempotency-Key"));
        Assert.Equal(asked[0].Body, asked[1].Body);
        Assert.Equal("Bearer dsk_test", asked[0].Header("Authorization"));
    }

    [Fact]
    public async Task Call_ConnectionBreaks_IsRepeated()
    {
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Break, ScriptedGateway.Break, ScriptedGateway.Json(new { name = "m", latestVersion = 3, aliases = new { production = 2 } }));

        var model = await gateway.Client.Models.GetAsync("m", TestContext.Current.CancellationToken);

        Assert.Equal((3, 2), (model.LatestVersion, model.Aliases!["production"]));
    }

    [Fact]
    public async Task Post_RepeatWhileTheFirstStillRuns_WaitsForItsReply()
    {
        // More waits than a call has attempts.
        await using var gateway = await ScriptedGateway.StartAsync(
            [ScriptedGateway.Break, .. Enumerable.Repeat(ScriptedGateway.Status(409, "0"), 8), ScriptedGateway.Json(s_run, 202)]);

        Assert.Equal("queued", (await gateway.Client.Runs.CreateAsync(new { name = "r" }, TestContext.Current.CancellationToken)).State);
    }

    [Fact]
    public async Task Post_RepeatWhoseFirstReplyIsNotKept_IsThrown()
    {
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Break, http =>
        {
            http.Response.Headers["Idempotency-Replayed"] = "true";
            return ScriptedGateway.Status(409)(http);
        });

        var problem = await Assert.ThrowsAsync<DeepSeekApiException>(() => gateway.Client.Keys.CreateAsync("ada", "reader", TestContext.Current.CancellationToken));

        Assert.Equal(HttpStatusCode.Conflict, problem.Status);
        Assert.Equal(2, gateway.Requests.Count);
    }

    [Fact]
    public async Task Put_Repeated_KeepsItsIdempotencyKey()
    {
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Break, ScriptedGateway.Json(new { }));

        await gateway.Client.Models.SetAliasAsync("m", "a", 2, "\"1\"", TestContext.Current.CancellationToken);

        var keys = gateway.Requests.Select(asked => asked.Header("Idempotency-Key")).ToArray();
        Assert.Equal(2, keys.Length);
        Assert.NotNull(keys[0]);
        Assert.Equal(keys[0], keys[1]);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(502)]
    [InlineData(504)]
    public async Task Delete_GoneAfterABrokenTry_IsDone(int? status)
    {
        await using var gateway = await ScriptedGateway.StartAsync(status is { } code ? ScriptedGateway.Status(code) : ScriptedGateway.Break, ScriptedGateway.Status(404));

        await gateway.Client.Deployments.DeleteAsync("d", TestContext.Current.CancellationToken);

        Assert.Equal(2, gateway.Requests.Count);
        Assert.All(gateway.Requests, asked => Assert.Null(asked.Header("Idempotency-Key")));
    }

    [Fact]
    public async Task Delete_OfNothing_AfterATryThatDidNothing_IsThrown()
    {
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Status(429, "0"), ScriptedGateway.Status(404));

        var problem = await Assert.ThrowsAsync<DeepSeekApiException>(() => gateway.Client.Deployments.DeleteAsync("d", TestContext.Current.CancellationToken));

        Assert.Equal(HttpStatusCode.NotFound, problem.Status);
    }

    [Fact]
    public async Task Post_ConflictAtOnce_IsThrown()
    {
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Status(409), ScriptedGateway.Json(s_run));

        var problem = await Assert.ThrowsAsync<DeepSeekApiException>(() => gateway.Client.Runs.CreateAsync(new { name = "r" }, TestContext.Current.CancellationToken));

        Assert.Equal(HttpStatusCode.Conflict, problem.Status);
        Assert.Single(gateway.Requests);
    }

    [Fact]
    public async Task Call_Refused_ThrowsTheProblemWithItsFields()
    {
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Json(
            new { title = "The request is not valid", detail = "epochs: must be 1 or more.", errors = new { epochs = new[] { "must be 1 or more." } } }, 400));

        var problem = await Assert.ThrowsAsync<DeepSeekApiException>(() => gateway.Client.Runs.CreateAsync(new { epochs = 0 }, TestContext.Current.CancellationToken));

        Assert.Equal("The request is not valid", problem.Title);
        Assert.Equal("must be 1 or more.", problem.Errors["epochs"].Single());
    }

    [Fact]
    public async Task Call_RetryAfterLongerThanAMinute_IsLeftToTheCaller()
    {
        await using var gateway = await ScriptedGateway.StartAsync(ScriptedGateway.Status(429, "3600"));

        var problem = await Assert.ThrowsAsync<DeepSeekApiException>(() => gateway.Client.Models.GetAsync("m", TestContext.Current.CancellationToken));

        Assert.Equal(TimeSpan.FromHours(1), problem.RetryAfter);
    }

    [Fact]
    public async Task List_SeveralPages_FollowsTheCursor()
    {
        await using var gateway = await ScriptedGateway.StartAsync(
            ScriptedGateway.Json(new { items = new[] { new { name = "a" } }, next = "c/1" }), ScriptedGateway.Json(new { items = new[] { new { name = "b" } }, next = (string?)null }));

        var names = await gateway.Client.Models.ListAsync("x y", TestContext.Current.CancellationToken).Select(m => m.Name).ToListAsync(TestContext.Current.CancellationToken);

        Assert.Equal(["a", "b"], names);
        Assert.Equal(["/api/v1/models?search=x%20y", "/api/v1/models?search=x%20y&cursor=c%2F1"], gateway.Requests.Select(r => r.Path));
    }
}
