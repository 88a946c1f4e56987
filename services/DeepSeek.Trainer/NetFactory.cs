using DeepSeek.Contracts.Training;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Models;

namespace DeepSeek.Trainer;

/// <summary>Makes the net and the optimiser that a spec asks for.</summary>
internal static class NetFactory
{
    internal static Module Create(TrainingPlan plan) => plan.Spec.Model.Family switch
    {
        ModelFamily.TabularMlp => Tabular(plan),
        ModelFamily.ConvNet => Convolutional(plan),
        ModelFamily.EfficientNetB0 => new EfficientNet(EfficientConfig(plan)),
        ModelFamily.Gpt => new Gpt(LanguageNet.Config(plan)),
        _ => new ResNet(ResidualConfig(plan)),
    };

    internal static Optimizer CreateOptimizer(Module net, OptimizerSpec spec) => spec.Name switch
    {
        OptimizerName.AdamW => new AdamW(net, spec.WeightDecay, spec.Betas?[0] ?? 0.9, spec.Betas?[1] ?? 0.999, spec.Epsilon ?? 1e-8),
        OptimizerName.Adaptive => new AdaptiveOptimizer(net, AdaptiveOptions(spec)),
        _ => new Sgd(net, spec.WeightDecay, spec.Momentum ?? 0.9, spec.Nesterov ?? false),
    };

    private static AdaptiveOptions AdaptiveOptions(OptimizerSpec spec)
    {
        var options = new AdaptiveOptions { InitialLearningRate = spec.LearningRate, WeightDecay = spec.WeightDecay };
        return options with { DecayRate = spec.DecayRate ?? options.DecayRate, DynamicThreshold = spec.DynamicThreshold ?? options.DynamicThreshold };
    }

    internal static double Rate(RunSpec spec, long step, long total) => spec.Schedule.Name switch
    {
        ScheduleName.Constant => LearningRate.Constant(spec.Optimizer.LearningRate, step, total, spec.Schedule.Warmup),
        ScheduleName.Cosine => LearningRate.Cosine(spec.Optimizer.LearningRate, step, total, spec.Schedule.Warmup),
        _ => LearningRate.OneCycle(spec.Optimizer.LearningRate, step, total, spec.Schedule.Warmup),
    };

    /// <summary>The architecture with all defaults filled in, as model.json records it.</summary>
    internal static object Architecture(TrainingPlan plan) => plan.Spec.Model.Family switch
    {
        ModelFamily.TabularMlp => TabularConfig(plan),
        ModelFamily.ConvNet => ConvolutionalConfig(plan),
        ModelFamily.EfficientNetB0 => EfficientConfig(plan),
        ModelFamily.Gpt => LanguageNet.Config(plan),
        _ => ResidualConfig(plan),
    };

    /// <summary>Multiplications of one batch's forward pass.</summary>
    internal static double TabularMultiplications(TrainingPlan plan)
    {
        var config = TabularConfig(plan);
        return plan.Spec.BatchSize * (double)config.Width * (config.Inputs + config.Outputs + 2.0 * config.Blocks * config.Width * config.Expansion);
    }

    private static TabularMlp Tabular(TrainingPlan plan) => new(TabularConfig(plan));

    private static TabularMlpConfig TabularConfig(TrainingPlan plan)
    {
        var model = plan.Spec.Model;
        var config = new TabularMlpConfig { Inputs = plan.Dataset.FeatureShape[0], Outputs = plan.Outputs };
        return config with
        {
            Width = model.Width ?? config.Width,
            Blocks = model.Blocks ?? config.Blocks,
            Expansion = model.Expansion ?? config.Expansion,
            Dropout = model.Dropout ?? config.Dropout,
            Normalization = (NormKind)(model.Normalization ?? Normalization.Batch),
            Activation = (ActivationKind)(model.Activation ?? ActivationName.Relu),
        };
    }

    private static ResNetConfig ResidualConfig(TrainingPlan plan) =>
        (plan.Spec.Model.Family == ModelFamily.ResNet18 ? ResNetConfig.ResNet18 : ResNetConfig.ResNet50) with { Inputs = plan.Dataset.FeatureShape[0], Outputs = plan.Outputs };

    private static EfficientNetConfig EfficientConfig(TrainingPlan plan)
    {
        var config = new EfficientNetConfig { Inputs = plan.Dataset.FeatureShape[0], Outputs = plan.Outputs };
        return config with { Dropout = plan.Spec.Model.Dropout ?? config.Dropout };
    }

    private static ConvNet Convolutional(TrainingPlan plan)
    {
        try
        {
            return new ConvNet(ConvolutionalConfig(plan));
        }
        catch (ArgumentException fault)
        {
            throw new BadInputException("model.channels", fault.Message);
        }
    }

    private static ConvNetConfig ConvolutionalConfig(TrainingPlan plan)
    {
        var model = plan.Spec.Model;
        var shape = plan.Dataset.FeatureShape;
        var config = new ConvNetConfig { Inputs = shape[0], Height = shape[1], Width = shape[2], Outputs = plan.Outputs };
        return config with
        {
            Channels = model.Channels ?? config.Channels,
            Hidden = model.Width ?? config.Hidden,
            Dropout = model.Dropout ?? config.Dropout,
            Activation = (ActivationKind)(model.Activation ?? ActivationName.Relu),
        };
    }
}
