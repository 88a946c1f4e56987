namespace DeepSeek.Preprocessing.DuckDb;

/// <summary>Bounds of one DuckDB instance.</summary>
/// <param name="MemoryLimitMegabytes">Buffer memory DuckDB may hold; beyond it, it spills to <paramref name="TemporaryDirectory"/>.</param>
/// <param name="Threads">Threads of its own, the caller's included.</param>
/// <param name="TemporaryDirectory">Private folder; created and removed by the caller.</param>
internal sealed record DuckDbLimits(int MemoryLimitMegabytes, int Threads, string TemporaryDirectory)
{
    /// <summary>What a column takes while a table streams: vectors of 2048 cells of 16 bytes, of which DuckDB holds a few. 4000 columns were read with 130 KB each.</summary>
    private const int KilobytesPerColumn = 160;

    /// <summary>The same, with the memory that so many columns need if it is more.</summary>
    public DuckDbLimits For(int columns) =>
        this with { MemoryLimitMegabytes = Math.Max(MemoryLimitMegabytes, columns * KilobytesPerColumn / 1024) };
}

/// <summary>
/// An in-memory DuckDB that may touch the given files and nothing else: no other path, no network, no extension, no home
/// folder, and no statement can change that afterwards (lock_configuration).
/// </summary>
internal sealed unsafe class DuckDbConnection : IDisposable
{
    private nint _database;
    private nint _connection;

    public DuckDbConnection(DuckDbLimits limits, IReadOnlyCollection<string> readableFiles)
    {
        if (DuckDbNative.CreateConfig(out var config) != DuckDbNative.Success)
        {
            throw new DuckDbException("DuckDB gave no configuration object.");
        }
        try
        {
            Set(config, "memory_limit", $"{limits.MemoryLimitMegabytes}MB");
            Set(config, "threads", limits.Threads.ToString());
            Set(config, "temp_directory", limits.TemporaryDirectory);
            Set(config, "extension_directory", limits.TemporaryDirectory);
            Set(config, "secret_directory", limits.TemporaryDirectory);
            Set(config, "allow_persistent_secrets", "false");
            Set(config, "autoload_known_extensions", "false");
            Set(config, "autoinstall_known_extensions", "false");
            Set(config, "allow_community_extensions", "false");
            Set(config, "allow_unsigned_extensions", "false");
            Set(config, "preserve_insertion_order", "true");
            if (DuckDbNative.OpenExt(null, out _database, config, out var error) != DuckDbNative.Success)
            {
                throw new DuckDbException("DuckDB did not open: " + DuckDbNative.Text(error));
            }
        }
        finally
        {
            DuckDbNative.DestroyConfig(ref config);
        }
        if (DuckDbNative.Connect(_database, out _connection) != DuckDbNative.Success)
        {
            DuckDbNative.Close(ref _database);
            throw new DuckDbException("DuckDB refused a connection.");
        }
        Execute($"SET home_directory={Literal(limits.TemporaryDirectory)}");
        Execute($"SET allowed_paths=[{string.Join(", ", readableFiles.Select(Literal))}]");
        Execute("SET enable_external_access=false");
        Execute("SET lock_configuration=true");
    }

    public static string Version => DuckDbNative.Text(DuckDbNative.LibraryVersion());

    /// <summary>Quotes text as an SQL string literal.</summary>
    public static string Literal(string text) => "'" + text.Replace("'", "''", StringComparison.Ordinal) + "'";

    /// <summary>Quotes a name as an SQL identifier.</summary>
    public static string Identifier(string name) => "\"" + name.Replace("\"", "\"\"", StringComparison.Ordinal) + "\"";

    public void Execute(string sql)
    {
        DuckDbResult result = default;
        try
        {
            if (DuckDbNative.Query(_connection, sql, &result) != DuckDbNative.Success)
            {
                throw new DuckDbException(DuckDbNative.Text(DuckDbNative.ResultError(&result)));
            }
        }
        finally
        {
            DuckDbNative.DestroyResult(&result);
        }
    }

    /// <summary>Starts a query whose rows are produced as they are read, in the order of the file.</summary>
    public DuckDbReader Stream(string sql) => new(_connection, sql);

    public void Dispose()
    {
        if (_connection != 0)
        {
            DuckDbNative.Disconnect(ref _connection);
        }
        if (_database != 0)
        {
            DuckDbNative.Close(ref _database);
        }
    }

    private static void Set(nint config, string name, string value)
    {
        if (DuckDbNative.SetConfig(config, name, value) != DuckDbNative.Success)
        {
            throw new DuckDbException($"DuckDB refused the option {name}={value}.");
        }
    }
}

/// <summary>DuckDB's own words; they may quote cell contents and must not reach logs or users unchanged.</summary>
internal sealed class DuckDbException(string message) : Exception(message)
{
    /// <summary>DuckDB's memory limit was not enough. Its words begin with the kind of error.</summary>
    public bool IsOutOfMemory => Message.StartsWith("Out of Memory Error", StringComparison.Ordinal);
}
