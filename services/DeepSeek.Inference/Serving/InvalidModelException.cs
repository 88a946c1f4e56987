namespace DeepSeek.Inference.Serving;

/// <summary>A model that can never be served as it is; trying again does not help.</summary>
internal sealed class InvalidModelException(string message, Exception? inner = null) : Exception(message, inner);
