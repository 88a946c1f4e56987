namespace DeepSeek.Preprocessing.Sources;

/// <summary>How a source column comes out of the reader.</summary>
internal enum CellKind
{
    /// <summary>UTF-8 text whose meaning is inferred.</summary>
    Text,
    Number,
    Boolean,

    /// <summary>Seconds since 1970 UTC.</summary>
    Instant,
}

/// <param name="Name">As in the file.</param>
/// <param name="Kind">What the reader yields.</param>
internal sealed record TableColumn(string Name, CellKind Kind);

internal enum TableForm
{
    /// <summary>UTF-8, comma, double quotes, \n, no header, every row full.</summary>
    CanonicalCsv,
    Parquet,
}

/// <summary>A spooled table, checked and ready to be read as often as wanted.</summary>
/// <param name="File">Name of the file in the spool folder.</param>
/// <param name="Form">Its layout.</param>
/// <param name="Columns">In the order of the file.</param>
/// <param name="Rows">Data rows; null where only reading tells.</param>
internal sealed record TableFile(string File, TableForm Form, IReadOnlyList<TableColumn> Columns, long? Rows);

/// <summary>Bounds on text input. Beyond them a file is refused, so that one bad quote cannot fill the memory.</summary>
/// <param name="MaxFieldBytes">One field.</param>
/// <param name="MaxRowBytes">One row, as spooled.</param>
/// <param name="MaxColumns">Columns of a table.</param>
internal sealed record TextLimits(int MaxFieldBytes = 1 << 20, int MaxRowBytes = 2 << 20, int MaxColumns = 4096);
