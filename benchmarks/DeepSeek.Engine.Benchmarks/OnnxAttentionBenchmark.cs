using System.Diagnostics;
using System.Globalization;
using DeepSeek.Onnx;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Onnx;

namespace DeepSeek.Engine.Benchmarks;

/// <summary>
/// Attention in ONNX Runtime, by turns: densely as models are exported, densely by its own MultiHeadAttention, and by ai.deepseek::BlockSparseAttention, for prompts (as many
/// queries as keys) and for one generated token. 8 heads of 64, causal, blocks of 64, every eighth query sampled, root mean square, a shared budget.
/// </summary>
internal static class OnnxAttentionBenchmark
{
    private const int Heads = 8, Width = 64;
    private static readonly float s_scale = (float)(1 / Math.Sqrt(Width));

    internal static int Run(string library, int rounds)
    {
        Console.WriteLine($"{Environment.ProcessorCount} processors, load {File.ReadAllText("/proc/loadavg").Trim()}; ONNX Runtime {OrtEnv.Instance().GetVersionString()}, .NET {Environment.Version}; processor time (wall) in ms, median [p10, p90] of {rounds}");
        foreach (var token in new[] { false, true })
        {
            foreach (var keys in new[] { 1024, 2048, 4096, 8192 })
            {
                var queries = token ? 1 : keys;
                (string Name, Contender Contender)[] all =
                [
                    ("as exported", new(Dense(), library, queries, keys, joined: false)),
                    ("MultiHeadAttention", new(Fused(queries), library, queries, keys, joined: true)),
                    ("0.25", new(Sparse(0.25f), library, queries, keys, joined: false)),
                    ("0.1", new(Sparse(0.1f), library, queries, keys, joined: false)),
                ];
                Compare($"{queries} queries, {keys} keys", all, token ? 5 * rounds : rounds);
                Array.ForEach(all, one => one.Contender.Dispose());
            }
        }
        return 0;
    }

    private static void Compare(string name, (string Name, Contender Contender)[] all, int rounds)
    {
        var readings = all.ToDictionary(one => one.Name, _ => new List<(double Cpu, double Wall)>());
        for (var i = -2; i < rounds; i++)
        {
            foreach (var (contender, run) in all)
            {
                var reading = run.Milliseconds();
                if (i >= 0)
                {
                    readings[contender].Add(reading);
                }
            }
        }
        var first = readings[all[0].Name];
        Console.WriteLine($"{name}: {string.Join("; ", readings.Select(r => $"{r.Key} {Text(r.Value)}{(r.Value == first ? "" : $" ×{Median(first) / Median(r.Value):0.0}")}"))}");
    }

    private static double Median(List<(double Cpu, double Wall)> readings) => At(readings.Select(r => r.Cpu), 0.5);

    private static double At(IEnumerable<double> values, double share)
    {
        double[] sorted = [.. values.Order()];
        return sorted[(int)Math.Round(share * (sorted.Length - 1))];
    }

    private static string Text(List<(double Cpu, double Wall)> readings)
    {
        var (cpu, wall) = (readings.Select(r => r.Cpu), readings.Select(r => r.Wall));
        return string.Create(CultureInfo.InvariantCulture, $"{At(cpu, 0.5):0.00} [{At(cpu, 0.1):0.00}, {At(cpu, 0.9):0.00}] ({At(wall, 0.5):0.00})");
    }

    // As LanguageExport writes it of Functional.Attention; the mask is made once for all layers and not timed.
    private static ModelProto Dense()
    {
        var graph = new OnnxGraph("dense");
        var (q, k, v) = Inputs(graph);
        var mask = graph.Input("mask", OnnxType.Float, "T", "S");
        var scores = graph.Node("MatMul", [graph.Node("Mul", [q, graph.Scalar("scale", s_scale)]), graph.Node("Transpose", [k], OnnxAttribute.Of("perm", [0L, 1, 3, 2]))]);
        var weights = graph.Node("Softmax", [graph.Node("Add", [scores, mask])], OnnxAttribute.Of("axis", -1));
        graph.Output(graph.NodeTo("out", "MatMul", [weights, v]), OnnxType.Float, "N", Heads, "T", Width);
        return graph.ToModel();
    }

    // One query sees all keys.
    private static ModelProto Fused(int queries) => OfOneNode("MultiHeadAttention", "com.microsoft", ["N", "T", Heads * Width], ["N", "S", Heads * Width],
        OnnxAttribute.Of("num_heads", Heads), OnnxAttribute.Of("scale", s_scale), OnnxAttribute.Of("unidirectional", queries > 1 ? 1 : 0));

