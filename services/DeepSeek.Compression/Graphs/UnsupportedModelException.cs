namespace DeepSeek.Compression.Graphs;

/// <summary>The model cannot be compressed as asked; the message names the node or tensor and the remedy.</summary>
public sealed class UnsupportedModelException(string message, Exception? inner = null) : Exception(message, inner);
