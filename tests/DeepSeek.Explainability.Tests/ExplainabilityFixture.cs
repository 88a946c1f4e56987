using DeepSeek.Contracts;
using DeepSeek.Data;
using DeepSeek.Onnx;
using DeepSeek.Testing;

namespace DeepSeek.Explainability.Tests;

/// <summary>The service with its database and broker, beside peers that hold one small model: p = σ(2a − b + city), city: Paris 1, Rome −1, b unknown 1.</summary>
public sealed class ExplainabilityFixture : ServiceFactory<Program>
{
    public const int TrainRows = 30;

    public ExplainabilityFixture()
        : base("explainability")
    {
    }

    internal PlatformPeers Peers { get; private set; } = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Peers = await PlatformPeers.StartAsync();
        foreach (var peer in new[] { ResourceNames.Registry, ResourceNames.Inference, ResourceNames.Scheduling })
        {
            WithPeer(peer, Peers.Address);
        }

        Register("scores", Manifest(), Model());
        var people = People.Create(Peers);
        Register("people", people.Manifest, people.Model);
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        await Peers.DisposeAsync();
    }

    /// <summary>The model's function, in double precision.</summary>
    public static double Probability(double a, double b, string city) =>
        1 / (1 + Math.Exp(-(2 * a - b + (city switch { "Paris" => 1, "Rome" => -1, _ => 0 }))));

    /// <summary>Row i of the train sample.</summary>
    public static (double A, double B, string City) Row(int i) => (i / 10.0 - 1, i % 7 / 3.0, (i % 3) switch { 0 => "Paris", 1 => "Rome", _ => "" });

    private void Register(string name, DatasetManifest manifest, global::Onnx.ModelProto model) => Peers.Versions[name] = new
    {
        modelName = name,
        version = 1,
        datasetManifestSha256 = Peers.Add(manifest.ToBytes()),
        artifacts = new[] { new { name = "model.onnx", sha256 = Peers.Add(OnnxModels.ToBytes(model)), bytes = 1, mediaType = "application/octet-stream" } },
    };

    private static global::Onnx.ModelProto Model()
    {
        var graph = new OnnxGraph("scores").Import(OnnxGraph.MlDomain, 3);
        var a = graph.Node("Cast", [graph.Input("a", OnnxType.Double, "N", 1)], OnnxAttribute.Of("to", (long)OnnxType.Float));
        var b = graph.Node("Cast", [graph.Input("b", OnnxType.Double, "N", 1)], OnnxAttribute.Of("to", (long)OnnxType.Float));
        b = graph.Node("Where", [graph.Node("IsNaN", [b]), graph.Scalar("unknown", 1f), b]);
        var city = graph.MlNode(
            "LabelEncoder", [graph.Input("city", OnnxType.String, "N", 1)],
            OnnxAttribute.Of("keys_strings", ["Paris", "Rome"]), OnnxAttribute.Of("values_floats", [1f, -1f]), OnnxAttribute.Of("default_float", 0f));
        var logit = graph.Node("Add", [graph.Node("Sub", [graph.Node("Mul", [a, graph.Scalar("two", 2f)]), b]), city]);
        var yes = graph.Node("Sigmoid", [logit]);
        graph.NodeTo("probabilities", "Concat", [graph.Node("Sub", [graph.Scalar("one", 1f), yes]), yes], OnnxAttribute.Of("axis", 1L));
        graph.Output("probabilities", OnnxType.Float, "N", 2);
        return graph.Metadata("deepseek.model", """{"task":"classification","classes":["no","yes"]}""").ToModel();
    }

    private DatasetManifest Manifest()
    {
        var lines = string.Join('\n', Enumerable.Range(0, TrainRows).Select(Row).Select(row => FormattableString.Invariant(
            $$"""{"inputs":{"a":{{row.A}},"b":{{row.B}},"city":{{(row.City.Length == 0 ? "null" : $"\"{row.City}\"")}}},"target":"yes"}""")));
        var sample = Peers.AddSample(lines, TrainRows);
        return new DatasetManifest
        {
            Id = Guid.CreateVersion7(),
            Name = "scores",
            Kind = "tabular",
            Task = "classification",
            Classes = ["no", "yes"],
            Inputs = [new("a", "numeric", "FP64", [-1, 1]), new("b", "numeric", "FP64", [-1, 1]), new("city", "categorical", "BYTES", [-1, 1])],
            FeatureShape = [3],
            Pipeline = new(new string('0', 64), 1),
            Splits = new Dictionary<string, DatasetSplit> { ["train"] = new(TrainRows, [], sample), ["test"] = new(TrainRows, [], sample) },
        };
    }
}
