using DeepSeek.Contracts.Training;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Trainer;

/// <summary>What is particular to language models: their sizes, the course of their indexers, and the same net under dense attention.</summary>
internal static class LanguageNet
{
    private const int Layers = 4;
    private const double Density = 0.25;
    private const int Block = 64;
    private const int Stride = 8;
    private const int Tokens = 64;
    private const int LargestIndexer = 64;
    private const double Warmup = 0.1;

    internal static GptConfig Config(TrainingPlan plan)
    {
        var model = plan.Spec.Model;
        var width = model.Width ?? ModelSpec.GptWidth;
        var attention = model.Attention ?? new AttentionSpec();
        return new GptConfig
        {
            Vocabulary = plan.Outputs,
            Length = plan.Dataset.FeatureShape[0],
            Width = width,
            Layers = model.Layers ?? Layers,
            Heads = model.Heads ?? ModelSpec.GptHeads,
            Dropout = model.Dropout ?? 0,
            Sparse = attention.Kind == AttentionKind.BlockSparse ? Blocks(attention) : null,
            GateWidth = attention.Gate,
            TokenSparse = attention.Kind == AttentionKind.TokenSparse ? Indexed(attention, width) : null,
        };
    }

    /// <summary>Multiplications with weights of one batch's forward pass.</summary>
    internal static double Multiplications(TrainingPlan plan)
    {
        var config = Config(plan);
        return (double)plan.Spec.BatchSize * config.Length * config.Width * (12.0 * config.Layers * config.Width + config.Vocabulary);
    }

    /// <summary>
    /// Sets what the step's attention sees: everything while indexers warm up, what the estimate chooses while gates do; then what they
    /// choose themselves. A function of the step, so that a resumed run goes on with the same.
    /// </summary>
    /// <returns>Which of the course's stages it is in: steps of one compute the same.</returns>
    internal static int BeforeStep(Module net, RunSpec spec, long step, long total)
    {
        if (net is not Gpt { LearnsToChoose: true } gpt)
        {
            return 0;
        }
        var warming = step < (spec.Model.Attention!.Warmup ?? Warmup) * total;
        foreach (var layer in gpt.SparseLayers)
        {
            layer.GateChooses = !warming;
        }
        foreach (var layer in gpt.TokenSparseLayers)
        {
            layer.Stage = warming ? IndexerStage.WarmUp : IndexerStage.Sparse;
        }
        return warming ? 0 : 1;
    }

    /// <summary>Whether model.onnx holds <see cref="Dense"/> in the net's place: it has no form for what learned weights choose.</summary>
    internal static bool IsExportedDense(Module net) => net is Gpt { LearnsToChoose: true };

    /// <summary>The same weights under dense attention, without indexers and gates; null when attention is dense anyway.</summary>
    internal static Gpt? Dense(Module net)
    {
        if (net is not Gpt { Config: { } config } || config is { Sparse: null, TokenSparse: null })
        {
            return null;
        }
        using var recording = NoGrad.Enter();
        var dense = new Gpt(config with { Sparse = null, TokenSparse = null, GateWidth = null });
        var weights = net.State().ToDictionary(t => t.Name, t => t.Tensor);
        foreach (var (name, tensor) in dense.State())
        {
            tensor.Tensor.CopyInPlace(weights[name].Tensor);
        }
        dense.To(net.Device);
        return dense;
    }

    private static SparsePolicy Blocks(AttentionSpec attention) => new()
    {
        Density = attention.Density ?? Density,
        Mass = attention.Mass ?? 1,
        SinkBlocks = attention.Sink ?? 1,
        WindowBlocks = attention.Window ?? 1,
        MinimumBlocks = attention.Minimum ?? 1,
        QueryBlock = attention.Block ?? Block,
        KeyBlock = attention.Block ?? Block,
        Stride = Stride,
        Estimate = BlockEstimate.Sampled,
        Power = 2,
        SharedBudget = attention.Mass is null or 1,
    };

    private static TokenSparsePolicy Indexed(AttentionSpec attention, int width)
    {
        var heads = attention.IndexerHeads ?? 1;
        return new()
        {
            Tokens = attention.Tokens ?? Tokens,
            IndexerHeads = heads,
            IndexerDim = attention.IndexerDim ?? Math.Clamp(width / 8 / heads, 1, LargestIndexer),
        };
    }
}
