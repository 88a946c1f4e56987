namespace DeepSeek.Contracts.Training;

public static partial class RunSpecValidator
{
    // Of an attention's products, 1 in 16 for the indexer: (queries · keys and weights · values) 2 · width / 16.
    private const int IndexerShare = 8;

    private static void ValidateGpt(ModelSpec model, Faults faults)
    {
        var gpt = model.Family == ModelFamily.Gpt;
        const string otherFamily = "Only gpt has such a setting; leave it out.";
        faults.Require(gpt || model.Layers is null, "model.layers", otherFamily);
        faults.Require(gpt || model.Heads is null, "model.heads", otherFamily);
        faults.Require(gpt || model.Context is null, "model.context", otherFamily);
        faults.Require(gpt || model.Attention is null, "model.attention", otherFamily);
        if (!gpt)
        {
            return;
        }
        faults.Require(model.Activation is null, "model.activation", "A gpt's activation is given; leave it out.");
        faults.Range(model.Layers, 1, 96, "model.layers");
        faults.Range(model.Heads, 1, 128, "model.heads");
        faults.Range(model.Context, 8, 32_768, "model.context");
        var (width, heads) = (model.Width ?? ModelSpec.GptWidth, model.Heads ?? ModelSpec.GptHeads);
        faults.Require(heads < 1 || width % heads == 0, "model.heads", $"{heads} heads do not divide a width of {width}; choose a divisor of it.");
        if (model.Attention is { } attention && faults.Defined(attention.Kind, "model.attention.kind"))
        {
            ValidateAttention(attention, width, faults);
        }
    }

    private static void ValidateAttention(AttentionSpec attention, int width, Faults faults)
    {
        const string field = "model.attention.";
        foreach (var (name, value) in ((string, object?)[])[("density", attention.Density), ("mass", attention.Mass), ("sink", attention.Sink), ("window", attention.Window), ("minimum", attention.Minimum), ("block", attention.Block), ("gate", attention.Gate)])
        {
            faults.Require(attention.Kind == AttentionKind.BlockSparse || value is null, field + name, "Only the kind blockSparse has such a setting; leave it out.");
        }
        foreach (var (name, value) in ((string, object?)[])[("tokens", attention.Tokens), ("indexerHeads", attention.IndexerHeads), ("indexerDim", attention.IndexerDim)])
        {
            faults.Require(attention.Kind == AttentionKind.TokenSparse || value is null, field + name, "Only the kind tokenSparse has such a setting; leave it out.");
        }
        faults.Require(attention.Density is null or (> 0 and <= 1), field + "density", "Give a share above 0, at most 1.");
        faults.Require(attention.Mass is null or (> 0 and <= 1), field + "mass", "Give a share above 0, at most 1.");
        faults.Range(attention.Sink, 0, 1024, field + "sink");
        faults.Range(attention.Window, 0, 1024, field + "window");
        faults.Range(attention.Minimum, 1, 1024, field + "minimum");
        faults.Require(attention.Block is null || (attention.Block is >= 16 and <= 256 && attention.Block % 16 == 0), field + "block", "Give a multiple of 16 from 16 to 256.");
        faults.Range(attention.Tokens, 1, 2048, field + "tokens");
        faults.Range(attention.IndexerHeads, 1, 128, field + "indexerHeads");
        faults.Range(attention.IndexerDim, 1, 1024, field + "indexerDim");
        faults.Range(attention.Gate, 1, 256, field + "gate");
        faults.Range(attention.Warmup, 0, 0.9, field + "warmup");
        faults.Require(attention.Kind == AttentionKind.TokenSparse || attention.Gate is not null || attention.Warmup is null, field + "warmup",
            "Only what learns to choose warms up: the kind tokenSparse, or blockSparse with a gate; leave it out.");
        var indexer = (attention.IndexerHeads ?? 1) * (long)(attention.IndexerDim ?? 1);
        faults.Require(attention.Kind != AttentionKind.TokenSparse || indexer * IndexerShare <= width, field + "indexerDim",
            $"An indexer may have at most 1/{IndexerShare} of the width, {width / IndexerShare} elements in all its heads; this one has {indexer}.");
    }

    private static void ValidateLanguage(RunSpec spec, IReadOnlyList<int>? featureShape, Faults faults)
    {
        if (spec.Model.Context is { } context && featureShape is [var length] && context != length)
        {
            faults.Require(false, "model.context", $"The dataset's rows have {length} tokens: leave it out, or prepare the dataset with text.context {context}.");
        }
        if (spec.EarlyStopping is { } early)
        {
            faults.Require(early.Metric is MetricName.Loss or MetricName.Perplexity or MetricName.BitsPerByte or MetricName.Accuracy, "earlyStopping.metric",
                "Choose loss, perplexity, bitsPerByte or accuracy.");
        }
    }
}
