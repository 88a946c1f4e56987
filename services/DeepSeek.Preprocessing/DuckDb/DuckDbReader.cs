using System.Runtime.InteropServices;

namespace DeepSeek.Preprocessing.DuckDb;

/// <summary>A forward-only reader over the chunks (at most 2 048 rows) of a streaming result.</summary>
internal sealed unsafe class DuckDbReader : IDisposable
{
    private DuckDbResult* _result;
    private readonly void*[] _data;
    private readonly ulong*[] _validity;
    private nint _chunk;

    public DuckDbReader(nint connection, string sql)
    {
        _result = (DuckDbResult*)NativeMemory.AllocZeroed((nuint)sizeof(DuckDbResult));
        nint statement = 0, pending = 0;
        try
        {
            if (DuckDbNative.Prepare(connection, sql, out statement) != DuckDbNative.Success)
            {
                throw new DuckDbException(DuckDbNative.Text(DuckDbNative.PrepareError(statement)));
            }
            if (DuckDbNative.PendingPreparedStreaming(statement, out pending) != DuckDbNative.Success)
            {
                throw new DuckDbException(DuckDbNative.Text(DuckDbNative.PendingError(pending)));
            }
            if (DuckDbNative.ExecutePending(pending, _result) != DuckDbNative.Success)
            {
                throw new DuckDbException(DuckDbNative.Text(DuckDbNative.ResultError(_result)));
            }
            var columns = (int)DuckDbNative.ColumnCount(_result);
            Names = [.. Enumerable.Range(0, columns).Select(ColumnName)];
            Types = [.. Enumerable.Range(0, columns).Select(ColumnType)];
            _data = new void*[columns];
            _validity = new ulong*[columns];
        }
        catch
        {
            FreeResult();
            throw;
        }
        finally
        {
            DuckDbNative.DestroyPending(ref pending);
            DuckDbNative.DestroyPrepare(ref statement);
        }
    }

    public IReadOnlyList<string> Names { get; }

    public IReadOnlyList<DuckDbType> Types { get; }

    /// <summary>Rows of the current chunk.</summary>
    public int Rows { get; private set; }

    /// <summary>Fetches the next chunk; false at the end.</summary>
    public bool Read()
    {
        FreeChunk();
        _chunk = DuckDbNative.FetchChunk(*_result);
        if (_chunk == 0)
        {
            var error = DuckDbNative.ResultError(_result);
            return error == 0 ? false : throw new DuckDbException(DuckDbNative.Text(error));
        }
        Rows = (int)DuckDbNative.DataChunkSize(_chunk);
        for (var column = 0; column < _data.Length; column++)
        {
            var vector = DuckDbNative.DataChunkVector(_chunk, (ulong)column);
            _data[column] = DuckDbNative.VectorData(vector);
            _validity[column] = DuckDbNative.VectorValidity(vector);
        }
        return Rows > 0;
    }

    public bool IsNull(int column, int row)
    {
        var validity = _validity[column];
        return validity != null && (validity[row >> 6] >> (row & 63) & 1) == 0;
    }

    public ReadOnlySpan<byte> Text(int column, int row) => DuckDbString.Bytes((DuckDbString*)_data[column] + row);

    public double Double(int column, int row) => ((double*)_data[column])[row];

    public bool Boolean(int column, int row) => ((byte*)_data[column])[row] != 0;

    public long Int64(int column, int row) => ((long*)_data[column])[row];

    public void Dispose()
    {
        FreeChunk();
        FreeResult();
    }

    private string ColumnName(int column) => DuckDbNative.Text(DuckDbNative.ColumnName(_result, (ulong)column));

    private DuckDbType ColumnType(int column) => DuckDbNative.ColumnType(_result, (ulong)column);

    private void FreeChunk()
    {
        if (_chunk != 0)
        {
            DuckDbNative.DestroyDataChunk(ref _chunk);
        }
        Rows = 0;
    }

    private void FreeResult()
    {
        if (_result != null)
        {
            DuckDbNative.DestroyResult(_result);
            NativeMemory.Free(_result);
            _result = null;
        }
    }
}
