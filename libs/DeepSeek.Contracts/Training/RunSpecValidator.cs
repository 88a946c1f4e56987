using System.Text.RegularExpressions;

namespace DeepSeek.Contracts.Training;

/// <summary>Checks run specs; the API that accepts them and the trainer that runs them share it.</summary>
public static partial class RunSpecValidator
{
    /// <summary>Faults of the spec by itself, keyed by field path (<c>optimizer.learningRate</c>); empty when it is valid.</summary>
    public static IReadOnlyDictionary<string, string[]> Validate(RunSpec spec)
    {
        var faults = new Faults();
        faults.Require(spec.SpecVersion == RunSpec.CurrentVersion, "specVersion", $"Only version {RunSpec.CurrentVersion} is known.");
        faults.Require(!string.IsNullOrWhiteSpace(spec.Name) && spec.Name.Length <= 100, "name", "Give a name of 1 to 100 characters.");
        faults.Require(spec.ModelName is not null && ModelNamePattern().IsMatch(spec.ModelName), "modelName",
            "Use 1 to 63 lower-case letters, digits, dots and hyphens, starting and ending with a letter or digit.");
        faults.Require(spec.DatasetId != Guid.Empty, "datasetId", "Give the id of a prepared dataset.");
        faults.Range(spec.Epochs, 1, 10_000, "epochs");
        faults.Range(spec.BatchSize, 2, 65_536, "batchSize");
        faults.Range(spec.GradientAccumulation, 1, 1024, "gradientAccumulation");
        faults.Range(spec.GradientClip, 0, 1e6, "gradientClip");
        faults.Below(spec.LabelSmoothing, 0, 1, "labelSmoothing");
        faults.Range(spec.CheckpointEvery, 1, 1_000_000, "checkpointEvery");
        faults.Range(spec.Priority, 0, 100, "priority");
        ValidateCompute(spec, faults);
        if (spec.Trace is { } trace)
        {
            faults.Range(trace.Steps, 1, 1000, "trace.steps");
            faults.Range(trace.After, 0, 1_000_000, "trace.after");
        }
        faults.Require(spec.Precision != RunPrecision.Bf16Weights || spec.Model is null || spec.Model.Family == ModelFamily.Gpt, "precision",
            "bf16Weights is for gpt; choose bf16 for this family.");
        faults.Require(spec.Precision != RunPrecision.Bf16Weights || spec.Optimizer?.Name != OptimizerName.Adaptive, "precision",
            "The adaptive optimiser keeps no float32 masters of bfloat16 weights; choose bf16, or adamW.");
        ValidateModel(spec.Model, faults);
        faults.Require(spec.Model?.Family != ModelFamily.ConvNet || spec.Checkpointing is null || spec.Checkpointing == Checkpointing.Off, "checkpointing",
            "A convNet has no blocks that could be computed again; leave it out, or choose resNet18, resNet50 or efficientNetB0.");
        faults.Require(spec.Model?.Attention is not ({ Kind: AttentionKind.TokenSparse } or { Gate: not null }) || spec.Checkpointing is null || spec.Checkpointing == Checkpointing.Off, "checkpointing",
            "What indexers and gates learn from cannot be computed again; leave it out, or choose blockSparse attention without a gate.");
        ValidateOptimizer(spec.Optimizer, faults);
        if (faults.Present(spec.Schedule, "schedule"))
        {
            faults.Defined(spec.Schedule.Name, "schedule.name");
            faults.Range(spec.Schedule.Warmup, 0, 0.9, "schedule.warmup");
            faults.Require(spec.Optimizer?.Name != OptimizerName.Adaptive || spec.Schedule == new ScheduleSpec(), "schedule", "The adaptive optimiser chooses its own course; leave the schedule out.");
        }
        if (spec.EarlyStopping is { } early)
        {
            faults.Range(early.Patience, 1, 10_000, "earlyStopping.patience");
            faults.Defined(early.Metric, "earlyStopping.metric");
        }
        if (faults.Present(spec.ClassWeights, "classWeights") && spec.ClassWeights.Values is { } weights)
        {
            foreach (var (name, weight) in weights)
            {
                faults.Require(double.IsFinite(weight) && weight > 0 && weight <= 1e6, $"classWeights.{name}", "Give a weight above 0, at most 1000000.");
            }
        }
        return faults.ByField();
    }

