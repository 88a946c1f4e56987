using Npgsql;
using Xunit;

namespace DeepSeek.Testing;

/// <summary>A fresh, empty PostgreSQL database, dropped at the end.</summary>
public sealed class TestDatabase : IAsyncLifetime
{
    private readonly string _name = "test_" + Guid.NewGuid().ToString("N");

    /// <summary>Small pools: many test classes share one server.</summary>
    public string ConnectionString => new NpgsqlConnectionStringBuilder(TestServers.Postgres)
    {
        Database = _name,
        MaxPoolSize = 10,
        IncludeErrorDetail = true,
    }.ConnectionString;

    public async ValueTask InitializeAsync() => await ExecuteAsync($"create database {_name}");

    public async ValueTask DisposeAsync() => await ExecuteAsync($"drop database if exists {_name} with (force)");

    /// <summary>Runs one statement in this database and returns its first value.</summary>
    public async Task<T?> ScalarAsync<T>(string sql)
    {
        await using var database = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(ConnectionString) { Pooling = false }.ConnectionString);
        await using var command = database.CreateCommand(sql);
        return await command.ExecuteScalarAsync() is T value ? value : default;
    }

    /// <summary>Waits until an inbox consumer of the service has dealt with these messages: the fence before saying that something did not happen.</summary>
    public Task HandledAsync(params Guid[] messages) => Eventually.True(
        async () => await ScalarAsync<long>($"select count(*) from inbox_messages where message_id in ({string.Join(", ", messages.Select(id => $"'{id}'"))})") == messages.Length,
        what: "the messages were handled");

    /// <summary>Waits until the broker has confirmed all that the service has published so far: the fence before counting messages.</summary>
    public Task ToldAsync() => Eventually.True(
        async () => await ScalarAsync<long>("select count(*) from outbox_messages where attempts = 0") == 0, what: "the outbox is empty");

    /// <summary>All rows of all tables as text, to look for what must not be there.</summary>
    public async Task<string> DumpAsync() => (await ScalarAsync<string>("""
        select string_agg(query_to_xml(format('select * from %I', tablename), true, false, '')::text, '') from pg_tables where schemaname = 'public'
        """))!;

    /// <summary>Breaks every connection to this database, as a restart of the server would.</summary>
    public async Task TerminateConnectionsAsync() =>
        await ExecuteAsync($"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{_name}'");

    private static async Task ExecuteAsync(string sql)
    {
        var admin = new NpgsqlConnectionStringBuilder(TestServers.Postgres) { Database = "postgres", Pooling = false };
        await using var database = NpgsqlDataSource.Create(admin.ConnectionString);
        await using var command = database.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }
}
