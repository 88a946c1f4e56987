using DeepSeek.Onnx;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Sources;
using Onnx;

namespace DeepSeek.Preprocessing.Features;

/// <summary>
/// Writes a pipeline as ONNX (ai.onnx 17, ai.onnx.ml 3): one input per raw column, output <c>features</c> FLOAT [N, F]. Columns of
/// a kind are concatenated first, so the graph has a few wide nodes whatever their number.
/// </summary>
internal static class PipelineGraph
{
    public const string Output = "features";

    public static ModelProto Of(FeaturePipeline pipeline)
    {
        var graph = new OnnxGraph("pipeline").Import(OnnxGraph.MlDomain, 3);
        // Inputs first: they own their names, and what nodes are called gives way.
        var numbers = pipeline.Numbers.Select(n => Input(graph, n.Column, OnnxType.Double)).ToArray();
        var dates = pipeline.Dates.Select(d => Input(graph, d.Column, OnnxType.Double)).ToArray();
        var categories = pipeline.Categories.Select(c => Input(graph, c.Column, OnnxType.String)).ToArray();
        var parts = new List<string>();
        if (numbers.Length > 0)
        {
            var filled = Filled(graph, numbers, [.. pipeline.Numbers.Select(n => n.Fill)]);
            parts.Add(Scaled(graph, filled, [.. pipeline.Numbers.Select(n => n.Center)], [.. pipeline.Numbers.Select(n => n.Scale)]));
        }
        if (dates.Length > 0)
        {
            parts.Add(DateParts(graph, dates, pipeline.Dates));
        }
        for (var c = 0; c < categories.Length; c++)
        {
            parts.Add(OneHot(graph, categories[c], pipeline.Categories[c]));
        }
        if (parts.Count == 1)
        {
            graph.NodeTo(Output, "Identity", [parts[0]]);
        }
        else
        {
            graph.NodeTo(Output, "Concat", [.. parts], OnnxAttribute.Of("axis", 1));
        }
        graph.Output(Output, OnnxType.Float, "N", pipeline.Count);
        return graph.ToModel();
    }

    private static string Input(OnnxGraph graph, string name, OnnxType type) => graph.Input(name, type, "N", 1);

    // [N, 1] × k → [N, k], missing values filled
    private static string Filled(OnnxGraph graph, string[] inputs, double[] fill)
    {
        var joined = inputs.Length == 1 ? inputs[0] : graph.Node("Concat", inputs, OnnxAttribute.Of("axis", 1));
        return graph.Node("Where", [graph.Node("IsNaN", [joined]), Row(graph, "fill", fill), joined]);
    }

    private static string Scaled(OnnxGraph graph, string values, double[] center, double[] scale)
    {
        var centred = graph.Node("Sub", [values, Row(graph, "center", center)]);
        return Float(graph, graph.Node("Div", [centred, Row(graph, "scale", scale)]));
    }

    // The steps of Columns.DateParts.Of over all dates at once, [N, dates] → [N, 5 · dates]
    private static string DateParts(OnnxGraph graph, string[] inputs, IReadOnlyList<DateFeature> dates)
    {
        string Scalar(double value) => graph.Scalar("constant", value);
        string Add(string a, string b) => graph.Node("Add", [a, b]);
        string Sub(string a, string b) => graph.Node("Sub", [a, b]);
        string Mul(string a, double b) => graph.Node("Mul", [a, Scalar(b)]);
        string Div(string a, double b) => graph.Node("Div", [a, Scalar(b)]);
        string Floor(string a) => graph.Node("Floor", [a]);
        string FloorDiv(string a, double b) => Floor(Div(a, b));

        var seconds = Filled(graph, inputs, [.. dates.Select(d => d.Fill)]);
        var days = FloorDiv(seconds, Columns.DateParts.SecondsPerDay);
        var hour = FloorDiv(Sub(seconds, Mul(days, Columns.DateParts.SecondsPerDay)), 3600);
        var week = Add(days, Scalar(3));
        var dayOfWeek = Sub(week, Mul(FloorDiv(week, 7), 7));
        var z = Add(days, Scalar(Columns.DateParts.EpochOffset));
        var era = FloorDiv(z, Columns.DateParts.DaysPerEra);
        var dayOfEra = Sub(z, Mul(era, Columns.DateParts.DaysPerEra));
        var yearOfEra = FloorDiv(Sub(Add(Sub(dayOfEra, FloorDiv(dayOfEra, 1460)), FloorDiv(dayOfEra, 36524)), FloorDiv(dayOfEra, 146096)), 365);
        var dayOfYear = Sub(dayOfEra, Sub(Add(Mul(yearOfEra, 365), FloorDiv(yearOfEra, 4)), FloorDiv(yearOfEra, 100)));
        var shifted = FloorDiv(Add(Mul(dayOfYear, 5), Scalar(2)), 153);
        var wraps = graph.Node("Where", [graph.Node("Less", [shifted, Scalar(10)]), Scalar(0), Scalar(1)]);
        var month = Sub(Add(shifted, Scalar(3)), Mul(wraps, 12));
        var year = Add(Add(yearOfEra, Mul(era, 400)), wraps);
        var elapsed = Div(Sub(seconds, Row(graph, "origin", [.. dates.Select(d => d.Origin)])), Columns.DateParts.SecondsPerDay);
        var all = graph.Node("Concat", [year, month, dayOfWeek, hour, elapsed], OnnxAttribute.Of("axis", 1));
        double[] ByPart(Func<DateFeature, IReadOnlyList<double>> values) =>
            [.. Enumerable.Range(0, DateFeature.Parts.Length).SelectMany(part => dates.Select(d => values(d)[part]))];
        return Scaled(graph, all, ByPart(d => d.Center), ByPart(d => d.Scale));
    }

    // [N, 1] text → [N, K + 1]
    private static string OneHot(OnnxGraph graph, string input, CategoryFeature category)
    {
        // A row that comes later may call a missing value by any name that the table might have: it was none of the categories there.
        var missing = MissingTokens.Spellings.Except(category.Values).ToList(); // a filled-in category may be called so
        string[] keys = [.. category.Values, .. missing];
        long[] places = [.. Enumerable.Range(0, category.Values.Count).Select(i => (long)i), .. missing.Select(_ => (long)category.Fill)];
        var place = graph.MlNode("LabelEncoder", [input],
            OnnxAttribute.Of("keys_strings", keys),
            OnnxAttribute.Of("values_int64s", places),
            OnnxAttribute.Of("default_int64", (long)category.Values.Count));
        long[] all = [.. Enumerable.Range(0, category.Width).Select(i => (long)i)];
        var hot = graph.Node("Equal", [place, graph.Initializer(OnnxTensors.Of("places", all, 1, all.Length))]);
        return Float(graph, hot);
    }

    private static string Row(OnnxGraph graph, string hint, double[] values) =>
        graph.Initializer(OnnxTensors.Of(hint, values, 1, values.Length));

    private static string Float(OnnxGraph graph, string value) =>
        graph.Node("Cast", [value], OnnxAttribute.Of("to", (long)OnnxType.Float));
}
