using System.Globalization;
using System.Text.Json;
using DeepSeek.Contracts.Training;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>How a run computes, as its record keeps it.</summary>
/// <param name="Device">cpu or cuda:0.</param>
/// <param name="DeviceName">Product.</param>
/// <param name="Precision">fp32, bf16, fp16, adaptive or bf16Weights.</param>
/// <param name="Captured">Whether steps are replayed from a recording.</param>
/// <param name="Recomputed">Segments whose activations are computed again.</param>
/// <param name="Reasons">Why, sentence by sentence.</param>
internal sealed record ComputeRecord(string Device, string DeviceName, string Precision, bool Captured, IReadOnlyList<string> Recomputed, IReadOnlyList<string> Reasons);

/// <summary>
/// Where and how a run computes: a function of the machine, the spec and, where that says "auto", of the precision the run began in. Whatever a setting "auto" was decided to be has its
/// reason, and what the spec asks for but the machine cannot do is refused, never replaced.
/// </summary>
/// <param name="Device">Where.</param>
/// <param name="DeviceName">Product.</param>
/// <param name="Precision">Never auto.</param>
/// <param name="Capture">Whether steps shall be captured.</param>
/// <param name="Reasons">A sentence for each decision.</param>
/// <param name="Warnings">What the user may not expect, such as a GPU left idle.</param>
internal sealed record ComputePlan(
    Device Device, string DeviceName, RunPrecision Precision, bool Capture, IReadOnlyList<string> Reasons, IReadOnlyList<string> Warnings)
{
    private const int BFloat16Since = 8;

    /// <summary>Steps from which on trying out products' algorithms, some hundredths of a second a shape, comes back.</summary>
    internal const int TunedSteps = 500;

    /// <param name="spec">What is asked for.</param>
    /// <param name="machine">What there is.</param>
    /// <param name="begun">The precision of the checkpoint that the run goes on from, perhaps of another machine; none: it starts.</param>
    /// <exception cref="BadInputException">The machine cannot do what the spec or the checkpoint asks for.</exception>
    internal static ComputePlan Decide(RunSpec spec, Machine machine, RunPrecision? begun = null)
    {
        var reasons = new List<string>();
        var warnings = new List<string>();
        var gpu = ChooseGpu(spec, machine, reasons, warnings);
        var precision = ChoosePrecision(spec, gpu, begun, reasons);
        var capture = ChooseCapture(spec, gpu, reasons);
        return new ComputePlan(gpu is null ? Device.Cpu : Device.Cuda(gpu.Index), gpu?.Name ?? machine.Processor, precision, capture, reasons, warnings)
        {
            HalfWeights = precision == RunPrecision.Bf16Weights || (precision == RunPrecision.Adaptive && MayRound(spec)),
        };
    }

    // A gpt is faster so; the adaptive optimiser keeps no masters.
    private static bool MayRound(RunSpec spec) => spec.Model.Family == ModelFamily.Gpt && spec.Optimizer.Name != OptimizerName.Adaptive;

    /// <summary>What the run's record says of it.</summary>
    internal ComputeRecord Record(bool captured, IReadOnlyList<string> recomputed, IEnumerable<string> more) =>
        new(Device.ToString(), DeviceName, Name(Precision), captured, recomputed, [.. Reasons, .. more]);

    /// <summary>Whether the net's own weights are bfloat16, with float32 masters in the optimiser.</summary>
    internal bool HalfWeights { get; init; }

    /// <summary>Element type of autocast, or null for float32.</summary>
    internal Dtype? Autocast => Precision switch
    {
        RunPrecision.Bf16 => Dtype.BFloat16,
        RunPrecision.Adaptive when !HalfWeights => Dtype.BFloat16,
        RunPrecision.Fp16 => Dtype.Float16,
        _ => null,
    };

    private static TrainerGpu? ChooseGpu(RunSpec spec, Machine machine, List<string> reasons, List<string> warnings)
    {
        if (spec.Device == "cpu")
        {
            reasons.Add("On the CPU, as the spec asks.");
            return null;
        }
        if (spec.Device == "auto")
        {
            // The free memory tells which one another run holds already.
            var best = machine.Gpus.OrderByDescending(g => g.FreeMemory).ThenBy(g => g.Index).FirstOrDefault();
            if (best is not null)
            {
                reasons.Add(machine.Gpus.Count == 1 ? "On the GPU, because the machine has one." : $"On cuda:{best.Index}, which has the most free memory of {machine.Gpus.Count} GPUs.");
                return best;
            }
            reasons.Add("On the CPU, because libtorch sees no GPU.");
            warnings.AddRange(machine.Idle.Select(d => $"{d.Name} ({d.Id}) is not used: {(d.Usable ? "this native library is built without CUDA" : d.Runs)}."));
            return null;
        }
        var index = Device.Parse(spec.Device).Index;
        var found = machine.Gpus.FirstOrDefault(g => g.Index == index) ?? throw new BadInputException("device", machine.Gpus.Count == 0
            ? $"{spec.Device} is not there: libtorch sees no GPU on this machine. Choose auto or cpu."
            : string.Create(CultureInfo.InvariantCulture, $"{spec.Device} is not there: this machine has cuda:0{(machine.Gpus.Count > 1 ? $" to cuda:{machine.Gpus.Count - 1}" : "")}. Choose one of them, or auto."));
        reasons.Add($"On cuda:{index}, as the spec asks.");
        return found;
    }

    private static RunPrecision ChoosePrecision(RunSpec spec, TrainerGpu? gpu, RunPrecision? begun, List<string> reasons)
    {
        var hasBFloat16 = gpu is null || gpu.Capability.Major >= BFloat16Since;
        switch (spec.Precision)
        {
            case RunPrecision.Fp16 when gpu is null:
                throw new BadInputException("precision", "fp16 needs a GPU, and the run is on the CPU. Choose bf16, fp32 or auto.");
            case RunPrecision.Bf16 or RunPrecision.Bf16Weights or RunPrecision.Adaptive when !hasBFloat16:
                throw new BadInputException("precision", $"{gpu!.Name} (compute capability {gpu.Capability}) has no bf16, which came with {BFloat16Since}.0. Choose fp16, fp32 or auto.");
            case RunPrecision.Adaptive:
                reasons.Add($"Layers move between FP8, bf16 and fp32, as the spec asks{(MayRound(spec) ? "; weights are bf16 with fp32 masters" : "")}.");
                return spec.Precision;
            case RunPrecision.Bf16Weights:
                reasons.Add("bf16 weights with fp32 masters, as the spec asks.");
                return spec.Precision;
            case not RunPrecision.Auto:
                reasons.Add($"{Name(spec.Precision)}, as the spec asks.");
                return spec.Precision;
        }
        // Rounded weights and their masters are another state than float32 weights: a run keeps to what it began with.
        if (begun == RunPrecision.Bf16Weights)
        {
            reasons.Add(hasBFloat16
                ? "bf16 weights with fp32 masters, because the run began so."
                : throw new BadInputException("precision", $"The run began with bf16 weights, and {gpu!.Name} (compute capability {gpu.Capability}) has no bf16: let it go on on a CPU or a GPU of compute capability {BFloat16Since}.0."));
            return RunPrecision.Bf16Weights;
        }
        if (gpu is null)
        {
            reasons.Add("fp32, because half precision gains nothing on most CPUs.");
            return RunPrecision.Fp32;
        }
        if (hasBFloat16 && begun is null && WantsHalfWeights(spec))
        {
            reasons.Add($"bf16 weights with fp32 masters, because compute capability {gpu.Capability} has bf16 and a gpt's fused layers take biases, GELU and attention along then.");
            return RunPrecision.Bf16Weights;
        }
        reasons.Add(hasBFloat16 ? $"bf16, because compute capability {gpu.Capability} has it." : $"fp16 with a scaled loss, because compute capability {gpu.Capability} has no bf16.");
        return hasBFloat16 ? RunPrecision.Bf16 : RunPrecision.Fp16;
    }

    private static bool ChooseCapture(RunSpec spec, TrainerGpu? gpu, List<string> reasons)
    {
        string? hindrance = null;
        if (gpu is null)
        {
            hindrance = "on the CPU there is nothing to record";
        }
        else if (spec.GradientAccumulation > 1)
        {
            hindrance = "gradientAccumulation joins several forward passes to a step";
        }
        else if (spec.Checkpointing != Checkpointing.Off && Draws(spec.Model))
        {
            hindrance = "checkpointing sets the random generator back for the second forward pass, which a recording cannot hold; a model without dropout can be captured";
        }
        switch (spec.Capture)
        {
            case CaptureChoice.On when hindrance is not null:
                throw new BadInputException("capture", $"Steps cannot be captured: {hindrance}. Choose auto or off.");
            case CaptureChoice.Off:
                reasons.Add("Steps are not captured, as the spec asks.");
                return false;
            default:
                reasons.Add(hindrance is null ? "Steps of full batches are captured and replayed." : $"Steps are not captured: {hindrance}.");
                return hindrance is null;
        }
    }

    // Where fused layers want weights of the products' type; the adaptive optimiser has no masters that could be kept.
    private static bool WantsHalfWeights(RunSpec spec) => spec.Model.Family == ModelFamily.Gpt && (spec.Model.Attention?.Kind ?? AttentionKind.Dense) == AttentionKind.Dense
        && spec.Optimizer.Name != OptimizerName.Adaptive;

    // Families without random numbers in their forward pass, and those whose dropout is set to none.
    private static bool Draws(ModelSpec model) => model.Family is not (ModelFamily.ResNet18 or ModelFamily.ResNet50)
        && (model.Family switch { ModelFamily.EfficientNetB0 => true, ModelFamily.Gpt => model.Dropout > 0, _ => model.Dropout != 0 });

    internal static string Name(RunPrecision precision) => JsonNamingPolicy.CamelCase.ConvertName(precision.ToString());
}
