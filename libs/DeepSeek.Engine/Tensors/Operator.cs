using System.Text;
using DeepSeek.Engine.Export;
using DeepSeek.Engine.Native;

namespace DeepSeek.Engine.Tensors;

/// <summary>An operator of the dispatcher by name, looked up on first use; without a namespace it is one of `aten`.</summary>
internal sealed unsafe class Operator(string name, string overload = "")
{
    internal string Name => name;

    /// <summary>With the overload, such as add.Tensor.</summary>
    internal string FullName { get; } = overload.Length == 0 ? name : $"{name}.{overload}";

    private int _number = -1;

    internal int Number => _number >= 0 ? _number : Find();

    private int Find()
    {
        int number;
        fixed (byte* first = Encoding.UTF8.GetBytes((name.Contains("::", StringComparison.Ordinal) ? name : $"aten::{name}") + "\0"))
        fixed (byte* second = Encoding.UTF8.GetBytes($"{overload}\0"))
        {
            NativeMethods.Check(NativeMethods.ds_op_find(first, second, &number));
        }
        return _number = number;
    }
}

/// <summary>Arguments and results of one operator call; one per thread, reused, so that a call allocates nothing.</summary>
internal sealed unsafe class OperatorCall
{
    private const int Capacity = 32;
    private const int Scratch = 1024;

    [ThreadStatic] private static OperatorCall? t_call;

    private readonly NativeValue[] _values = GC.AllocateArray<NativeValue>(2 * Capacity, pinned: true);
    private readonly long[] _scratch = GC.AllocateArray<long>(Scratch, pinned: true);
    private readonly ITensorOwner?[] _owners = new ITensorOwner?[Capacity];
    private readonly NativeValue* _arguments;
    private readonly NativeValue* _results;
    private readonly long* _lists;
    private Operator? _operator;
    private int _count;
    private int _used;
    private int _owned;

    /// <summary>Name of this thread's last operator, for messages.</summary>
    internal static string LastName => t_call?._operator?.Name ?? "nothing";

    private OperatorCall()
    {
        fixed (NativeValue* values = _values)
        {
            _arguments = values;
            _results = values + Capacity;
        }
        fixed (long* scratch = _scratch)
        {
            _lists = scratch;
        }
    }

    internal static OperatorCall To(Operator target)
    {
        var call = t_call ??= new OperatorCall();
        call._operator = target;
        call._count = call._used = call._owned = 0;
        return call;
    }

    internal OperatorCall Add(Tensor tensor)
    {
        if (tensor.IsNone)
        {
            return Push(ValueKind.None, 0);
        }
        Root(tensor);
        return Push(ValueKind.Tensor, tensor.Handle);
    }

    internal OperatorCall Add(long value) => Push(ValueKind.Int, value);

    internal OperatorCall Add(double value) => Push(ValueKind.Double, BitConverter.DoubleToInt64Bits(value));

    internal OperatorCall Add(bool value) => Push(ValueKind.Bool, value ? 1 : 0);

    internal OperatorCall Add(Dtype value) => Push(ValueKind.Int, (long)value);

    internal OperatorCall Add(Device value) => Push(ValueKind.Device, ((long)value.Type * 65536) + Math.Max(0, value.Index));

    internal OperatorCall Default() => Push(ValueKind.Default, 0);

    internal OperatorCall None() => Push(ValueKind.None, 0);

    internal OperatorCall Add(ReadOnlySpan<long> values)
    {
        var start = Reserve(values.Length);
        values.CopyTo(new Span<long>(start, values.Length));
        return Push(ValueKind.IntList, (nint)start, values.Length);
    }

    internal OperatorCall Add(ReadOnlySpan<double> values)
    {
        var start = Reserve(values.Length);
        values.CopyTo(new Span<double>(start, values.Length));
        return Push(ValueKind.DoubleList, (nint)start, values.Length);
    }

