using DeepSeek.ServiceDefaults.Data;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace DeepSeek.Testing;

/// <summary>Compares the SQL scripts with the EF Core model: tables, columns, types, nullability.</summary>
public static class SchemaAssert
{
    private const string Query = """
        select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), not a.attnotnull
        from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0 and not a.attisdropped
        """;

    /// <summary>Compares with the database of a running service, whose scripts have been applied at its start.</summary>
    /// <param name="services">The service's container.</param>
    /// <param name="unmapped">Tables that the model leaves out on purpose.</param>
    public static async Task MatchesModel<TDb>(IServiceProvider services, params string[] unmapped) where TDb : DbContext
    {
        await using var scope = services.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<TDb>();
        var database = services.GetRequiredService<NpgsqlDataSource>();
        var inDatabase = await ReadAsync(database, ["schema_version", .. unmapped]);
        var inModel = db.Model.GetRelationalModel().Tables
            .SelectMany(table => table.Columns.Select(column => Line(table.Name, column.Name, column.StoreType, column.IsNullable)))
            .ToHashSet();
        var differences = inModel.Except(inDatabase).Select(line => "only in the model: " + line)
            .Concat(inDatabase.Except(inModel).Select(line => "only in the scripts: " + line))
            .Order().ToList();
        if (differences.Count > 0)
        {
            throw new AssertionFailedException($"{typeof(TDb).Name} and its scripts differ:\n{string.Join('\n', differences)}");
        }
    }

    private static async Task<HashSet<string>> ReadAsync(NpgsqlDataSource database, string[] leaveOut)
    {
        await using var command = database.CreateCommand(Query);
        await using var reader = await command.ExecuteReaderAsync();
        var lines = new HashSet<string>();
        while (await reader.ReadAsync())
        {
            if (!leaveOut.Contains(reader.GetString(0)))
            {
                lines.Add(Line(reader.GetString(0), reader.GetString(1), reader.GetString(2), reader.GetBoolean(3)));
            }
        }

        return lines;
    }

    private static string Line(string table, string column, string type, bool nullable) =>
        $"{table}.{column} {type}{(nullable ? " null" : "")}";
}
