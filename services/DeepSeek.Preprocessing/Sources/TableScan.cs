using DeepSeek.Preprocessing.DuckDb;

namespace DeepSeek.Preprocessing.Sources;

/// <summary>One pass over chosen columns of a spooled table, in the order of its rows.</summary>
internal sealed class TableScan : IDisposable
{
    private readonly DuckDbConnection _duck;
    private readonly DuckDbReader _reader;
    private readonly CellKind[] _kinds;

    /// <param name="path">The spooled file.</param>
    /// <param name="table">Its description.</param>
    /// <param name="columns">Indices into the table's columns; the scan's columns are these, in this order.</param>
    /// <param name="limits">DuckDB's bounds.</param>
    public TableScan(string path, TableFile table, IReadOnlyList<int> columns, DuckDbLimits limits)
    {
        _kinds = [.. columns.Select(c => table.Columns[c].Kind)];
        _duck = new DuckDbConnection(limits.For(table.Columns.Count), [path]);
        try
        {
            _reader = _duck.Stream(table.Form == TableForm.Parquet ? Parquet(path, table, columns) : Csv(path, table, columns));
        }
        catch (DuckDbException fault) when (fault.IsOutOfMemory)
        {
            _duck.Dispose();
            throw RowsTooLong();
        }
        catch
        {
            _duck.Dispose();
            throw;
        }
    }

    /// <summary>Rows of the current batch.</summary>
    public int Rows => _reader.Rows;

    /// <summary>Number, from 0, of the batch's first row in the file.</summary>
    public long FirstRow { get; private set; }

    public bool Read()
    {
        FirstRow += _reader.Rows;
        try
        {
            return _reader.Read();
        }
        catch (DuckDbException fault) when (fault.IsOutOfMemory)
        {
            throw RowsTooLong();
        }
    }

    public CellKind Kind(int column) => _kinds[column];

    /// <summary>Nothing there; tokens such as NA are for the caller to judge in <see cref="Text"/>.</summary>
    public bool IsNull(int column, int row) => _reader.IsNull(column, row);

    /// <summary>The bytes of a <see cref="CellKind.Text"/> cell, valid until the next <see cref="Read"/>.</summary>
    public ReadOnlySpan<byte> Text(int column, int row) => _reader.IsNull(column, row) ? [] : _reader.Text(column, row);

    /// <summary>The value of a cell of another kind; NaN when missing.</summary>
    public double Number(int column, int row) => _reader.IsNull(column, row)
        ? double.NaN
        : _kinds[column] == CellKind.Boolean ? (_reader.Boolean(column, row) ? 1 : 0) : _reader.Double(column, row);

    public void Dispose()
    {
        _reader.Dispose();
        _duck.Dispose();
    }

    /// <summary>DuckDB holds a few thousand rows at a time, and none of its bounds makes that fewer.</summary>
    public static DataFault RowsTooLong() => new("file",
        "its rows are too long: those that are read together do not fit the table reader's memory. Take the longest texts out of the file, or raise Preprocessing:DuckDbMegabytes.");

    private static string Csv(string path, TableFile table, IReadOnlyList<int> columns)
    {
        // Columns go by position: no name of the user's enters the SQL. max_line_size covers what the intake lets through.
        var declared = string.Join(", ", Enumerable.Range(0, table.Columns.Count).Select(i => $"'c{i}': 'VARCHAR'"));
        return $$"""
            SELECT {{string.Join(", ", columns.Select(c => "c" + c))}}
            FROM read_csv({{DuckDbConnection.Literal(path)}}, auto_detect=false, header=false, delim=',', quote='"', escape='"',
                new_line='\n', nullstr='', strict_mode=true, null_padding=true, parallel=false, max_line_size=2200000, buffer_size=8800000,
                columns={ {{declared}} })
            """;
    }

    private static string Parquet(string path, TableFile table, IReadOnlyList<int> columns)
    {
        var chosen = columns.Select(c =>
        {
            var quoted = DuckDbConnection.Identifier(table.Columns[c].Name);
            return table.Columns[c].Kind switch
            {
                CellKind.Number => $"{quoted}::DOUBLE",
                CellKind.Boolean => quoted,
                CellKind.Instant => $"epoch({quoted})::DOUBLE",
                _ => $"{quoted}::VARCHAR",
            };
        });
        return $"SELECT {string.Join(", ", chosen)} FROM read_parquet({DuckDbConnection.Literal(path)})";
    }
}