    internal OperatorCall Add(ReadOnlySpan<Tensor> tensors)
    {
        var start = Reserve(tensors.Length);
        for (var i = 0; i < tensors.Length; i++)
        {
            start[i] = tensors[i].Handle;
        }
        Push(ValueKind.TensorList, (nint)start, tensors.Length);
        return this;
    }

    /// <summary>Text in UTF-8.</summary>
    internal OperatorCall AddText(ReadOnlySpan<byte> value)
    {
        var start = Reserve((value.Length + sizeof(long) - 1) / sizeof(long));
        value.CopyTo(new Span<byte>(start, value.Length));
        return Push(ValueKind.String, (nint)start, value.Length);
    }

    /// <summary>Calls an operator with one tensor as result.</summary>
    internal Tensor One()
    {
        Invoke(1);
        return Result(0);
    }

    /// <summary>Calls an operator with two tensors as results.</summary>
    internal (Tensor First, Tensor Second) Two()
    {
        Invoke(2);
        return (Result(0), Result(1));
    }

    /// <summary>Calls an operator with three tensors as results.</summary>
    internal (Tensor First, Tensor Second, Tensor Third) Three()
    {
        Invoke(3);
        return (Result(0), Result(1), Result(2));
    }

    /// <summary>Calls an operator with exactly so many tensors as results.</summary>
    internal void Many(Span<Tensor> results)
    {
        Invoke(results.Length);
        for (var i = 0; i < results.Length; i++)
        {
            results[i] = Result(i);
        }
    }

    /// <summary>Calls an operator with an integer as result.</summary>
    internal long Integer()
    {
        Invoke(1);
        return _results[0].Kind == ValueKind.Int ? _results[0].Bits : throw new InvalidOperationException($"The result is of kind {_results[0].Kind}, not an integer.");
    }

    /// <summary>Calls an operator with a truth value as result.</summary>
    internal bool Truth()
    {
        Invoke(1);
        return _results[0].Kind == ValueKind.Bool ? _results[0].Bits != 0 : throw new InvalidOperationException($"The result is of kind {_results[0].Kind}, not a truth value.");
    }

    /// <summary>Calls an operator that changes its first argument; the alias it returns is freed.</summary>
    internal void InPlace()
    {
        Invoke(1);
        NativeMethods.Check(NativeMethods.ds_tensor_free((nint)_results[0].Bits));
    }

    private void Invoke(int expected)
    {
        int count;
        var status = NativeMethods.ds_op_call(_operator!.Number, _arguments, _count, _results, Capacity, &count);
        // The owners are held in an array until here, so that no finaliser frees an argument during the call.
        Array.Clear(_owners, 0, _owned);
        NativeMethods.Check(status);
        if (count != expected)
        {
            throw new InvalidOperationException($"The operator returned {count} results, not {expected}.");
        }
        OperatorTrace.Current?.Record(_operator, new ReadOnlySpan<NativeValue>(_arguments, _count), new ReadOnlySpan<NativeValue>(_results, count));
    }

    private Tensor Result(int index) => _results[index].Kind switch
    {
        ValueKind.Tensor => TensorScope.Track((nint)_results[index].Bits),
        ValueKind.None => default,
        var kind => throw new InvalidOperationException($"Result {index} is of kind {kind}, not a tensor."),
    };

    private OperatorCall Push(ValueKind kind, long bits, int count = 0)
    {
        if (_count == Capacity)
        {
            throw new InvalidOperationException($"No operator takes more than {Capacity} arguments.");
        }
        _arguments[_count++] = new NativeValue { Kind = kind, Count = count, Bits = bits };
        return this;
    }

    private void Root(Tensor tensor) => _owners[_owned++] = tensor.Owner;

    private long* Reserve(int count)
    {
        if (_used + count > Scratch)
        {
            throw new ArgumentException($"Lists of one call hold at most {Scratch} entries together.");
        }
        var start = _lists + _used;
        _used += count;
        return start;
    }
}
