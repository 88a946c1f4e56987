using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace DeepSeek.Preprocessing.DuckDb;

/// <summary>The part of DuckDB's C API (duckdb.h, 1.5) that reading needs. Names as there.</summary>
internal static unsafe partial class DuckDbNative
{
    private const string Library = "duckdb";

    /// <summary>Environment variable with the path of libduckdb.so, for installations that keep it elsewhere.</summary>
    public const string LibraryVariable = "DEEPSEEK_DUCKDB_LIBRARY";

    static DuckDbNative() => NativeLibrary.SetDllImportResolver(typeof(DuckDbNative).Assembly, Resolve);

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        if (name != Library)
        {
            return 0;
        }
        string?[] candidates =
        [
            Environment.GetEnvironmentVariable(LibraryVariable),
            Path.Combine(AppContext.BaseDirectory, "libduckdb.so"),
        ];
        foreach (var candidate in candidates)
        {
            if (candidate is not null && File.Exists(candidate))
            {
                return NativeLibrary.Load(candidate);
            }
        }
        return NativeLibrary.TryLoad("libduckdb.so", assembly, null, out var handle)
            ? handle
            : throw new DllNotFoundException(
                $"libduckdb.so is neither beside the service ({AppContext.BaseDirectory}) nor named by {LibraryVariable}. Run eng/setup parts and build again.");
    }

    /// <summary>duckdb_state.</summary>
    public const int Success = 0;

    [LibraryImport(Library, EntryPoint = "duckdb_create_config")]
    public static partial int CreateConfig(out nint config);

    [LibraryImport(Library, EntryPoint = "duckdb_set_config", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int SetConfig(nint config, string name, string option);

    [LibraryImport(Library, EntryPoint = "duckdb_destroy_config")]
    public static partial void DestroyConfig(ref nint config);

    [LibraryImport(Library, EntryPoint = "duckdb_open_ext", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int OpenExt(string? path, out nint database, nint config, out nint error);

    [LibraryImport(Library, EntryPoint = "duckdb_close")]
    public static partial void Close(ref nint database);

    [LibraryImport(Library, EntryPoint = "duckdb_connect")]
    public static partial int Connect(nint database, out nint connection);

    [LibraryImport(Library, EntryPoint = "duckdb_disconnect")]
    public static partial void Disconnect(ref nint connection);

    [LibraryImport(Library, EntryPoint = "duckdb_interrupt")]
    public static partial void Interrupt(nint connection);

    [LibraryImport(Library, EntryPoint = "duckdb_query", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Query(nint connection, string sql, DuckDbResult* result);

    [LibraryImport(Library, EntryPoint = "duckdb_prepare", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Prepare(nint connection, string sql, out nint statement);

    [LibraryImport(Library, EntryPoint = "duckdb_prepare_error")]
    public static partial nint PrepareError(nint statement);

    [LibraryImport(Library, EntryPoint = "duckdb_destroy_prepare")]
    public static partial void DestroyPrepare(ref nint statement);

    [LibraryImport(Library, EntryPoint = "duckdb_pending_prepared_streaming")]
    public static partial int PendingPreparedStreaming(nint statement, out nint pending);

    [LibraryImport(Library, EntryPoint = "duckdb_pending_error")]
    public static partial nint PendingError(nint pending);

    [LibraryImport(Library, EntryPoint = "duckdb_execute_pending")]
    public static partial int ExecutePending(nint pending, DuckDbResult* result);

    [LibraryImport(Library, EntryPoint = "duckdb_destroy_pending")]
    public static partial void DestroyPending(ref nint pending);

    [LibraryImport(Library, EntryPoint = "duckdb_result_error")]
    public static partial nint ResultError(DuckDbResult* result);

    [LibraryImport(Library, EntryPoint = "duckdb_destroy_result")]
    public static partial void DestroyResult(DuckDbResult* result);

    [LibraryImport(Library, EntryPoint = "duckdb_column_count")]
    public static partial ulong ColumnCount(DuckDbResult* result);

    [LibraryImport(Library, EntryPoint = "duckdb_column_name")]
    public static partial nint ColumnName(DuckDbResult* result, ulong column);

    [LibraryImport(Library, EntryPoint = "duckdb_column_type")]
    public static partial DuckDbType ColumnType(DuckDbResult* result, ulong column);

    [LibraryImport(Library, EntryPoint = "duckdb_fetch_chunk")]
    public static partial nint FetchChunk(DuckDbResult result);

    [LibraryImport(Library, EntryPoint = "duckdb_destroy_data_chunk")]
    public static partial void DestroyDataChunk(ref nint chunk);

    [LibraryImport(Library, EntryPoint = "duckdb_data_chunk_get_size")]
    public static partial ulong DataChunkSize(nint chunk);

    [LibraryImport(Library, EntryPoint = "duckdb_data_chunk_get_vector")]
    public static partial nint DataChunkVector(nint chunk, ulong column);

    [LibraryImport(Library, EntryPoint = "duckdb_vector_get_data")]
    public static partial void* VectorData(nint vector);

    [LibraryImport(Library, EntryPoint = "duckdb_vector_get_validity")]
    public static partial ulong* VectorValidity(nint vector);

    [LibraryImport(Library, EntryPoint = "duckdb_library_version")]
    public static partial nint LibraryVersion();

    public static string Text(nint utf8) => Marshal.PtrToStringUTF8(utf8) ?? "";
}

/// <summary>duckdb_result: passed by value to duckdb_fetch_chunk, so its size is part of the ABI.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DuckDbResult
{
    public ulong ColumnCountDeprecated;
    public ulong RowCountDeprecated;
    public ulong RowsChangedDeprecated;
    public nint ColumnsDeprecated;
    public nint ErrorMessageDeprecated;
    public nint InternalData;
}

/// <summary>duckdb_string_t: up to 12 bytes inline, else a pointer.</summary>
[StructLayout(LayoutKind.Sequential, Size = 16)]
internal unsafe struct DuckDbString
{
    private const int Inline = 12;

    public uint Length;
    private fixed byte _prefixOrInline[4];
    private byte* _pointer;

    /// <summary>The bytes, valid as long as the chunk <paramref name="value"/> lies in.</summary>
    public static ReadOnlySpan<byte> Bytes(DuckDbString* value) =>
        value->Length <= Inline
            ? new ReadOnlySpan<byte>(value->_prefixOrInline, (int)value->Length)
            : new ReadOnlySpan<byte>(value->_pointer, (int)value->Length);
}

/// <summary>duckdb_type.</summary>
internal enum DuckDbType
{
    Invalid = 0,
    Boolean = 1,
    TinyInt = 2,
    SmallInt = 3,
    Integer = 4,
    BigInt = 5,
    UTinyInt = 6,
    USmallInt = 7,
    UInteger = 8,
    UBigInt = 9,
    Float = 10,
    Double = 11,
    Timestamp = 12,
    Date = 13,
    Time = 14,
    Interval = 15,
    HugeInt = 16,
    Varchar = 17,
    Blob = 18,
    Decimal = 19,
    TimestampSeconds = 20,
    TimestampMilliseconds = 21,
    TimestampNanoseconds = 22,
    Enum = 23,
    TimestampTz = 31,
    UHugeInt = 32,
}
