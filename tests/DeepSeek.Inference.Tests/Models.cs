using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Inference.Tests;

/// <summary>Small models with answers that can be worked out by hand.</summary>
internal static class Models
{
    /// <summary>
    /// A model package as training writes it: age (numeric), member (boolean), since (date-time), city (categorical) →
    /// label, probabilities. logit = bias + 0.1·age + 2·member + 3·[city = Paris]; a missing number counts as 0;
    /// since is read and weighs nothing.
    /// </summary>
    public static byte[] Classifier(float bias)
    {
        const string card = """
            {"task":"classification","classes":["no","yes"],"inputs":[
              {"name":"age","type":"numeric","datatype":"FP64","shape":[-1,1]},
              {"name":"member","type":"boolean","datatype":"FP64","shape":[-1,1]},
              {"name":"since","type":"dateTime","datatype":"FP64","shape":[-1,1]},
              {"name":"city","type":"categorical","datatype":"BYTES","shape":[-1,1]}],
             "datasetManifestSha256":"00"}
            """;
        var g = new OnnxGraph("classifier").Import(OnnxGraph.MlDomain, 3).Metadata("deepseek.model", card);
        var columns = new List<string>();
        foreach (var name in new[] { "age", "member", "since" })
        {
            var input = g.Input(name, OnnxType.Double, "N", 1);
            var known = g.Node("Where", [g.Node("IsNaN", [input]), g.Scalar("zero", 0.0), input]);
            columns.Add(g.Node("Cast", [known], OnnxAttribute.Of("to", (long)OnnxType.Float)));
        }

        var city = g.Input("city", OnnxType.String, "N", 1);
        var number = g.MlNode("LabelEncoder", [city],
            OnnxAttribute.Of("keys_strings", new[] { "Paris" }), OnnxAttribute.Of("values_floats", new[] { 1f }), OnnxAttribute.Of("default_float", 0f));
        columns.Add(number);
        var features = g.Node("Concat", [.. columns], OnnxAttribute.Of("axis", 1L));
        var weights = g.Initializer(OnnxTensors.Of("weights", new[] { 0.1f, 2f, 0f, 3f }, 4, 1));
        var z = g.Node("Add", [g.Node("MatMul", [features, weights]), g.Scalar("bias", bias)]);
        var yes = g.Node("Sigmoid", [z]);
        var no = g.Node("Sub", [g.Scalar("one", 1f), yes]);
        g.NodeTo("probabilities", "Concat", [no, yes], OnnxAttribute.Of("axis", 1L));
        var index = g.Node("ArgMax", ["probabilities"], OnnxAttribute.Of("axis", 1L), OnnxAttribute.Of("keepdims", 0L));
        g.Nodes("LabelEncoder", OnnxGraph.MlDomain, [index], ["label"],
            OnnxAttribute.Of("keys_int64s", new long[] { 0, 1 }), OnnxAttribute.Of("values_strings", new[] { "no", "yes" }));
        g.Output("label", OnnxType.String, "N");
        g.Output("probabilities", OnnxType.Float, "N", 2);
        return OnnxModels.ToBytes(g.ToModel());
    }

    /// <summary>
    /// A language model of 8 tokens' sight, after its training's form: behind a letter comes the next one with e² to 1 against each other
    /// token, behind "d" the separator, which "a" follows.
    /// </summary>
    public static byte[] Language()
    {
        const int tokens = 257, separator = 256;
        var classes = string.Join(",", Enumerable.Range(0, tokens).Select(t => $"\"{(t is >= 'a' and <= 'z' ? ((char)t).ToString() : $"t{t}")}\""));
        var card = $$"""{"task":"languageModeling","kind":"text","classes":[{{classes}}],"featureShape":[8],"inputs":[{"name":"story","type":"text","datatype":"INT64","shape":[-1,-1]}]}""";
        var g = new OnnxGraph("language").Metadata("deepseek.model", card);
        var story = g.Input("story", OnnxType.Int64, "N", "T");
        var zero = g.Scalar("zero", 0L);
        var length = g.Node("ReduceSum", [g.Node("Cast", [g.Node("GreaterOrEqual", [story, zero])], OnnxAttribute.Of("to", (long)OnnxType.Int64)), g.Initializer(OnnxTensors.Of("axes", [1L], 1))]);
        var last = g.Node("GatherElements", [g.Node("Max", [story, zero]), g.Node("Sub", [length, g.Scalar("one", 1L)])], OnnxAttribute.Of("axis", 1));
        var table = new float[tokens * tokens];
        for (var t = 0; t < tokens; t++)
        {
            table[(t * tokens) + (t == separator ? 'a' : t == 'd' ? separator : Math.Min(t + 1, separator))] = 2;
        }
        var logits = g.Node("Gather", [g.Initializer(OnnxTensors.Of("table", table, tokens, tokens)), g.Node("Squeeze", [last, g.Initializer(OnnxTensors.Of("axis", [1L], 1))])], OnnxAttribute.Of("axis", 0));
        g.NodeTo("probabilities", "Softmax", [logits], OnnxAttribute.Of("axis", 1));
        var names = g.Initializer(OnnxTensors.Of("names", [.. Enumerable.Range(0, tokens).Select(t => t is >= 'a' and <= 'z' ? ((char)t).ToString() : $"t{t}")], tokens));
        g.NodeTo("label", "Gather", [names, g.Node("ArgMax", [logits], OnnxAttribute.Of("axis", 1), OnnxAttribute.Of("keepdims", 0))], OnnxAttribute.Of("axis", 0));
        g.Output("label", OnnxType.String, "N");
        g.Output("probabilities", OnnxType.Float, "N", tokens);
        return OnnxModels.ToBytes(g.ToModel());
    }

