using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using Npgsql;

namespace DeepSeek.ServiceDefaults.Data;

/// <summary>
/// Applies the SQL scripts embedded under <c>Migrations/</c> in the order of their names, each once and in a transaction of its own.
/// Starters of the same service wait for each other at an advisory lock.
/// </summary>
public sealed class Migrations(Assembly assembly)
{
    private const long LockKey = 0x6465_6570_7365_656B; // "deepseek"

    /// <summary>Names of the scripts that were applied now.</summary>
    public async Task<IReadOnlyList<string>> ApplyAsync(NpgsqlDataSource database, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await ExecuteAsync(connection, $"select pg_advisory_lock({LockKey})", cancellationToken);
        try
        {
            await ExecuteAsync(connection,
                "create table if not exists schema_version (name text primary key, sha256 text not null, applied_at timestamp with time zone not null default now())",
                cancellationToken);
            var applied = await ReadAppliedAsync(connection, cancellationToken);
            var fresh = new List<string>();
            foreach (var script in Scripts())
            {
                if (applied.TryGetValue(script.Name, out var sha256))
                {
                    if (sha256 != script.Sha256)
                    {
                        throw new InvalidOperationException(
                            $"Script {script.Name} was changed after it had been applied to this database; undo the change and add a new script.");
                    }

                    continue;
                }

                await ApplyAsync(connection, script, cancellationToken);
                fresh.Add(script.Name);
            }

            return fresh;
        }
        finally
        {
            await ExecuteAsync(connection, $"select pg_advisory_unlock({LockKey})", CancellationToken.None);
        }
    }

    private IEnumerable<Script> Scripts() =>
        Scripts(typeof(Migrations).Assembly).Concat(assembly == typeof(Migrations).Assembly ? [] : Scripts(assembly));

    private static IEnumerable<Script> Scripts(Assembly assembly)
    {
        const string folder = ".Migrations.";
        foreach (var resource in assembly.GetManifestResourceNames()
            .Where(name => name.Contains(folder, StringComparison.Ordinal) && name.EndsWith(".sql", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal))
        {
            using var reader = new StreamReader(assembly.GetManifestResourceStream(resource)!, Encoding.UTF8);
            var sql = reader.ReadToEnd();
            var name = resource[(resource.LastIndexOf(folder, StringComparison.Ordinal) + folder.Length)..];
            yield return new Script(name, sql, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(sql))));
        }
    }

    private static async Task ApplyAsync(NpgsqlConnection connection, Script script, CancellationToken cancellationToken)
    {
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        await ExecuteAsync(connection, script.Sql, cancellationToken);
        await using var record = new NpgsqlCommand("insert into schema_version (name, sha256) values ($1, $2)", connection, transaction)
        {
            Parameters = { new() { Value = script.Name }, new() { Value = script.Sha256 } },
        };
        await record.ExecuteNonQueryAsync(cancellationToken);
        await transaction.CommitAsync(cancellationToken);
    }

    private static async Task<Dictionary<string, string>> ReadAppliedAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand("select name, sha256 from schema_version", connection);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var applied = new Dictionary<string, string>();
        while (await reader.ReadAsync(cancellationToken))
        {
            applied.Add(reader.GetString(0), reader.GetString(1));
        }

        return applied;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    private sealed record Script(string Name, string Sql, string Sha256);
}
