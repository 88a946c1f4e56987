using System.Runtime.InteropServices;
using DeepSeek.Testing;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>Writes Parquet with an unlocked DuckDB of the tests' own.</summary>
internal static unsafe partial class TestParquet
{
    public static byte[] FromCsv(string csv, string select)
    {
        using var folder = new TestFolder();
        var (source, target) = (Path.Combine(folder.Path, "t.csv"), Path.Combine(folder.Path, "t.parquet"));
        File.WriteAllText(source, csv);
        Execute($"COPY (SELECT {select} FROM read_csv('{source}', all_varchar=true)) TO '{target}' (FORMAT parquet)");
        return File.ReadAllBytes(target);
    }

    private static void Execute(string sql)
    {
        NativeLibrary.SetDllImportResolver(typeof(TestParquet).Assembly, (name, _, _) => name == "duckdb" ? NativeLibrary.Load(Path.Combine(AppContext.BaseDirectory, "libduckdb.so")) : 0);
        Assert.Equal(0, Open(null, out var database));
        Assert.Equal(0, Connect(database, out var connection));
        Assert.Equal(0, Query(connection, sql, null));
        Disconnect(ref connection);
        Close(ref database);
    }

    [LibraryImport("duckdb", EntryPoint = "duckdb_open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string? path, out nint database);

    [LibraryImport("duckdb", EntryPoint = "duckdb_connect")]
    private static partial int Connect(nint database, out nint connection);

    [LibraryImport("duckdb", EntryPoint = "duckdb_query", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Query(nint connection, string sql, void* result);

    [LibraryImport("duckdb", EntryPoint = "duckdb_disconnect")]
    private static partial void Disconnect(ref nint connection);

    [LibraryImport("duckdb", EntryPoint = "duckdb_close")]
    private static partial void Close(ref nint database);
}
