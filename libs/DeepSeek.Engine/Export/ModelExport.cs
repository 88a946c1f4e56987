using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Engine.Export;

/// <summary>An input of an exported net.</summary>
/// <param name="Name">Name in the graph.</param>
/// <param name="Dtype">Float32, or Int64 for ids (traced as zeros).</param>
/// <param name="Shape">Sizes, or names of open dimensions.</param>
public sealed record ExportInput(string Name, Dtype Dtype, params OnnxDim[] Shape);

/// <summary>
/// Writes a net as ONNX by running it once and translating the operators it called: whatever a net computes in C# needs no second
/// description. Open dimensions are found by running it again with each of them at another size and looking which numbers follow.
/// </summary>
public static class ModelExport
{
    private static readonly (long First, long Second) s_sizes = (2, 3);

    /// <summary>The net in use (not in training), one output, opset 17.</summary>
    /// <param name="forward">Net's inputs → output; the default passes the only input to <see cref="Module.Forward"/>.</param>
    /// <param name="symbols">Sizes of open dimensions while tracing, where 2 and 3 will not do.</param>
    /// <exception cref="NotSupportedException">An operator has no ONNX form here, or a size follows an open dimension in a way that none has.</exception>
    public static ModelProto Write(
        Module net, IReadOnlyList<ExportInput> inputs, string output = "output", Func<Tensor[], Tensor>? forward = null, IReadOnlyList<ExportSymbol>? symbols = null)
    {
        var graph = new OnnxGraph("deepseek");
        var made = Add(graph, net, inputs, forward ?? (x => net.Forward(x[0])), symbols ?? []);
        graph.Output(graph.NodeTo(output, "Identity", [made.Name]), OnnxType.Float, made.Shape);
        return graph.ToModel();
    }

    /// <summary>Adds the net's inputs and nodes to a graph; returns the output's name and shape.</summary>
    /// <param name="inner">The graph makes the inputs already.</param>
    /// <param name="keyLengths">Makes INT64 [N] of lengths for sparse attention that has none of its own; none: all keys exist.</param>
    internal static (string Name, OnnxDim[] Shape) Add(
        OnnxGraph graph, Module net, IReadOnlyList<ExportInput> inputs, Func<Tensor[], Tensor> forward, IReadOnlyList<ExportSymbol> given, bool inner = false, Func<string>? keyLengths = null)
    {
        (string, OnnxDim[]) made = default;
        Add(graph, net, inputs, x => [forward(x)], given, inner, keyLengths, lowering => made = lowering.Shaped(0));
        return made;
    }

    /// <summary>Adds the nodes of a net whose inputs the graph makes already; returns the names of its outputs.</summary>
    internal static IReadOnlyList<string> AddAll(OnnxGraph graph, Module net, IReadOnlyList<ExportInput> inputs, Func<Tensor[], Tensor[]> forward, Func<string>? keyLengths)
    {
        IReadOnlyList<string> made = [];
        Add(graph, net, inputs, forward, [], inner: true, keyLengths, lowering => made = lowering.Outputs());
        return made;
    }

    private static void Add(
        OnnxGraph graph, Module net, IReadOnlyList<ExportInput> inputs, Func<Tensor[], Tensor[]> forward, IReadOnlyList<ExportSymbol> given, bool inner, Func<string>? keyLengths,
        Action<Lowering> take)
    {
        ExportSymbol[] symbols = [.. inputs.SelectMany(i => i.Shape).Where(d => d.Symbol is not null).Select(d => d.Symbol!).Distinct()
            .Select(name => given.FirstOrDefault(s => s.Name == name) ?? new ExportSymbol(name, s_sizes.First, s_sizes.Second))];
        var training = net.Training;
        var names = net.State().Concat(net.Constants()).ToDictionary(t => t.Tensor.Native, t => t.Name);
        net.Train(false);
        var runs = new List<TracedRun>();
        try
        {
            runs.Add(TracedRun.Of(inputs, forward, net.Device, symbols, null));
            runs.AddRange(symbols.Select(s => TracedRun.Of(inputs, forward, net.Device, symbols, s)));
            foreach (var input in inner ? [] : inputs)
            {
                graph.Input(input.Name, input.Dtype == Dtype.Int64 ? OnnxType.Int64 : OnnxType.Float, input.Shape);
            }
            var lowering = new Lowering(graph, symbols, runs, inputs, names, keyLengths);
            lowering.Run();
            take(lowering);
        }
        finally
        {
            net.Train(training);
            runs.ForEach(r => r.Dispose());
        }
    }
}

/// <summary>A trace with what went in and came out.</summary>
internal sealed record TracedRun(OperatorTrace Trace, IReadOnlyList<TracedValue> Inputs, IReadOnlyList<TracedValue> Outputs) : IDisposable
{
    internal static TracedRun Of(IReadOnlyList<ExportInput> inputs, Func<Tensor[], Tensor[]> forward, Device device, IReadOnlyList<ExportSymbol> symbols, ExportSymbol? changed)
    {
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        Tensor[] tensors = [.. inputs.Select(i => Zeros(i, [.. i.Shape.Select(Size)]).To(device))];
        var trace = OperatorTrace.Start();
        try
        {
            TracedValue[] values = [.. tensors.Select(trace.Input)];
            TracedValue[] outputs = [.. forward(tensors).Select(trace.ValueOf)];
            trace.Stop();
            return new TracedRun(trace, values, outputs);
        }
        catch
        {
            trace.Dispose();
            throw;
        }

        long Size(OnnxDim dim) => dim.Symbol is { } name ? (symbols.First(s => s.Name == name) is var s && s == changed ? s.Second : s.First)
            : dim.Size ?? throw new ArgumentException("Every dimension of an input needs a size or a name.");
    }

    public void Dispose() => Trace.Dispose();

    private static Tensor Zeros(ExportInput input, long[] sizes)
    {
        var count = sizes.Aggregate(1L, (a, b) => a * b);
        return input.Dtype switch
        {
            Dtype.Float32 => Tensor.From<float>(new float[count], sizes),
            Dtype.Int64 => Tensor.From<long>(new long[count], sizes),
            _ => throw new NotSupportedException($"Inputs of type {input.Dtype} cannot be exported; use Float32 or Int64."),
        };
    }
}