    /// <summary>Faults of the spec for a dataset of this kind (tabular, image or text), task, classes and shape of a row.</summary>
    public static IReadOnlyDictionary<string, string[]> ValidateAgainst(RunSpec spec, string datasetKind, string task, IReadOnlyCollection<string>? classes, IReadOnlyList<int>? featureShape = null)
    {
        var faults = new Faults();
        var classification = task == "classification";
        var learns = spec.Model.Family switch { ModelFamily.TabularMlp => "tabular", ModelFamily.Gpt => "text", _ => "image" };
        faults.Require(learns == datasetKind, "model.family",
            $"The dataset holds {datasetKind} data: choose {datasetKind switch { "image" => "convNet, resNet18, resNet50 or efficientNetB0", "text" => "gpt", _ => "tabularMlp" }}.");
        faults.Require(learns != "image" || classification || datasetKind != "image", "model.family", "Image families learn classes; the dataset's task is regression.");
        faults.Require(classification || spec.LabelSmoothing == 0, "labelSmoothing", "Only classification has labels to smooth; leave it out.");
        faults.Require(classification || spec.ClassWeights == ClassWeights.None, "classWeights", "Only classification has classes; leave it out.");
        foreach (var name in spec.ClassWeights.Values?.Keys ?? [])
        {
            faults.Require(classes?.Contains(name) ?? false, $"classWeights.{name}", $"The dataset has no such class; it has {string.Join(", ", classes ?? [])}.");
        }
        if (datasetKind == "text")
        {
            ValidateLanguage(spec, featureShape, faults);
        }
        else if (spec.EarlyStopping is { Metric: not MetricName.Loss } early)
        {
            faults.Require(early.Metric is not (MetricName.Perplexity or MetricName.BitsPerByte), "earlyStopping.metric", "Only text has one; choose loss or another metric of the task.");
            var forClasses = early.Metric is MetricName.Accuracy or MetricName.Auc or MetricName.LogLoss;
            faults.Require(forClasses == classification, "earlyStopping.metric",
                classification ? "Choose loss, accuracy, auc or logLoss." : "Choose loss, rmse, mae or r2.");
        }
        return faults.ByField();
    }

    private static void ValidateCompute(RunSpec spec, Faults faults)
    {
        if (faults.Present(spec.Device, "device"))
        {
            faults.Require(DevicePattern().IsMatch(spec.Device), "device", "Write auto, cpu, cuda or cuda:0, cuda:1 and so on.");
            faults.Require(spec.Device != "cpu" || spec.Precision != RunPrecision.Fp16, "precision", "fp16 needs a GPU; choose bf16, fp32 or auto for the CPU.");
            faults.Require(spec.Device != "cpu" || spec.Capture != CaptureChoice.On, "capture", "Only steps on a GPU can be captured; choose auto or off for the CPU.");
        }
        faults.Defined(spec.Precision, "precision");
        faults.Defined(spec.Capture, "capture");
        if (faults.Present(spec.Checkpointing, "checkpointing"))
        {
            faults.Require(spec.Checkpointing.Mebibytes is null or (>= 1 and <= 1 << 24), "checkpointing", "Give off, on or 1 to 16777216 MiB.");
        }
        faults.Require(spec.Capture != CaptureChoice.On || spec.GradientAccumulation == 1, "capture",
            "A captured step is one forward pass: choose auto or off, or a gradientAccumulation of 1.");
        var published = spec.Model?.Family is ModelFamily.ResNet18 or ModelFamily.ResNet50 or ModelFamily.EfficientNetB0;
        faults.Require(!published || spec.Precision != RunPrecision.Adaptive, "precision",
            "adaptive moves linear layers between number formats, and this family has none but its head: choose bf16, fp16, fp32 or auto.");
    }

    private static void ValidateModel(ModelSpec? model, Faults faults)
    {
        if (!faults.Present(model, "model") || !faults.Defined(model!.Family, "model.family"))
        {
            return;
        }
        var tabular = model.Family == ModelFamily.TabularMlp;
        const string otherFamily = "The chosen family has no such setting; leave it out.";
        faults.Require(tabular || model.Blocks is null, "model.blocks", otherFamily);
        faults.Require(tabular || model.Expansion is null, "model.expansion", otherFamily);
        faults.Require(tabular || model.Normalization is null, "model.normalization", otherFamily);
        var published = model.Family is ModelFamily.ResNet18 or ModelFamily.ResNet50 or ModelFamily.EfficientNetB0;
        faults.Require(!published || model.Width is null, "model.width", otherFamily);
        faults.Require(!published || model.Activation is null, "model.activation", otherFamily);
        faults.Require(model.Family is not (ModelFamily.ResNet18 or ModelFamily.ResNet50) || model.Dropout is null, "model.dropout", otherFamily);
        faults.Require(model.Family == ModelFamily.ConvNet || model.Channels is null, "model.channels", otherFamily);
        faults.Require(!(tabular || model.Family == ModelFamily.Gpt) || model.Augment is null, "model.augment", otherFamily);
        faults.Range(model.Width, 1, 8192, "model.width");
        faults.Range(model.Blocks, 0, 64, "model.blocks");
        faults.Range(model.Expansion, 0.25, 8, "model.expansion");
        faults.Below(model.Dropout, 0, 1, "model.dropout");
        ValidateGpt(model, faults);
        if (model.Normalization is { } normalization) { faults.Defined(normalization, "model.normalization"); }
        if (model.Activation is { } activation) { faults.Defined(activation, "model.activation"); }
        if (model.Channels is { } channels)
        {
            faults.Require(channels.Count is >= 1 and <= 6 && channels.All(c => c is >= 1 and <= 1024), "model.channels", "Give 1 to 6 stages of 1 to 1024 channels.");
        }
    }

