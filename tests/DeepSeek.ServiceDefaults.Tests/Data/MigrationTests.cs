using DeepSeek.ServiceDefaults.Data;
using DeepSeek.ServiceDefaults.Tests.Sample;
using Npgsql;

namespace DeepSeek.ServiceDefaults.Tests.Data;

public sealed class MigrationTests : IAsyncLifetime
{
    private readonly TestDatabase _database = new();
    private readonly TestVhost _vhost = new();
    private readonly Migrations _migrations = new(typeof(SampleDb).Assembly);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        await _database.InitializeAsync();
        await _vhost.InitializeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _vhost.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task Scripts_StartedByFourAtOnce_AreAppliedOnceEach()
    {
        await using var database = NpgsqlDataSource.Create(_database.ConnectionString);
        var applied = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => _migrations.ApplyAsync(database, Token)));
        Assert.Equal(["0000_outbox.sql", "0001_initial.sql"], applied.SelectMany(scripts => scripts));
        Assert.Equal(2L, await _database.ScalarAsync<long>("select count(*) from schema_version"));
    }

    [Fact]
    public async Task Script_ChangedAfterItWasApplied_IsRefused()
    {
        await using var database = NpgsqlDataSource.Create(_database.ConnectionString);
        await _migrations.ApplyAsync(database, Token);
        await _database.ScalarAsync<object>("update schema_version set sha256 = 'other' where name = '0001_initial.sql'");
        var fault = await Assert.ThrowsAsync<InvalidOperationException>(() => _migrations.ApplyAsync(database, Token));
        Assert.Contains("0001_initial.sql", fault.Message);
    }

    [Fact]
    public async Task Scripts_OfTheSample_MatchItsModel()
    {
        await using var service = await SampleService.StartAsync(_database, _vhost);
        await SchemaAssert.MatchesModel<SampleDb>(service.App.Services);
        await _database.ScalarAsync<object>("alter table notes add column extra integer; alter table notes alter column text drop not null");
        var difference = await Assert.ThrowsAsync<AssertionFailedException>(() => SchemaAssert.MatchesModel<SampleDb>(service.App.Services));
        Assert.Contains("only in the scripts: notes.extra integer null", difference.Message);
        Assert.Contains("only in the model: notes.text text\n", difference.Message);
    }

    [Theory]
    [InlineData("CreatedAt", "created_at")]
    [InlineData("Sha256", "sha256")]
    [InlineData("ModelVersionID", "model_version_id")]
    [InlineData("HTTPStatus", "http_status")]
    [InlineData("already_snake", "already_snake")]
    public void Name_InSnakeCase(string name, string expected) => Assert.Equal(expected, SnakeCase.Of(name));
}
