namespace DeepSeek.Onnx.Runtime;

/// <summary>How a session computes the attention that a model leaves open; see <see cref="BlockSparseNode"/>.</summary>
public enum ServedAttention
{
    /// <summary>To everything before.</summary>
    Dense,

    /// <summary>To the blocks that the model's policy picks.</summary>
    BlockSparse,
}
