using System.Text.Json.Serialization;

namespace DeepSeek.Contracts.Training;

/// <summary>What a training run shall do: format <c>deepseek.run/1</c>. Every field but the first five has a default.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record RunSpec
{
    /// <summary>The only version of this format.</summary>
    public const int CurrentVersion = 1;

    /// <summary>Format version; 1.</summary>
    public required int SpecVersion { get; init; }

    /// <summary>Name of the run for people, 1 to 100 characters.</summary>
    public required string Name { get; init; }

    /// <summary>Name under which the registry files the model: lower-case letters, digits, dots and hyphens, at most 63.</summary>
    public required string ModelName { get; init; }

    /// <summary>The prepared dataset to learn from.</summary>
    public required Guid DatasetId { get; init; }

    /// <summary>Architecture and its sizes.</summary>
    public required ModelSpec Model { get; init; }

    /// <summary>How weights follow gradients.</summary>
    public OptimizerSpec Optimizer { get; init; } = new();

    /// <summary>How the learning rate moves over the run.</summary>
    public ScheduleSpec Schedule { get; init; } = new();

    /// <summary>Passes over the training split, 1 to 10000.</summary>
    public int Epochs { get; init; } = 30;

    /// <summary>Rows in one forward pass, 2 to 65536 (batch normalisation needs two).</summary>
    public int BatchSize { get; init; } = 64;

    /// <summary>Forward passes whose gradients are averaged into one optimiser step, 1 to 1024.</summary>
    public int GradientAccumulation { get; init; } = 1;

    /// <summary>Largest L2 norm of the whole gradient; 0 leaves gradients alone. Null: 1 for gpt, whose small nets stall at some rates without, else 0.</summary>
    public double? GradientClip { get; init; }

    /// <summary><see cref="GradientClip"/> with its default; the adaptive optimiser, which clips by itself, has none.</summary>
    [JsonIgnore]
    public double ClipNorm => GradientClip ?? (Model.Family == ModelFamily.Gpt && Optimizer.Name != OptimizerName.Adaptive ? 1 : 0);

    /// <summary>Ends the run when the validation split stops improving and restores the best weights; null trains all epochs.</summary>
    public EarlyStoppingSpec? EarlyStopping { get; init; }

    /// <summary>Weight of each class in the loss: "none", "balanced" or an object from class to weight.</summary>
    public ClassWeights ClassWeights { get; init; } = ClassWeights.None;

    /// <summary>Probability mass spread evenly over all classes in the targets, 0 to below 1.</summary>
    public double LabelSmoothing { get; init; }

    /// <summary>Where it computes: "auto" (the GPU with the most free memory, else the CPU), "cpu", "cuda" or "cuda:1".</summary>
    public string Device { get; init; } = "auto";

    /// <summary>Number format of the steps.</summary>
    public RunPrecision Precision { get; init; } = RunPrecision.Auto;

    /// <summary>Whether steps are recorded once and replayed, which only GPUs do.</summary>
    public CaptureChoice Capture { get; init; } = CaptureChoice.Auto;

    /// <summary>Less memory for more time: "off", "on" or the MiB that activations may take.</summary>
    public Checkpointing Checkpointing { get; init; } = Checkpointing.Off;

    /// <summary>Seed of initial weights, order of rows and dropout; equal seeds give equal weights bit for bit on one CPU model (on a GPU up to the order of sums).</summary>
    public long Seed { get; init; } = 1;

    /// <summary>Optimiser steps between checkpoints, 1 to 1000000.</summary>
    public int CheckpointEvery { get; init; } = 200;

    /// <summary>Priority of the job, 0 to 100; higher runs first.</summary>
    public int Priority { get; init; } = 50;

    /// <summary>Traces some steps of the run: where its time and memory go; null traces none.</summary>
    public TraceSpec? Trace { get; init; }
}

