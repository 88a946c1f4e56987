using DeepSeek.Contracts.Training;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>Explains a step that ran out of memory, when its tensors are freed.</summary>
internal sealed class MemoryAdvice(TrainingPlan plan, ComputePlan compute, Module net, Optimizer optimizer, Objective objective)
{
    /// <summary>What to end the run with: bad input where the batch cannot fit, the fault itself where another process held the memory.</summary>
    internal Exception Explain(NativeException fault)
    {
        optimizer.ClearGradients();
        if (compute.Device.IsCuda)
        {
            CudaDevice.EmptyCache();
        }
        try
        {
            var rows = (int)Math.Min(plan.Spec.BatchSize, plan.Train.Rows);
            Func<int, Tensor>? half = compute.Precision == RunPrecision.Fp32 ? few => Loss(few, Dtype.BFloat16) : null;
            var forecast = MemoryForecast.Measure(net, optimizer, few => Loss(few, compute.Autocast), half, rows, Free());
            var text = $"{forecast.Describe()} ({fault.Message})";
            return forecast.Fits ? new NativeException(NativeStatus.OutOfMemory, text) : new BadInputException("batchSize", text);
        }
        catch (NativeException again) when (again.Status == NativeStatus.OutOfMemory)
        {
            var lasting = MemoryHoldings.Lasting(net, optimizer);
            return new BadInputException("model", $"The model's parameters ({lasting.Total(HoldingKind.Parameters)} bytes) and the optimizer's state ({lasting.Total(HoldingKind.OptimizerState)} bytes) leave no room for a step over a few rows: choose a smaller model. ({again.Message})");
        }
    }

    // A trainer without a limit (it could not be found out) cannot run out of it; the kernel's word is all there is then.
    private long Free()
    {
        var held = AllocatorMemory.Of(compute.Device).Current;
        return compute.Device.IsCuda
            ? CudaDevice.Info(compute.Device.Index).FreeMemory + CudaDevice.Memory(compute.Device.Index).Reserved - held
            : Math.Max(0, HostLimit - held);
    }

    /// <summary>The limit that was set on the host's tensors.</summary>
    internal static long HostLimit { get; private set; }

    /// <summary>Sets the limit that makes the CPU's lack of memory a fault that can be told of.</summary>
    internal static void Limit(long bytes)
    {
        HostLimit = bytes;
        AllocatorMemory.LimitHost(bytes);
    }

    // Zeros of the right shapes: memory does not depend on values.
    private Tensor Loss(int rows, Dtype? dtype)
    {
        long[] shape = [rows, .. plan.Train.FeatureShape];
        using var features = TensorHandle.Zeros(plan.Dataset.IsText ? Dtype.Int64 : Dtype.Float32, shape);
        using var target = TensorHandle.Zeros(plan.Train.TargetType, rows);
        var (x, y) = (features.Tensor.To(compute.Device), target.Tensor.To(compute.Device));
        return objective.Loss(net, x, y, compute.Device.Type, dtype);
    }
}
