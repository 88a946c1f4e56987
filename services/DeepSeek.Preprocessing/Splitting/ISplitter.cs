namespace DeepSeek.Preprocessing.Splitting;

/// <summary>What a row is split by; a splitter reads only its own part.</summary>
/// <param name="Class">Index of its class; 0 for regressions.</param>
/// <param name="Group">Hash of its group.</param>
/// <param name="Time">Its point in time.</param>
internal readonly record struct SplitKey(int Class, ulong Group, double Time);

/// <summary>
/// Assigns the labelled rows of a table, one after the other, to train, validation and test. A new one with the same plan gives
/// the same rows the same parts, so each pass over the table makes its own.
/// </summary>
internal interface ISplitter
{
    SplitPart Next(SplitKey row);
}
