using Npgsql;

namespace Aspire.Hosting;

/// <summary>Creates the databases of a server.</summary>
internal static class PostgresDatabases
{
    public static async Task CreateAsync(PostgresServerResource server, CancellationToken cancellationToken)
    {
        if (server.DatabaseResources.Count == 0)
        {
            return;
        }

        await using var connection = await OpenAsync(server, cancellationToken).ConfigureAwait(false);
        foreach (var database in server.DatabaseResources)
        {
            await using var exists = new NpgsqlCommand("select 1 from pg_database where datname = $1", connection);
            exists.Parameters.AddWithValue(database.DatabaseName);
            if (await exists.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is not null)
            {
                continue;
            }

            var script = database.TryGetLastAnnotation<PostgresCreateScriptAnnotation>(out var annotation)
                ? annotation.Script
                : $"create database \"{database.DatabaseName.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
            await using var create = new NpgsqlCommand(script, connection);
            await create.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Opens a connection of its own: pooled ones would each keep a server process for nothing.</summary>
    public static async Task<NpgsqlConnection> OpenAsync(IResourceWithConnectionString resource, CancellationToken cancellationToken)
    {
        var text = await resource.GetConnectionStringAsync(cancellationToken).ConfigureAwait(false);
        var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(text) { Pooling = false, Timeout = 5, CommandTimeout = 30 }.ConnectionString);
        await connection.OpenAsync(cancellationToken).ConfigureAwait(false);
        return connection;
    }
}
