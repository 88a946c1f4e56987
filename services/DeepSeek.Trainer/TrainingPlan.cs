using System.Security.Cryptography;
using DeepSeek.Contracts.Training;
using DeepSeek.Data;
using DeepSeek.Engine.Data;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Trainer;

/// <summary>Everything a run depends on, read and checked.</summary>
internal sealed record TrainingPlan
{
    internal required RunSpec Spec { get; init; }
    internal required DatasetManifest Dataset { get; init; }
    internal required ModelProto Pipeline { get; init; }
    internal required ShardSet Train { get; init; }
    internal required ShardSet? Validation { get; init; }
    internal required ShardSet? Test { get; init; }
    internal required string SpecSha256 { get; init; }
    internal required string DatasetSha256 { get; init; }
    internal required string PipelineSha256 { get; init; }

    internal int BatchesPerEpoch => BatchLoader.BatchesPerEpoch(Train.Rows, Spec.BatchSize, LeastRows);
    internal int StepsPerEpoch => (BatchesPerEpoch + Spec.GradientAccumulation - 1) / Spec.GradientAccumulation;
    internal long TotalSteps => (long)StepsPerEpoch * Spec.Epochs;
    internal int Outputs => Dataset.Classes is { Count: > 0 and var classes } ? classes : 1;

    /// <summary>Batch normalisation cannot train on a single row.</summary>
    internal const int LeastRows = 2;

    internal static TrainingPlan Load(WorkFolder folder)
    {
        var specBytes = folder.Read(folder.Spec);
        var spec = RunSpecJson.Read(specBytes, out var faults) ?? throw new BadInputException(faults);
        var datasetBytes = folder.Read(folder.Dataset);
        var dataset = DatasetManifest.Parse(datasetBytes);
        Refuse(RunSpecValidator.ValidateAgainst(spec, dataset.Kind, dataset.Task, [.. dataset.Classes], dataset.FeatureShape));
        Check(dataset);
        var pipelineBytes = folder.Read(folder.Pipeline);
        var plan = new TrainingPlan
        {
            Spec = spec,
            Dataset = dataset,
            Pipeline = OnnxModels.Load(pipelineBytes),
            Train = Split(folder, dataset, "train") ?? throw new BadInputException("dataset", "The dataset has no train split."),
            Validation = Split(folder, dataset, "validation"),
            Test = Split(folder, dataset, "test"),
            SpecSha256 = Convert.ToHexStringLower(SHA256.HashData(specBytes)),
            DatasetSha256 = Convert.ToHexStringLower(SHA256.HashData(datasetBytes)),
            PipelineSha256 = Convert.ToHexStringLower(SHA256.HashData(pipelineBytes)),
        };
        if (plan.BatchesPerEpoch == 0)
        {
            throw new BadInputException("dataset", $"The train split has {plan.Train.Rows} rows; training needs at least {LeastRows}.");
        }
        if (spec.EarlyStopping is not null && plan.Validation is null)
        {
            throw new BadInputException("earlyStopping", "The dataset has no validation split to watch; leave early stopping out or prepare the dataset with one.");
        }
        return plan;
    }

    private static void Check(DatasetManifest dataset)
    {
        if (dataset.IsText && dataset.Classes.Count != ByteTokens.Vocabulary)
        {
            throw new BadInputException("dataset", $"The dataset has {dataset.Classes.Count} tokens; bytes and the separator are {ByteTokens.Vocabulary}. Prepare it again.");
        }
        if (dataset.IsClassification && dataset.Classes.Count < 2)
        {
            throw new BadInputException("dataset", "Classification needs at least two classes.");
        }
        if (dataset.FeatureShape.Count != (dataset.IsImage ? 3 : 1))
        {
            throw new BadInputException("dataset", $"Features of shape [{string.Join(", ", dataset.FeatureShape)}] are not {(dataset.IsImage ? "[C, H, W]" : dataset.IsText ? "[T]" : "[F]")}.");
        }
    }

    private static void Refuse(IReadOnlyDictionary<string, string[]> faults)
    {
        if (faults.Count > 0)
        {
            throw new BadInputException(faults);
        }
    }

    private static ShardSet? Split(WorkFolder folder, DatasetManifest dataset, string name) =>
        dataset.Splits.TryGetValue(name, out var split) && split.Rows > 0
            ? new ShardSet([.. split.Shards.Select(s => new ShardFile(folder.Shard(s.Sha256), s.Rows))], dataset.FeatureShape, dataset.Classes.Count,
                dataset.IsImage ? Dtype.UInt8 : dataset.IsText ? Dtype.Int16 : Dtype.Float32)
            : null;
}
