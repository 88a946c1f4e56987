using System.IO.Hashing;
using System.Text;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.DuckDb;
using DeepSeek.Preprocessing.Privacy;
using DeepSeek.Preprocessing.Sources;
using DeepSeek.Preprocessing.Splitting;

namespace DeepSeek.Preprocessing.Texts;

/// <summary>
/// Passes over the documents of a spooled table. Each has a key that decides its part: the group it belongs to, else its own text, so
/// that equal documents never lie in two parts.
/// </summary>
internal sealed class DocumentScan
{
    /// <param name="key">Of its group, or of its text.</param>
    /// <param name="hash">Of its text.</param>
    /// <param name="text">UTF-8, valid until the next one.</param>
    public delegate void Visitor(ulong key, ulong hash, ReadOnlySpan<byte> text);

    private readonly string _path;
    private readonly TableFile _table;
    private readonly DuckDbLimits _limits;
    private readonly int[] _columns;

    public DocumentScan(DatasetSpec spec, TableFile table, string path, DuckDbLimits limits)
    {
        (_path, _table, _limits) = (path, table, limits);
        TextColumn = Find(DatasetSpecRules.TargetOf(spec)!, "target");
        GroupColumn = DatasetSpecRules.SplitColumnOf(spec, ColumnRole.Group) is { } group ? Find(group, "split.column") : null;
        _columns = GroupColumn is null ? [Place(TextColumn)] : [Place(TextColumn), Place(GroupColumn)];
        if (TextColumn.Kind != CellKind.Text)
        {
            throw new DataFault("target", $"column '{DataFault.Shown(TextColumn.Name)}' holds no text; name the column that does.");
        }
        if (SchemaInference.ReservedNames.Contains(TextColumn.Name))
        {
            throw new DataFault($"columns.{TextColumn.Name}", $"the name '{TextColumn.Name}' is that of a model's own tensor; rename the column.");
        }
        if (GroupColumn == TextColumn)
        {
            throw new DataFault("split.column", "the texts themselves tell no groups: equal ones stay together anyway. Leave it out or name another column.");
        }
    }

    public TableColumn TextColumn { get; }

    public TableColumn? GroupColumn { get; }

    /// <summary>Rows with and without a text in the last pass.</summary>
    public (long Documents, long Empty) Seen { get; private set; }

    public void Run(Visitor visit, Action<long> progress, CancellationToken cancellationToken)
    {
        long documents = 0, empty = 0;
        using var scan = new TableScan(_path, _table, _columns, _limits);
        while (scan.Read())
        {
            cancellationToken.ThrowIfCancellationRequested();
            for (var row = 0; row < scan.Rows; row++)
            {
                var text = scan.Text(0, row);
                if (MissingTokens.Contains(text))
                {
                    empty++;
                    continue;
                }
                documents++;
                var hash = XxHash3.HashToUInt64(text);
                visit(GroupColumn is null ? hash : GroupOf(scan, row), hash, text);
            }
            progress(documents + empty);
        }
        Seen = (documents, empty);
    }

    /// <summary>The text with personal data inside it replaced; null when there is none.</summary>
    public static byte[]? Cleaned(ReadOnlySpan<byte> text) =>
        PersonalData.IsInside(text) && PersonalData.RedactInside(Encoding.UTF8.GetString(text)) is { } clean ? Encoding.UTF8.GetBytes(clean) : null;

    private ulong GroupOf(TableScan scan, int row)
    {
        var missing = scan.Kind(1) == CellKind.Text ? MissingTokens.Contains(scan.Text(1, row)) : double.IsNaN(scan.Number(1, row));
        if (missing)
        {
            throw DataFault.At(scan.FirstRow + row + 1, GroupColumn!.Name, "the group to split by is missing. Fill it in or leave the row out.");
        }
        return scan.Kind(1) == CellKind.Text ? XxHash3.HashToUInt64(Cells.Trim(scan.Text(1, row))) : SeededRandom.Mix(BitConverter.DoubleToUInt64Bits(scan.Number(1, row)));
    }

    private int Place(TableColumn column) => _table.Columns.Select((c, i) => (c, i)).First(p => p.c == column).i;

    private TableColumn Find(string name, string field) =>
        _table.Columns.FirstOrDefault(c => c.Name == name) ?? throw ColumnPresence.MissingColumn(field, _table.Columns.Select(c => c.Name), name);
}
