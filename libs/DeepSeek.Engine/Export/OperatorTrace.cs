using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Export;

/// <summary>A tensor in a trace: an input, an operator's result, or (with <see cref="Constant"/>) one from outside, such as a weight.</summary>
internal sealed class TracedValue
{
    internal required long[] Sizes { get; init; }
    internal required Dtype Dtype { get; init; }
    internal TracedCall? Producer { get; init; }
    internal TensorHandle? Constant { get; init; }
}

/// <summary>One operator call: its name with the overload, its arguments (null, long, double, bool, string, long[], TracedValue or TracedValue[]) and results.</summary>
internal sealed record TracedCall(string Name, object?[] Arguments)
{
    internal List<TracedValue> Results { get; } = [];
}

/// <summary>
/// Writes down every operator that this thread calls until disposed. What it sees is what runs: a net needs no second description of
/// itself to be exported. Tensors are told apart by their implementation, which the trace keeps alive.
/// </summary>
internal sealed unsafe class OperatorTrace : IDisposable
{
    [ThreadStatic] private static OperatorTrace? t_current;

    private readonly Dictionary<nint, TracedValue> _values = [];
    private readonly List<TensorHandle> _kept = [];
    private readonly List<TracedCall> _calls = [];

    private OperatorTrace() => t_current = this;

    /// <summary>Whether this thread is traced: functions then take plain operators, which every format knows, in place of fused ones.</summary>
    internal static bool Recording => t_current is not null;

    internal static OperatorTrace? Current => t_current;

    internal IReadOnlyList<TracedCall> Calls => _calls;

    internal static OperatorTrace Start() => t_current is null ? new OperatorTrace() : throw new InvalidOperationException("This thread is traced already.");

    /// <summary>Declares an input.</summary>
    internal TracedValue Input(Tensor tensor) => _values[tensor.Handle] = Describe(tensor.Handle, null, constant: false);

    /// <summary>The value that a tensor stands for.</summary>
    internal TracedValue ValueOf(Tensor tensor) => ValueOf(tensor.Handle);

    internal void Record(Operator op, ReadOnlySpan<NativeValue> arguments, ReadOnlySpan<NativeValue> results)
    {
        var call = new TracedCall(op.FullName, new object?[arguments.Length]);
        for (var i = 0; i < arguments.Length; i++)
        {
            call.Arguments[i] = Argument(arguments[i]);
        }
        foreach (var result in results)
        {
            if (result.Kind == ValueKind.Tensor)
            {
                var value = Describe((nint)result.Bits, call, constant: false);
                _values[(nint)result.Bits] = value;
                call.Results.Add(value);
            }
        }
        _calls.Add(call);
    }

    /// <summary>Ends the recording; the tensors stay alive.</summary>
    internal void Stop() => t_current = t_current == this ? null : t_current;

    public void Dispose()
    {
        Stop();
        foreach (var handle in _kept)
        {
            handle.Dispose();
        }
    }

    private object? Argument(NativeValue value) => value.Kind switch
    {
        ValueKind.Tensor => ValueOf((nint)value.Bits),
        ValueKind.Int => value.Bits,
        ValueKind.Double => BitConverter.Int64BitsToDouble(value.Bits),
        ValueKind.Bool => value.Bits != 0,
        ValueKind.IntList => new ReadOnlySpan<long>((void*)value.Bits, value.Count).ToArray(),
        ValueKind.String => System.Text.Encoding.UTF8.GetString((byte*)value.Bits, value.Count),
        ValueKind.TensorList => Values(new ReadOnlySpan<nint>((void*)value.Bits, value.Count)),
        ValueKind.Default or ValueKind.None => null,
        var kind => throw new NotSupportedException($"Arguments of kind {kind} cannot be traced."),
    };

    private TracedValue[] Values(ReadOnlySpan<nint> handles)
    {
        var values = new TracedValue[handles.Length];
        for (var i = 0; i < handles.Length; i++)
        {
            values[i] = ValueOf(handles[i]);
        }
        return values;
    }

    private TracedValue ValueOf(nint handle) =>
        _values.TryGetValue(handle, out var value) ? value : _values[handle] = Describe(handle, null, constant: true);

    private TracedValue Describe(nint handle, TracedCall? producer, bool constant)
    {
        nint alias;
        NativeMethods.Check(NativeMethods.ds_tensor_alias(handle, &alias));
        var kept = new TensorHandle(alias);
        _kept.Add(kept);
        return new TracedValue { Sizes = kept.Tensor.Shape(), Dtype = kept.Tensor.Dtype, Producer = producer, Constant = constant ? kept : null };
    }
}
