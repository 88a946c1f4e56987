using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Onnx;

namespace DeepSeek.Explainability.Tests;

/// <summary>A dataset with masked columns (age in bands of 10, mail hashed, born by its year) and a model: p = σ(age/100 + mail + born/10⁹), mail: known 1, else −1.</summary>
internal static class People
{
    public const string KnownMail = "h_0123456789abcdef01234567";

    private const int Rows = 8;

    public static double Probability(double age, string mail, double born) =>
        1 / (1 + Math.Exp(-((age / 100) + (mail == KnownMail ? 1 : -1) + (born / 1e9))));

    public static (DatasetManifest Manifest, global::Onnx.ModelProto Model) Create(PlatformPeers peers)
    {
        var sample = peers.AddSample(string.Join('\n', Enumerable.Range(0, Rows).Select(i =>
            $$"""{"inputs":{"age":{{(10 * i) + 5}},"mail":"{{KnownMail}}","born":0},"target":"yes"}""")), Rows);
        var manifest = new DatasetManifest
        {
            Id = Guid.CreateVersion7(),
            Name = "people",
            Kind = "tabular",
            Task = "classification",
            Classes = ["no", "yes"],
            Inputs = [new("age", "numeric", "FP64", [-1, 1]), new("mail", "categorical", "BYTES", [-1, 1]), new("born", "dateTime", "FP64", [-1, 1])],
            FeatureShape = [3],
            Pipeline = new(new string('0', 64), 1),
            Splits = new Dictionary<string, DatasetSplit> { ["train"] = new(Rows, [], sample), ["test"] = new(Rows, [], sample) },
            Schema = JsonElement.Parse("""
                [{"name":"age","type":"numeric","role":"feature","masked":"generalise","bandWidth":10},
                 {"name":"mail","type":"categorical","role":"feature","masked":"hash"},
                 {"name":"born","type":"dateTime","role":"feature","masked":"generalise"}]
                """),
        };
        return (manifest, Model());
    }

    private static global::Onnx.ModelProto Model()
    {
        var graph = new OnnxGraph("people").Import(OnnxGraph.MlDomain, 3);
        var age = graph.Node("Cast", [graph.Input("age", OnnxType.Double, "N", 1)], OnnxAttribute.Of("to", (long)OnnxType.Float));
        var mail = graph.MlNode(
            "LabelEncoder", [graph.Input("mail", OnnxType.String, "N", 1)],
            OnnxAttribute.Of("keys_strings", [KnownMail]), OnnxAttribute.Of("values_floats", [1f]), OnnxAttribute.Of("default_float", -1f));
        var born = graph.Node("Cast", [graph.Input("born", OnnxType.Double, "N", 1)], OnnxAttribute.Of("to", (long)OnnxType.Float));
        var logit = graph.Node("Add", [graph.Node("Div", [age, graph.Scalar("hundred", 100f)]), mail]);
        logit = graph.Node("Add", [logit, graph.Node("Div", [born, graph.Scalar("billion", 1e9f)])]);
        var yes = graph.Node("Sigmoid", [logit]);
        graph.NodeTo("probabilities", "Concat", [graph.Node("Sub", [graph.Scalar("one", 1f), yes]), yes], OnnxAttribute.Of("axis", 1L));
        graph.Output("probabilities", OnnxType.Float, "N", 2);
        return graph.Metadata("deepseek.model", """{"task":"classification","classes":["no","yes"]}""").ToModel();
    }
}