/// <summary>The model family and its sizes; a size left out takes the family's default, one of another family is refused.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ModelSpec
{
    /// <summary>Which architecture.</summary>
    public required ModelFamily Family { get; init; }

    /// <summary>tabularMlp, gpt: width of the residual stream, 1 to 8192 (128). convNet: width of the hidden layer before the classes (128).</summary>
    public int? Width { get; init; }

    /// <summary>gpt: blocks, 1 to 96 (4).</summary>
    public int? Layers { get; init; }

    /// <summary>gpt: attention heads, a divisor of the width (4).</summary>
    public int? Heads { get; init; }

    /// <summary>gpt: tokens it sees; those of the dataset's rows, which is the default.</summary>
    public int? Context { get; init; }

    /// <summary>gpt: what each token attends to (dense).</summary>
    public AttentionSpec? Attention { get; init; }

    /// <summary>tabularMlp: residual blocks, 0 to 64 (2).</summary>
    public int? Blocks { get; init; }

    /// <summary>tabularMlp: hidden width of a block as a multiple of <see cref="Width"/>, 0.25 to 8 (2).</summary>
    public double? Expansion { get; init; }

    /// <summary>tabularMlp: normalisation before each block (batch).</summary>
    public Normalization? Normalization { get; init; }

    /// <summary>convNet: output channels of each convolution stage, 1 to 6 stages of 1 to 1024 ([32, 64]).</summary>
    public IReadOnlyList<int>? Channels { get; init; }

    /// <summary>Image families: adds random shifts by up to two pixels while training (false).</summary>
    public bool? Augment { get; init; }

    /// <summary>Share of hidden values dropped while training, 0 to below 1 (0.1 tabularMlp, 0.25 convNet, 0.2 efficientNetB0, 0 gpt; resNets have none).</summary>
    public double? Dropout { get; init; }

    /// <summary>tabularMlp, convNet: non-linearity (relu).</summary>
    public ActivationName? Activation { get; init; }

    /// <summary>Default width of a gpt.</summary>
    public const int GptWidth = 128;

    /// <summary>Default heads of a gpt.</summary>
    public const int GptHeads = 4;
}

/// <summary>Optimiser and its constants.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record OptimizerSpec
{
    /// <summary>Which update rule.</summary>
    public OptimizerName Name { get; init; } = OptimizerName.AdamW;

    /// <summary>Peak learning rate, above 0 to 10; adaptive: the initial one.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Decay of weight matrices per step in units of the learning rate, 0 to 10; biases and normalisation are exempt.</summary>
    public double WeightDecay { get; init; } = 1e-2;

    /// <summary>sgd: momentum, 0 to below 1 (0.9).</summary>
    public double? Momentum { get; init; }

    /// <summary>sgd: Nesterov's form of momentum (false).</summary>
    public bool? Nesterov { get; init; }

    /// <summary>adamW: decay of the two moments, each 0 to below 1 ([0.9, 0.999]).</summary>
    public IReadOnlyList<double>? Betas { get; init; }

    /// <summary>adamW: added to the root of the second moment, above 0 (1e-8).</summary>
    public double? Epsilon { get; init; }

    /// <summary>adaptive: factor on the rate at a plateau or a divergence, above 0 to below 1 (0.5).</summary>
    public double? DecayRate { get; init; }

    /// <summary>adaptive: standard errors by which the loss must fall to count as falling, 0 to 10 (1).</summary>
    public double? DynamicThreshold { get; init; }
}

/// <summary>Course of the learning rate.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ScheduleSpec
{
    /// <summary>Shape of the course.</summary>
    public ScheduleName Name { get; init; } = ScheduleName.Cosine;

    /// <summary>Share of all steps over which the rate rises to its peak, 0 to 0.9 (oneCycle: 0 means its usual 0.3).</summary>
    public double Warmup { get; init; }
}

/// <summary>Which steps are traced.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record TraceSpec
{
    /// <summary>Optimiser steps traced, 1 to 1000 (20).</summary>
    public int Steps { get; init; } = 20;

    /// <summary>Optimiser steps of this process before the first traced one, 0 to 1000000 (10): the first ones choose algorithms and fill caches.</summary>
    public int After { get; init; } = 10;
}

/// <summary>When to stop early.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record EarlyStoppingSpec
{
    /// <summary>Epochs without improvement before the run ends, 1 to 10000.</summary>
    public required int Patience { get; init; }

    /// <summary>Validation metric watched.</summary>
    public MetricName Metric { get; init; } = MetricName.Loss;
}

