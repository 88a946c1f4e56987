using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>A rewrite of a graph that keeps what it computes.</summary>
/// <param name="Name">For reports.</param>
/// <param name="Apply">Rewrites and returns how often; 0 when there is nothing to do.</param>
public sealed record OnnxPass(string Name, Func<GraphEditor, int> Apply);

/// <summary>What a pass did.</summary>
/// <param name="Pass">Its name.</param>
/// <param name="Rewrites">How often it applied.</param>
/// <param name="NodesBefore">Nodes of the main graph before.</param>
/// <param name="NodesAfter">Nodes after.</param>
public sealed record OnnxPassReport(string Pass, int Rewrites, int NodesBefore, int NodesAfter);

/// <summary>Rewrites graphs into smaller ones that compute the same within rounding.</summary>
public static class OnnxOptimizer
{
    /// <summary>Removes nodes that no output depends on; unread constants go in any case.</summary>
    public static OnnxPass DeadCode { get; } = new("dead code", editor => editor.Sweep());

    /// <summary>Removes nodes that hand their input on, and transpositions that undo each other.</summary>
    public static OnnxPass Identities { get; } = new("identities", Optimization.Identities.Apply);

    /// <summary>Computes nodes whose inputs are all constants.</summary>
    public static OnnxPass ConstantFolding { get; } = ConstantFoldingWith(null);

    /// <summary>The same with a rule for what is not known here.</summary>
    public static OnnxPass ConstantFoldingWith(ConstantRule? more) => new("constant folding", editor => Optimization.ConstantFolding.Apply(editor, more));

    /// <summary>Works batch normalisation into the convolution or linear layer in front of it, or into the linear layers behind.</summary>
    public static OnnxPass BatchNormFolding { get; } = new("batch normalisation", Optimization.BatchNormFolding.Apply);

    /// <summary>Finds x·Φ(x) and its tanh form in their parts: one Gelu node (standard from opset 20 on, ONNX Runtime's own before).</summary>
    public static OnnxPass Gelu { get; } = new("gelu", GeluFusion.Apply);

    /// <summary>Finds softmax(q·kᵀ + mask)·v of several heads in its parts: one MultiHeadAttention node of ONNX Runtime.</summary>
    public static OnnxPass Attention { get; } = new("attention", AttentionFusion.Apply);

    /// <summary>Passes whose results every runtime understands.</summary>
    public static IReadOnlyList<OnnxPass> Portable { get; } = [ConstantFolding, BatchNormFolding, Identities, DeadCode];

    /// <summary>All passes: the result needs ONNX Runtime (domain com.microsoft).</summary>
    public static IReadOnlyList<OnnxPass> ForOnnxRuntime { get; } = [ConstantFolding, BatchNormFolding, Identities, Attention, Gelu, DeadCode];

    /// <summary>Runs the passes in order, again and again until none applies. The given model stays as it is.</summary>
    public static (ModelProto Model, IReadOnlyList<OnnxPassReport> Reports) Run(ModelProto model, IReadOnlyList<OnnxPass> passes)
    {
        var copy = model.Clone();
        var reports = Run(new GraphEditor(copy), passes);
        OnnxModels.Validate(copy);
        return (copy, reports);
    }

    /// <summary>Runs the passes likewise on the editor's model and applies the edits.</summary>
    public static IReadOnlyList<OnnxPassReport> Run(GraphEditor editor, IReadOnlyList<OnnxPass> passes)
    {
        var reports = new Dictionary<string, OnnxPassReport>();
        bool changed;
        do
        {
            changed = false;
            foreach (var pass in passes)
            {
                var before = editor.Nodes.Count;
                var rewrites = pass.Apply(editor);
                changed |= rewrites > 0;
                var report = reports.GetValueOrDefault(pass.Name) ?? new OnnxPassReport(pass.Name, 0, before, before);
                reports[pass.Name] = report with { Rewrites = report.Rewrites + rewrites, NodesAfter = report.NodesAfter + editor.Nodes.Count - before };
            }
        }
        while (changed);
        editor.Apply();
        return [.. passes.Select(p => reports[p.Name])];
    }
}
