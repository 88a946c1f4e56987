using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Engine.Export;

/// <summary>Turns traced operator calls into ONNX nodes: one rule an operator, in the files Lowering.*.cs by kind.</summary>
internal sealed partial class Lowering
{
    private readonly OnnxGraph _graph;
    private readonly IReadOnlyList<ExportSymbol> _symbols;
    private readonly IReadOnlyList<TracedRun> _runs;
    private readonly IReadOnlyList<ExportInput> _inputs;
    private readonly Dictionary<nint, string> _weightNames;
    private readonly Func<string>? _keyLengths; // where sparse attention has none of its own
    private readonly Dictionary<TracedValue, string> _names = [];
    private readonly Dictionary<string, string> _dimensions = [];
    private readonly Dictionary<string, Action<TracedCall>> _rules = [];
    private int _index; // of the call at work, the same in every run

    internal Lowering(
        OnnxGraph graph, IReadOnlyList<ExportSymbol> symbols, IReadOnlyList<TracedRun> runs, IReadOnlyList<ExportInput> inputs, Dictionary<nint, string> weightNames, Func<string>? keyLengths)
    {
        (_graph, _symbols, _runs, _inputs, _weightNames, _keyLengths) = (graph, symbols, runs, inputs, weightNames, keyLengths);
        AddElementwise();
        AddLinear();
        AddConvolutional();
        AddShapes();
        AddRecurrent();
        AddSparse();
    }

    internal void Run()
    {
        for (var i = 0; i < _inputs.Count; i++)
        {
            _names[_runs[0].Inputs[i]] = _inputs[i].Name;
        }
        var calls = _runs[0].Trace.Calls;
        foreach (var run in _runs)
        {
            if (!run.Trace.Calls.Select(c => c.Name).SequenceEqual(calls.Select(c => c.Name)))
            {
                throw new NotSupportedException("The net calls other operators when an open dimension has another size; give it a fixed size.");
            }
        }
        for (_index = 0; _index < calls.Count; _index++)
        {
            var call = calls[_index];
            (_rules.TryGetValue(call.Name, out var rule) ? rule : throw new NotSupportedException($"The operator {call.Name} has no ONNX form here."))(call);
        }
    }

    /// <summary>Names of the outputs.</summary>
    internal IReadOnlyList<string> Outputs() => [.. _runs[0].Outputs.Select(Name)];

    /// <summary>An output's name and shape.</summary>
    internal (string Name, OnnxDim[] Shape) Shaped(int index)
    {
        var output = _runs[0].Outputs[index];
        return (Name(output), [.. Enumerable.Range(0, output.Sizes.Length).Select(d => Declared(Across(r => r.Outputs[index].Sizes[d])))]);
    }

    /// <summary>An operator with one result that becomes what the rule returns.</summary>
    private void One(string name, Func<TracedCall, string> rule) => _rules[name] = call => _names[call.Results[0]] = rule(call);

    /// <summary>Name of an argument's value.</summary>
    private string In(TracedCall call, int index) => Name((TracedValue)call.Arguments[index]!);

    private string Name(TracedValue value)
    {
        if (_names.TryGetValue(value, out var name))
        {
            return name;
        }
        if (value.Constant is not { } tensor)
        {
            throw new InvalidOperationException("A traced value has no source.");
        }
        var hint = _weightNames.GetValueOrDefault(tensor.Native, "constant");
        return _names[value] = _graph.Initializer(value.Dtype switch
        {
            Dtype.Int64 => OnnxTensors.Of(hint, tensor.Tensor.ToArray<long>(), value.Sizes),
            Dtype.Bool => OnnxTensors.Of(hint, tensor.Tensor.ToArray<bool>(), value.Sizes),
            _ => OnnxTensors.Of(hint, Floats(value), value.Sizes),
        });
    }

    /// <summary>A weight's elements.</summary>
    private static float[] Floats(TracedValue value)
    {
        var tensor = (value.Constant ?? throw new NotSupportedException("This operator's weights must be constants.")).Tensor;
        if (value.Dtype == Dtype.Float32)
        {
            return tensor.ToArray<float>();
        }
        using var scope = TensorScope.Open();
        return tensor.To(Dtype.Float32).ToArray<float>();
    }

    private static TracedValue Value(TracedCall call, int index) => (TracedValue)call.Arguments[index]!;

    private static long Int(TracedCall call, int index, long standard = 0) => index < call.Arguments.Length && call.Arguments[index] is long value ? value : standard;

    private static double Number(TracedCall call, int index) => call.Arguments[index] is long whole ? whole : (double)call.Arguments[index]!;

    private static bool Flag(TracedCall call, int index) => index < call.Arguments.Length && call.Arguments[index] is true;

    private static long[] Ints(TracedCall call, int index) => (long[])call.Arguments[index]!;

    private static bool Has(TracedCall call, int index) => index < call.Arguments.Length && call.Arguments[index] is not null;

    /// <summary>A dimension number, counted from the front.</summary>
    private static long Axis(long dimension, int rank) => dimension < 0 ? dimension + rank : dimension;

    /// <summary>A number of the call at work, in all runs.</summary>
    private SymbolicSize Sized(int argument, int element = -1) =>
        Across(r => element < 0 ? (long)r.Trace.Calls[_index].Arguments[argument]! : ((long[])r.Trace.Calls[_index].Arguments[argument]!)[element]);

    /// <summary>A size of an argument's value, in all runs.</summary>
    private SymbolicSize SizeOf(int argument, int dimension) => Across(r => Value(r.Trace.Calls[_index], argument).Sizes[dimension]);

    private SymbolicSize Across(Func<TracedRun, long> number) => new(_symbols, [.. _runs.Select(number)]);

    private OnnxDim Declared(SymbolicSize size)
    {
        var (factor, symbols) = size.Product();
        return symbols.Count == 0 ? factor : symbols.Count == 1 && factor == 1 ? symbols[0].Name : default(OnnxDim);
    }

    /// <summary>A size as an int64 vector of one element.</summary>
    private string Vector(SymbolicSize size)
    {
        var (factor, symbols) = size.Product();
        var name = symbols.Count == 0 || factor != 1 ? Constant(factor) : null;
        foreach (var symbol in symbols)
        {
            var dimension = Open(symbol);
            name = name is null ? dimension : _graph.Node("Mul", [name, dimension]);
        }
        return name!;
    }

    /// <summary>Sizes as one int64 vector.</summary>
    private string Vector(IReadOnlyList<SymbolicSize> sizes) => sizes.All(s => s.Fixed)
        ? Constant([.. sizes.Select(s => s.First)])
        : _graph.Node("Concat", [.. sizes.Select(Vector)], OnnxAttribute.Of("axis", 0));

    private string Constant(params long[] values) => _graph.Initializer(OnnxTensors.Of("sizes", values, values.Length));

    private string Scalar(double value) => _graph.Scalar("number", (float)value);

    /// <summary>An open dimension, read once from the first input that has it.</summary>
    private string Open(ExportSymbol symbol)
    {
        if (_dimensions.TryGetValue(symbol.Name, out var known))
        {
            return known;
        }
        var input = _inputs.First(i => i.Shape.Any(d => d.Symbol == symbol.Name));
        var axis = Array.FindIndex(input.Shape, d => d.Symbol == symbol.Name);
        return _dimensions[symbol.Name] = _graph.Node("Shape", [input.Name], OnnxAttribute.Of("start", axis), OnnxAttribute.Of("end", axis + 1));
    }
}