    private static void ValidateOptimizer(OptimizerSpec? optimizer, Faults faults)
    {
        if (!faults.Present(optimizer, "optimizer") || !faults.Defined(optimizer!.Name, "optimizer.name"))
        {
            return;
        }
        var sgd = optimizer.Name == OptimizerName.Sgd;
        faults.Require(optimizer.LearningRate is > 0 and <= 10, "optimizer.learningRate", "Give a rate above 0, at most 10.");
        faults.Range(optimizer.WeightDecay, 0, 10, "optimizer.weightDecay");
        faults.Require(sgd || optimizer.Momentum is null, "optimizer.momentum", "Only sgd has momentum; leave it out.");
        faults.Require(sgd || optimizer.Nesterov is null, "optimizer.nesterov", "Only sgd has such a form; leave it out.");
        faults.Require(!sgd || optimizer.Betas is null, "optimizer.betas", "sgd has momentum instead; leave it out.");
        faults.Require(!sgd || optimizer.Epsilon is null, "optimizer.epsilon", "sgd has no such constant; leave it out.");
        var adaptive = optimizer.Name == OptimizerName.Adaptive;
        faults.Require(!adaptive || (optimizer.Betas is null && optimizer.Epsilon is null), "optimizer.betas", "adaptive sets betas and epsilon itself; leave them out.");
        faults.Require(adaptive || optimizer.DecayRate is null, "optimizer.decayRate", "Only adaptive has one; leave it out.");
        faults.Require(adaptive || optimizer.DynamicThreshold is null, "optimizer.dynamicThreshold", "Only adaptive has one; leave it out.");
        faults.Require(optimizer.DecayRate is null or (> 0 and < 1), "optimizer.decayRate", "Give a number above 0, below 1.");
        faults.Range(optimizer.DynamicThreshold, 0, 10, "optimizer.dynamicThreshold");
        faults.Below(optimizer.Momentum, 0, 1, "optimizer.momentum");
        faults.Require(optimizer.Nesterov != true || (optimizer.Momentum ?? 0.9) > 0, "optimizer.nesterov", "Nesterov's form needs a momentum above 0.");
        faults.Require(optimizer.Betas is null || (optimizer.Betas.Count == 2 && optimizer.Betas.All(b => b is >= 0 and < 1)), "optimizer.betas", "Give two numbers, each 0 to below 1.");
        faults.Require(optimizer.Epsilon is null or (> 0 and <= 1), "optimizer.epsilon", "Give a number above 0, at most 1.");
    }

    [GeneratedRegex("^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?\\z")]
    private static partial Regex ModelNamePattern();

    [GeneratedRegex("^(auto|cpu|cuda(:[0-9]{1,2})?)\\z")]
    private static partial Regex DevicePattern();

    private sealed class Faults
    {
        private readonly Dictionary<string, List<string>> _faults = new(StringComparer.Ordinal);

        public void Require(bool holds, string field, string remedy)
        {
            if (!holds)
            {
                if (!_faults.TryGetValue(field, out var list)) { _faults[field] = list = []; }
                list.Add(remedy);
            }
        }

        public bool Present(object? value, string field)
        {
            Require(value is not null, field, "This must not be null; leave it out for its default.");
            return value is not null;
        }

        public bool Defined<T>(T value, string field) where T : struct, Enum
        {
            Require(Enum.IsDefined(value), field, "This is no known name.");
            return Enum.IsDefined(value);
        }

        public void Range(double? value, double least, double most, string field) =>
            Require(value is null || (value >= least && value <= most), field, FormattableString.Invariant($"Give a number from {least} to {most}."));

        public void Below(double? value, double least, double bound, string field) =>
            Require(value is null || (value >= least && value < bound), field, FormattableString.Invariant($"Give a number from {least} to below {bound}."));

        public IReadOnlyDictionary<string, string[]> ByField() => _faults.ToDictionary(f => f.Key, f => f.Value.ToArray());
    }
}