    private static ModelProto Sparse(float density) => OfOneNode("BlockSparseAttention", "ai.deepseek", ["N", Heads, "T", Width], ["N", Heads, "S", Width],
        OnnxAttribute.Of("causal", 1), OnnxAttribute.Of("scale", s_scale), OnnxAttribute.Of("block_q", 64), OnnxAttribute.Of("block_k", 64), OnnxAttribute.Of("density", density),
        OnnxAttribute.Of("mass", 1f), OnnxAttribute.Of("sink", 1), OnnxAttribute.Of("window", 1), OnnxAttribute.Of("minimum", 1), OnnxAttribute.Of("shared_budget", 1),
        OnnxAttribute.Of("stride", 8), OnnxAttribute.Of("estimate", 2), OnnxAttribute.Of("power", 2f));

    private static (string Q, string K, string V) Inputs(OnnxGraph graph) =>
        (graph.Input("q", OnnxType.Float, "N", Heads, "T", Width), graph.Input("k", OnnxType.Float, "N", Heads, "S", Width), graph.Input("v", OnnxType.Float, "N", Heads, "S", Width));

    private static ModelProto OfOneNode(string type, string domain, OnnxDim[] queries, OnnxDim[] keys, params ReadOnlySpan<AttributeProto> attributes)
    {
        var graph = new GraphProto { Name = type };
        graph.Input.Add([OnnxShapes.ValueInfo("q", OnnxType.Float, queries), OnnxShapes.ValueInfo("k", OnnxType.Float, keys), OnnxShapes.ValueInfo("v", OnnxType.Float, keys)]);
        graph.Output.Add(OnnxShapes.ValueInfo("out", OnnxType.Float, queries));
        var node = new NodeProto { OpType = type, Domain = domain, Input = { "q", "k", "v" }, Output = { "out" } };
        foreach (var attribute in attributes)
        {
            node.Attribute.Add(attribute);
        }
        graph.Node.Add(node);
        return new ModelProto { IrVersion = 8, Graph = graph, OpsetImport = { new OperatorSetIdProto { Version = 17 }, new OperatorSetIdProto { Domain = domain, Version = 1 } } };
    }

    private sealed class Contender : IDisposable
    {
        private readonly InferenceSession _session;
        private readonly Dictionary<string, OrtValue> _inputs = [];
        private readonly RunOptions _run = new();

        internal Contender(ModelProto model, string library, int queries, int keys, bool joined)
        {
            using var options = new SessionOptions();
            // Waiting threads would count as processor time.
            options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0");
            options.RegisterCustomOpLibrary(library);
            _session = new InferenceSession(model.ToByteArray(), options);
            var random = new Random(7);
            foreach (var (name, rows) in new[] { ("q", queries), ("k", keys), ("v", keys) })
            {
                var values = Enumerable.Range(0, Heads * rows * Width).Select(_ => (float)(random.NextDouble() * 4 - 2)).ToArray();
                _inputs[name] = OrtValue.CreateTensorValueFromMemory(values, joined ? [1, rows, Heads * Width] : [1, Heads, rows, Width]);
            }
            if (_session.InputMetadata.ContainsKey("mask"))
            {
                var mask = new float[(long)queries * keys];
                for (var i = 0; i < mask.Length; i++)
                {
                    mask[i] = i % keys <= i / keys + keys - queries ? 0 : float.NegativeInfinity;
                }
                _inputs["mask"] = OrtValue.CreateTensorValueFromMemory(mask, [queries, keys]);
            }
        }

        // Of whole processes, so that the session's threads count; one generated token is too quick for that clock.
        internal (double Cpu, double Wall) Milliseconds()
        {
            var runs = _inputs["q"].GetTensorTypeAndShape().ElementCount == Heads * Width ? 20 : 1;
            using var process = Process.GetCurrentProcess();
            var (cpu, wall) = (process.TotalProcessorTime, Stopwatch.GetTimestamp());
            for (var i = 0; i < runs; i++)
            {
                _session.Run(_run, _inputs, ["out"]).Dispose();
            }
            var elapsed = Stopwatch.GetElapsedTime(wall);
            process.Refresh();
            return ((process.TotalProcessorTime - cpu).TotalMilliseconds / runs, elapsed.TotalMilliseconds / runs);
        }

        public void Dispose()
        {
            foreach (var input in _inputs.Values)
            {
                input.Dispose();
            }
            _run.Dispose();
            _session.Dispose();
        }
    }
}
