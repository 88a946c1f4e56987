namespace DeepSeek.Data;

/// <summary>
/// A block of rows, one WebDataset sample: <c>KEY.features.npy</c> (<c>&lt;f4</c> [R, F], raw <c>|u1</c> [R, C, H, W] for images, or tokens <c>&lt;i2</c> [R, T])
/// and <c>KEY.target.npy</c> (<c>&lt;i8</c> class indices [R], or <c>&lt;f4</c> [R]).
/// </summary>
public sealed record ShardBlock(NpyArray Features, NpyArray Target)
{
    /// <summary>Rows in the block.</summary>
    public int Rows => Target.Shape[0];
}