/// <summary>Model families.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ModelFamily>))]
public enum ModelFamily
{
    /// <summary>Residual perceptron for tables.</summary>
    [JsonStringEnumMemberName("tabularMlp")] TabularMlp = 1,
    /// <summary>Convolutional net for images.</summary>
    [JsonStringEnumMemberName("convNet")] ConvNet = 2,
    /// <summary>Residual net of 18 layers for images, as published but for channels and classes.</summary>
    [JsonStringEnumMemberName("resNet18")] ResNet18 = 3,
    /// <summary>Residual net of 50 layers for images, likewise.</summary>
    [JsonStringEnumMemberName("resNet50")] ResNet50 = 4,
    /// <summary>EfficientNet-B0 for images, likewise.</summary>
    [JsonStringEnumMemberName("efficientNetB0")] EfficientNetB0 = 5,
    /// <summary>Decoder for text: predicts the next token.</summary>
    [JsonStringEnumMemberName("gpt")] Gpt = 6,
}

/// <summary>Normalisation layers.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<Normalization>))]
public enum Normalization
{
    /// <summary>None.</summary>
    [JsonStringEnumMemberName("none")] None = 1,
    /// <summary>Over the batch, per feature.</summary>
    [JsonStringEnumMemberName("batch")] Batch = 2,
    /// <summary>Over the features, per row.</summary>
    [JsonStringEnumMemberName("layer")] Layer = 3,
}

/// <summary>Non-linearities.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ActivationName>))]
public enum ActivationName
{
    /// <summary>max(0, x).</summary>
    [JsonStringEnumMemberName("relu")] Relu = 1,
    /// <summary>x·Φ(x).</summary>
    [JsonStringEnumMemberName("gelu")] Gelu = 2,
    /// <summary>x·σ(x).</summary>
    [JsonStringEnumMemberName("silu")] Silu = 3,
    /// <summary>Hyperbolic tangent.</summary>
    [JsonStringEnumMemberName("tanh")] Tanh = 4,
}

/// <summary>Optimisers.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<OptimizerName>))]
public enum OptimizerName
{
    /// <summary>Adam with decoupled weight decay.</summary>
    [JsonStringEnumMemberName("adamW")] AdamW = 1,
    /// <summary>Stochastic gradient descent with momentum.</summary>
    [JsonStringEnumMemberName("sgd")] Sgd = 2,
    /// <summary>Schedule-free AdamW whose rate, weight decay and dropout follow the losses.</summary>
    [JsonStringEnumMemberName("adaptive")] Adaptive = 3,
}

/// <summary>Learning-rate courses.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ScheduleName>))]
public enum ScheduleName
{
    /// <summary>Constant after warm-up.</summary>
    [JsonStringEnumMemberName("constant")] Constant = 1,
    /// <summary>Half a cosine down to zero after warm-up.</summary>
    [JsonStringEnumMemberName("cosine")] Cosine = 2,
    /// <summary>One cycle: from peak/25 up to the peak, then down to peak/250000, both by cosine.</summary>
    [JsonStringEnumMemberName("oneCycle")] OneCycle = 3,
}

/// <summary>Metrics of a split; loss, logLoss, rmse, mae, perplexity and bitsPerByte improve downwards, the others upwards.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<MetricName>))]
public enum MetricName
{
    /// <summary>The training loss, without dropout.</summary>
    [JsonStringEnumMemberName("loss")] Loss = 1,
    /// <summary>Share of rows (of tokens, for text) whose most probable class is right.</summary>
    [JsonStringEnumMemberName("accuracy")] Accuracy = 2,
    /// <summary>Area under the ROC curve, macro average of one class against the rest.</summary>
    [JsonStringEnumMemberName("auc")] Auc = 3,
    /// <summary>Mean negative log probability of the right class.</summary>
    [JsonStringEnumMemberName("logLoss")] LogLoss = 4,
    /// <summary>Root of the mean squared error.</summary>
    [JsonStringEnumMemberName("rmse")] Rmse = 5,
    /// <summary>Mean absolute error.</summary>
    [JsonStringEnumMemberName("mae")] Mae = 6,
    /// <summary>Share of variance explained.</summary>
    [JsonStringEnumMemberName("r2")] R2 = 7,
    /// <summary>Exponential of the mean loss of a token.</summary>
    [JsonStringEnumMemberName("perplexity")] Perplexity = 8,
    /// <summary>Bits that the text's bytes cost, separators included.</summary>
    [JsonStringEnumMemberName("bitsPerByte")] BitsPerByte = 9,
}