    /// <summary>prediction [N, 1] = scale · x for numeric x [N, 1].</summary>
    public static byte[] Regressor(float scale)
    {
        var g = new OnnxGraph("regressor");
        var x = g.Input("x", OnnxType.Double, "N", 1);
        g.NodeTo("prediction", "Mul",
            [g.Node("Cast", [x], OnnxAttribute.Of("to", (long)OnnxType.Float)), g.Scalar("scale", scale)]);
        g.Output("prediction", OnnxType.Float, "N", 1);
        return OnnxModels.ToBytes(g.ToModel());
    }

    /// <summary>y [N, width] = x [N, width] of any type that ONNX copies.</summary>
    public static byte[] Identity(OnnxType type, params ReadOnlySpan<OnnxDim> shape)
    {
        var g = new OnnxGraph("identity");
        g.NodeTo("y", "Identity", [g.Input("x", type, shape)]);
        g.Output("y", type, shape);
        return OnnxModels.ToBytes(g.ToModel());
    }

    /// <summary>sum, difference [N, 4] of a, b FLOAT [N, 4].</summary>
    public static byte[] AddSubtract()
    {
        var g = new OnnxGraph("addsub");
        var a = g.Input("a", OnnxType.Float, "N", 4);
        var b = g.Input("b", OnnxType.Float, "N", 4);
        g.NodeTo("sum", "Add", [a, b]);
        g.NodeTo("difference", "Sub", [a, b]);
        g.Output("sum", OnnxType.Float, "N", 4);
        g.Output("difference", OnnxType.Float, "N", 4);
        return OnnxModels.ToBytes(g.ToModel());
    }

    /// <summary>y [N] = table[x] for x INT64 [N] of 0 to 2; any other x fails the whole execution.</summary>
    public static byte[] Lookup()
    {
        var g = new OnnxGraph("lookup");
        var table = g.Initializer(OnnxTensors.Of("table", new[] { 10f, 20f, 30f }, 3));
        g.NodeTo("y", "Gather", [table, g.Input("x", OnnxType.Int64, "N")]);
        g.Output("y", OnnxType.Float, "N");
        return OnnxModels.ToBytes(g.ToModel());
    }

    /// <summary>y [N] = number written in x STRING [N]; text that is none fails the execution.</summary>
    public static byte[] ParseNumber()
    {
        var g = new OnnxGraph("parse");
        g.NodeTo("y", "Cast", [g.Input("x", OnnxType.String, "N")], OnnxAttribute.Of("to", (long)OnnxType.Float));
        g.Output("y", OnnxType.Float, "N");
        return OnnxModels.ToBytes(g.ToModel());
    }

    /// <summary>y [2N] = x [N] twice over: its rows cannot be told apart.</summary>
    public static byte[] Twice()
    {
        var g = new OnnxGraph("twice");
        var x = g.Input("x", OnnxType.Float, "N");
        g.NodeTo("y", "Concat", [x, x], OnnxAttribute.Of("axis", 0L));
        g.Output("y", OnnxType.Float, "M");
        return OnnxModels.ToBytes(g.ToModel());
    }

    /// <summary>y [N, 512] after so many products with a 512 × 512 matrix: about 0.26 Mflop·2 each and row, to keep a core busy.</summary>
    public static byte[] Heavy(int products)
    {
        const int width = 512;
        var g = new OnnxGraph("heavy");
        var identity = new float[width * width];
        for (var i = 0; i < width; i++)
        {
            identity[(i * width) + i] = 1;
        }

        var matrix = g.Initializer(OnnxTensors.Of("matrix", identity, width, width));
        var value = g.Input("x", OnnxType.Float, "N", width);
        for (var i = 0; i < products; i++)
        {
            value = g.Node("Relu", [g.Node("MatMul", [value, matrix])]);
        }

        g.NodeTo("y", "Identity", [value]);
        g.Output("y", OnnxType.Float, "N", width);
        return OnnxModels.ToBytes(g.ToModel());
    }

    /// <summary>A valid model of about this size, all of it weights.</summary>
    public static byte[] OfSize(int floats)
    {
        var g = new OnnxGraph("large");
        var weights = g.Initializer(OnnxTensors.Of("weights", new float[floats], 1, floats));
        g.NodeTo("y", "Add", [g.Input("x", OnnxType.Float, "N", floats), weights]);
        g.Output("y", OnnxType.Float, "N", floats);
        return OnnxModels.ToBytes(g.ToModel());
    }
}
