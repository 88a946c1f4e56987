using DeepSeek.Preprocessing.DuckDb;

namespace DeepSeek.Preprocessing.Sources;

/// <summary>Describes a spooled Parquet file: its footer is at the end, so it is checked when all of it is there.</summary>
internal static class ParquetIntake
{
    public static TableFile Inspect(string path, DuckDbLimits limits, string target, Predicate<string> ignored, TextLimits bounds)
    {
        using (var stream = File.OpenRead(path))
        {
            Span<byte> start = stackalloc byte[4], end = stackalloc byte[4];
            if (stream.Length < 12)
            {
                throw NotParquet();
            }
            stream.ReadExactly(start);
            stream.Seek(-4, SeekOrigin.End);
            stream.ReadExactly(end);
            if (!start.SequenceEqual("PAR1"u8) || !end.SequenceEqual("PAR1"u8))
            {
                throw NotParquet();
            }
        }
        try
        {
            using var duck = new DuckDbConnection(limits.For(bounds.MaxColumns), [path]);
            var columns = Describe(duck, path, ignored);
            if (columns.Count > bounds.MaxColumns)
            {
                throw new DataFault("file", $"has {columns.Count} columns; at most {bounds.MaxColumns} are read.");
            }
            ColumnNames.Check([.. columns.Select(c => c.Name)]);
            if (columns.All(c => c.Name != target))
            {
                throw ColumnPresence.MissingTarget(columns.Select(c => c.Name), target);
            }
            return new TableFile(Path.GetFileName(path), TableForm.Parquet, columns, CountRows(duck, path, columns, target, ignored));
        }
        catch (DuckDbException fault) when (fault.IsOutOfMemory)
        {
            throw TableScan.RowsTooLong();
        }
        catch (DuckDbException)
        {
            throw new DataFault("file", "is not a readable Parquet file: it is damaged or uses an encoding that is not supported. Write it again.");
        }
    }

    private static List<TableColumn> Describe(DuckDbConnection duck, string path, Predicate<string> ignored)
    {
        using var reader = duck.Stream($"SELECT * FROM read_parquet({DuckDbConnection.Literal(path)}) LIMIT 0");
        var columns = new List<TableColumn>();
        for (var i = 0; i < reader.Names.Count; i++)
        {
            CellKind? kind = reader.Types[i] switch
            {
                DuckDbType.Float or DuckDbType.Double => CellKind.Number,
                DuckDbType.Boolean => CellKind.Boolean,
                DuckDbType.Date or DuckDbType.Timestamp or DuckDbType.TimestampSeconds or DuckDbType.TimestampMilliseconds
                    or DuckDbType.TimestampNanoseconds or DuckDbType.TimestampTz => CellKind.Instant,
                // Whole and decimal numbers come as text: a 16-digit card number would lose digits as a double.
                DuckDbType.Varchar or DuckDbType.Enum or DuckDbType.Decimal or DuckDbType.HugeInt or DuckDbType.UHugeInt
                    or (>= DuckDbType.TinyInt and <= DuckDbType.UBigInt) => CellKind.Text,
                _ => null,
            };
            if (kind is null && !ignored(reader.Names[i]))
            {
                throw new DataFault($"columns.{DataFault.Shown(reader.Names[i])}",
                    $"column '{DataFault.Shown(reader.Names[i])}' has the Parquet type {reader.Types[i]}, which is not read; convert it or give it the role ignore.");
            }
            columns.Add(new TableColumn(reader.Names[i], kind ?? CellKind.Text));
        }
        return columns;
    }

    private static long CountRows(DuckDbConnection duck, string path, List<TableColumn> columns, string target, Predicate<string> ignored)
    {
        var counts = columns.Select(c => $"count({DuckDbConnection.Identifier(c.Name)})::BIGINT");
        var quoted = DuckDbConnection.Identifier(target);
        using var reader = duck.Stream(
            $"SELECT count(*)::BIGINT, (min({quoted}) IS DISTINCT FROM max({quoted}))::BIGINT, {string.Join(", ", counts)} FROM read_parquet({DuckDbConnection.Literal(path)})");
        reader.Read();
        var rows = reader.Int64(0, 0);
        if (rows == 0)
        {
            throw new DataFault("file", "holds no data rows.");
        }
        for (var i = 0; i < columns.Count; i++)
        {
            if (reader.Int64(i + 2, 0) == 0 && !ignored(columns[i].Name))
            {
                throw ColumnPresence.NoValues(columns[i].Name, columns[i].Name == target ? "it is the target; label the rows" : "drop it or give it the role ignore");
            }
        }
        return reader.Int64(1, 0) != 0 ? rows : throw ColumnPresence.OneValue(target);
    }

    private static DataFault NotParquet() => new("file", "is not a Parquet file: it does not begin and end with PAR1.");
}
