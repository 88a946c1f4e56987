namespace DeepSeek.Preprocessing.Sources;

/// <summary>Takes the bytes of an uploaded table as they arrive, checks all of them and spools them.</summary>
internal interface ITableIntake
{
    /// <exception cref="DataFault">At the first fault, naming row and column.</exception>
    void Append(ReadOnlySpan<byte> bytes);

    /// <summary>Checks what only the end can tell and describes the spooled table.</summary>
    TableFile Complete();
}
