using System.Net;
using System.Net.Http.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.Registry.Models;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Registry.Tests;

public sealed class AliasTests(RegistryFixture registry) : IClassFixture<RegistryFixture>
{
    [Fact]
    public async Task Put_TwentyAtOnceWithTheSameETag_OneWins()
    {
        for (var i = 0; i < 21; i++)
            await registry.RegisterAsync("raced");
        using var created = await registry.SetAliasAsync("raced", "staging", 1);

        var responses = await Task.WhenAll(Enumerable.Range(2, 20).Select(version => registry.SetAliasAsync("raced", "staging", version, created.Headers.ETag!.Tag)));

        Assert.Single(responses, r => r.StatusCode == HttpStatusCode.OK);
        Assert.Equal(19, responses.Count(r => r.StatusCode == HttpStatusCode.PreconditionFailed));
        var history = await registry.GetAsync<Page<AliasMoveView>>("/api/v1/models/raced/aliases/staging/history");
        Assert.Equal(2, history.Items.Count);
        Assert.Equal(1, history.Items[0].PreviousVersion);
    }

    [Fact]
    public async Task Put_TwentyAtOnceAsNew_OneWins()
    {
        await registry.RegisterAsync("new-race");

        var responses = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => registry.SetAliasAsync("new-race", "staging", 1)));

        Assert.Single(responses, r => r.StatusCode == HttpStatusCode.OK);
        Assert.Equal(19, responses.Count(r => r.StatusCode == HttpStatusCode.PreconditionFailed));
    }

    [Fact]
    public async Task Put_WithoutPrecondition_IsRefused()
    {
        await registry.RegisterAsync("careless");

        using var response = await registry.Ann.PutAsJsonAsync("/api/v1/models/careless/aliases/staging", new { version = 1 });

        Assert.Equal(HttpStatusCode.PreconditionRequired, response.StatusCode);
    }

    [Fact]
    public async Task Put_Alias_IsAnnounced()
    {
        await using var bus = await (await registry.BusAsync()).ListenAsync<AliasMoved>();
        var version = await registry.RegisterAsync("moved");

        using var set = await registry.SetAliasAsync("moved", "staging", 1);
        (await registry.Ann.DeleteAsync("/api/v1/models/moved/aliases/staging")).EnsureSuccessStatusCode();

        var moved = await bus.ReceiveAsync<AliasMoved>(m => m.ModelName == "moved" && m.Version is not null);
        var removed = await bus.ReceiveAsync<AliasMoved>(m => m.ModelName == "moved" && m.Version is null);
        Assert.Equal(("staging", version.Id, null, "ann"), (moved.Alias, moved.VersionId!.Value, moved.PreviousVersion, moved.Actor));
        Assert.Equal(1, removed.PreviousVersion);
    }

    [Theory]
    [InlineData("1")]
    [InlineData("latest")]
    [InlineData("Production")]
    public async Task Put_BadAliasName_IsRefused(string alias)
    {
        await registry.RegisterAsync("named");

        Assert.Equal(HttpStatusCode.BadRequest, (await registry.SetAliasAsync("named", alias, 1)).StatusCode);
    }

    [Fact]
    public async Task Production_UnapprovedVersion_IsRefusedAndSaysWhatToDo()
    {
        await registry.RegisterAsync("unapproved");

        using var response = await registry.SetAliasAsync("unapproved", "production", 1);

        Assert.Equal(HttpStatusCode.Conflict, response.StatusCode);
        Assert.Contains("/api/v1/models/unapproved/versions/1/approvals", await response.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task Production_ApprovedByAnother_IsSet()
    {
        await registry.RegisterAsync("approved");

        using var approval = await registry.ApproveAsync("approved", 1);
        using var set = await registry.SetAliasAsync("approved", "production", 1);

        Assert.Equal(HttpStatusCode.Created, approval.StatusCode);
        Assert.Equal(HttpStatusCode.OK, set.StatusCode);
        Assert.Equal(ApprovalState.Approved, (await registry.GetAsync<VersionView>("/api/v1/models/approved/versions/1")).ApprovalState);
    }

    [Fact]
    public async Task Approve_OwnVersion_IsForbiddenEvenForAnAdmin()
    {
        await registry.RegisterAsync("own");

        using var author = await registry.ApproveAsync("own", 1, by: registry.ClientOf(Roles.Approver, "ann"));
        using var admin = await registry.ApproveAsync("own", 1, by: registry.ClientOf(Roles.Admin, "ann"));
        using var operatorRole = await registry.ApproveAsync("own", 1, by: registry.ClientOf(Roles.Operator, "bob"));

        Assert.Equal(HttpStatusCode.Forbidden, author.StatusCode);
        Assert.Contains("author", await author.Content.ReadAsStringAsync());
        Assert.Equal(HttpStatusCode.Forbidden, admin.StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, operatorRole.StatusCode);
        Assert.Equal(HttpStatusCode.Conflict, (await registry.SetAliasAsync("own", "production", 1)).StatusCode);
    }

    [Fact]
    public async Task Production_OnlyAnotherVersionApproved_IsRefused()
    {
        await registry.RegisterAsync("second");
        await registry.RegisterAsync("second");
        (await registry.ApproveAsync("second", 1)).EnsureSuccessStatusCode();

        Assert.Equal(HttpStatusCode.Conflict, (await registry.SetAliasAsync("second", "production", 2)).StatusCode);
    }

    [Fact]
    public async Task Production_RejectedByOne_StaysBlockedUntilThatOneApproves()
    {
        var eve = registry.ClientOf(Roles.Approver, "eve");
        await registry.RegisterAsync("disputed");
        (await registry.ApproveAsync("disputed", 1)).EnsureSuccessStatusCode();
        (await registry.ApproveAsync("disputed", 1, "reject", eve)).EnsureSuccessStatusCode();

        using var blocked = await registry.SetAliasAsync("disputed", "production", 1);
        (await registry.ApproveAsync("disputed", 1)).EnsureSuccessStatusCode();
        using var stillBlocked = await registry.SetAliasAsync("disputed", "production", 1);
        (await registry.ApproveAsync("disputed", 1, "approve", eve)).EnsureSuccessStatusCode();
        using var free = await registry.SetAliasAsync("disputed", "production", 1);

        Assert.Equal(HttpStatusCode.Conflict, blocked.StatusCode);
        Assert.Equal(HttpStatusCode.Conflict, stillBlocked.StatusCode);
        Assert.Equal(HttpStatusCode.OK, free.StatusCode);
    }

    [Fact]
    public async Task History_AtATime_NamesVersionAndApprovers()
    {
        await registry.RegisterAsync("history", metrics: new { accuracy = 0.9 });
        await registry.RegisterAsync("history");
        (await registry.ApproveAsync("history", 1)).EnsureSuccessStatusCode();
        (await registry.ApproveAsync("history", 2)).EnsureSuccessStatusCode();
        using var first = await registry.SetAliasAsync("history", "production", 1);
        using var second = await registry.SetAliasAsync("history", "production", 2, first.Headers.ETag!.Tag);
        var moves = (await registry.GetAsync<Page<AliasMoveView>>("/api/v1/models/history/aliases/production/history")).Items;

        var before = await AtAsync(moves[1].At.AddMicroseconds(-1));
        var between = await AtAsync(moves[1].At);
        var now = await AtAsync(DateTimeOffset.UtcNow);

        Assert.Null(before.Version);
        Assert.Equal((1, "ann", moves[0].At), (between.Version, between.MovedBy, between.Until));
        Assert.Equal(("max", Decision.Approve), (between.Approvals.Single().Actor, between.Approvals.Single().Decision));
        Assert.Equal(0.9, between.Metrics["accuracy"]);
        Assert.Equal((2, null), (now.Version, now.Until));
    }

    private Task<AliasAtView> AtAsync(DateTimeOffset at) =>
        registry.GetAsync<AliasAtView>($"/api/v1/models/history/aliases/production/history?at={Uri.EscapeDataString(at.ToString("O"))}");
}
