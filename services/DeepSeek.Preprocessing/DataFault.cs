namespace DeepSeek.Preprocessing;

/// <summary>
/// What is wrong with the data or its description, and what to do about it. The words name field, row and column and never
/// quote a cell: they end in replies, logs and the database, where personal data must not appear.
/// </summary>
internal sealed class DataFault(string field, string detail) : Exception($"{field}: {detail}")
{
    /// <summary>The part of the request at fault, e.g. <c>file</c>, <c>target</c>, <c>columns.age.type</c>.</summary>
    public string Field { get; } = field;

    public string Detail { get; } = detail;

    /// <summary>A fault of one cell. Rows count from 1 and leave the header out.</summary>
    public static DataFault At(long row, string column, string detail) =>
        new("file", $"row {row}, column '{Shown(column)}': {detail}");

    public static DataFault AtRow(long row, string detail) => new("file", $"row {row}: {detail}");

    /// <summary>A column name cut and stripped of control characters, fit for a message.</summary>
    public static string Shown(string name)
    {
        var clean = new string([.. name.Take(80).Select(c => char.IsControl(c) ? '?' : c)]);
        return name.Length > 80 ? clean + "…" : clean;
    }
}
