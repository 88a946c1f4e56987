using System.Globalization;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tests.Kernels;
using DeepSeek.Onnx;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Onnx;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>Sizes of one attention; <paramref name="Lengths"/> of keys, one a sequence, of which the queries are the last.</summary>
public sealed record OnnxAttentionShape(int N, int H, int KvHeads, int T, int S, int D, bool Causal = true, int[]? Lengths = null)
{
    internal int[]? QueryLengths => Lengths?.Select(length => Math.Clamp(length - (S - T), 0, T)).ToArray();

    /// <summary>Normal values, and NaN behind the lengths.</summary>
    internal (float[] Q, float[] K, float[] V) Inputs()
    {
        return (Rows(1, H, T, QueryLengths), Rows(2, KvHeads, S, Lengths), Rows(3, KvHeads, S, Lengths));

        float[] Rows(int seed, int heads, int rows, int[]? lengths)
        {
            var values = KernelData.Normal(seed, (long)N * heads * rows * D);
            for (var i = 0; lengths is not null && i < values.Length; i++)
            {
                values[i] = i / D % rows < lengths[i / (heads * rows * D)] ? values[i] : float.NaN;
            }
            return values;
        }
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"[{N}, {H}/{KvHeads}, {T}/{S}, {D}]{(Causal ? " causal" : "")}{(Lengths is null ? "" : $" {string.Join('-', Lengths)}")}");
}

/// <summary>Models of one node, ai.deepseek::BlockSparseAttention, and their sessions.</summary>
internal static class OnnxAttention
{
    private const string Domain = "ai.deepseek";
    private static readonly string s_library = NativeLibraryResolver.Candidates(Environment.GetEnvironmentVariable(NativeLibraryResolver.PathVariable), AppContext.BaseDirectory)
        .Select(path => Path.Combine(Path.GetDirectoryName(path)!, "libdeepseek_onnx.so")).First(File.Exists);

    /// <summary>A session whose output has no declared shape; <paramref name="change"/> sets an attribute, or leaves it out.</summary>
    internal static InferenceSession Session(OnnxAttentionShape shape, SparsePolicy policy, int threads = 2, bool anyShape = false, (string Name, object? Value)? change = null)
    {
        using var options = new SessionOptions { IntraOpNumThreads = threads, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL };
        options.RegisterCustomOpLibrary(s_library);
        return new InferenceSession(Model(shape, policy, anyShape, change).ToByteArray(), options);
    }

    internal static float[] Run(OnnxAttentionShape shape, SparsePolicy policy, float[] q, float[] k, float[] v, int threads = 2)
    {
        using var session = Session(shape, policy, threads, anyShape: shape.Lengths is not null);
        return Run(session, shape, q, k, v);
    }

    internal static float[] Run(InferenceSession session, OnnxAttentionShape shape, float[] q, float[] k, float[] v)
    {
        using var first = Tensor(q, shape.N, shape.H, shape.T, shape.D);
        using var second = Tensor(k, shape.N, shape.KvHeads, shape.S, shape.D);
        using var third = Tensor(v, shape.N, shape.KvHeads, shape.S, shape.D);
        using var lengths = Tensor(Array.ConvertAll(shape.Lengths ?? [.. Enumerable.Repeat(shape.S, shape.N)], length => (long)length), shape.N);
        var inputs = new Dictionary<string, OrtValue> { ["q"] = first, ["k"] = second, ["v"] = third, ["key_lengths"] = lengths }.Where(i => session.InputMetadata.ContainsKey(i.Key)).ToDictionary();
        using var run = new RunOptions();
        using var outputs = session.Run(run, inputs, ["out"]);
        return outputs[0].GetTensorDataAsSpan<float>().ToArray();
    }

    internal static OrtValue Tensor<T>(T[] values, params long[] shape) where T : unmanaged => OrtValue.CreateTensorValueFromMemory(values, shape);

    // The graph's builder admits known domains alone, so the node is put in by hand. With any shape, lengths are an input, else they are left out.
    private static ModelProto Model(OnnxAttentionShape shape, SparsePolicy policy, bool anyShape, (string Name, object? Value)? change)
    {
        var graph = new GraphProto { Name = "attention" };
        OnnxDim[] queries = anyShape ? ["a", "b", "c", "d"] : ["N", shape.H, "T", shape.D], keys = anyShape ? ["e", "f", "g", "h"] : ["N", shape.KvHeads, "S", shape.D];
        graph.Input.Add(OnnxShapes.ValueInfo("q", OnnxType.Float, queries));
        graph.Input.Add(OnnxShapes.ValueInfo("k", OnnxType.Float, keys));
        graph.Input.Add(OnnxShapes.ValueInfo("v", OnnxType.Float, anyShape ? ["i", "j", "k", "l"] : keys));
        if (anyShape)
        {
            graph.Input.Add(OnnxShapes.ValueInfo("key_lengths", OnnxType.Int64, "m"));
        }
        graph.Output.Add(new ValueInfoProto { Name = "out", Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)OnnxType.Float } } });
        var node = new NodeProto { Name = "attention", OpType = "BlockSparseAttention", Domain = Domain, Input = { "q", "k", "v", anyShape ? "key_lengths" : "" }, Output = { "out" } };
        node.Attribute.Add(Attributes(shape, policy).Where(a => a.Name != change?.Name));
        if (change is { Value: { } value } changed)
        {
            node.Attribute.Add(value is float number ? OnnxAttribute.Of(changed.Name, number) : OnnxAttribute.Of(changed.Name, (long)value));
        }
        graph.Node.Add(node);
        return new ModelProto { IrVersion = 8, Graph = graph, OpsetImport = { new OperatorSetIdProto { Version = 17 }, new OperatorSetIdProto { Domain = Domain, Version = 1 } } };
    }

    private static AttributeProto[] Attributes(OnnxAttentionShape shape, SparsePolicy policy) =>
    [
        OnnxAttribute.Of("causal", shape.Causal ? 1 : 0),
        OnnxAttribute.Of("scale", (float)(1 / Math.Sqrt(shape.D))),
        OnnxAttribute.Of("block_q", policy.QueryBlock),
        OnnxAttribute.Of("block_k", policy.KeyBlock),
        OnnxAttribute.Of("density", (float)policy.Density),
        OnnxAttribute.Of("mass", (float)policy.Mass),
        OnnxAttribute.Of("sink", policy.SinkBlocks),
        OnnxAttribute.Of("window", policy.WindowBlocks),
        OnnxAttribute.Of("minimum", policy.MinimumBlocks),
        OnnxAttribute.Of("shared_budget", policy.SharedBudget ? 1 : 0),
        OnnxAttribute.Of("stride", policy.Stride),
        OnnxAttribute.Of("estimate", (int)policy.Estimate),
        OnnxAttribute.Of("power", double.IsPositiveInfinity(policy.Power) ? 0f : (float)policy.Power),
    ];
}
