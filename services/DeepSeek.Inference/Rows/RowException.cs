namespace DeepSeek.Inference.Rows;

/// <summary>A row or a column that does not fit the model; <see cref="Field"/> says which, for instance <c>rows[3].age</c>.</summary>
internal sealed class RowException(string field, string message) : Exception(message)
{
    public string Field { get; } = field;
}
