using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Inference.Serving;

/// <summary>One text's keys and values, which stay in the runtime's memory from one execution to the next. It belongs to one request.</summary>
internal sealed class KeyValueCache : IDisposable
{
    private OrtValue[] _values = [];

    /// <summary>In the order of <see cref="KeyValueLayout.Past"/>; none before the first execution.</summary>
    public IReadOnlyList<OrtValue> Values => _values;

    /// <summary>Takes over what an execution made of it.</summary>
    public void Replace(OrtValue[] values)
    {
        Dispose();
        _values = values;
    }

    /// <summary>Forgets everything; it may be used again.</summary>
    public void Dispose()
    {
        Array.ForEach(_values, v => v.Dispose());
        _values = [];
    }
}
