namespace DeepSeek.Explainability.Models;

/// <summary>Shape of one image.</summary>
public readonly record struct ImageShape(int Channels, int Height, int Width)
{
    /// <summary>Bytes of one image.</summary>
    public int Length => Channels * Height * Width;
}

/// <summary>A model seen as one real function of an image.</summary>
public interface IImageModel
{
    /// <summary>Writes f of each image to <paramref name="outputs"/> [N]; <paramref name="images"/> is [N, C, H, W], row-major.</summary>
    void Predict(byte[] images, ImageShape shape, Span<double> outputs);
}
