using DeepSeek.Contracts.Training;
using DeepSeek.Devices;
using DeepSeek.Engine.Tensors;
using DeepSeek.Trainer;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>Decisions for machines that are described, as no test machine has them all.</summary>
public sealed class ComputePlanTests
{
    private static readonly ComputeDevice s_cpu = new() { Id = "cpu", Vendor = DeviceVendor.Host, Name = "Test CPU", Usable = true, Runs = "" };
    private static readonly ComputeDevice s_card = new() { Id = "cuda:0", Vendor = DeviceVendor.Nvidia, Name = "H100", Usable = true, Runs = "training" };
    private static readonly ComputeDevice s_ascend = new() { Id = "0000:c1:00.0", Vendor = DeviceVendor.Huawei, Name = "Ascend 910B", Usable = false, Runs = "nothing: the engine has no backend for this device" };
    private static readonly Machine s_plain = new([], [s_cpu]);
    private static readonly Machine s_hopper = new([new(0, "H100", new Version(9, 0), 40L << 30), new(1, "H100", new Version(9, 0), 79L << 30)], [s_cpu, s_card]);
    private static readonly Machine s_turing = new([new(0, "T4", new Version(7, 5), 15L << 30)], [s_cpu, s_card]);

    [Fact]
    public void Decide_NothingAsked_TakesTheFreeGpuInHalfPrecisionCaptured()
    {
        var plan = ComputePlan.Decide(Spec(), s_hopper);

        Assert.Equal((Device.Cuda(1), "H100", RunPrecision.Bf16, true), (plan.Device, plan.DeviceName, plan.Precision, plan.Capture));
        Assert.Equal(Dtype.BFloat16, plan.Autocast);
        Assert.Equal(3, plan.Reasons.Count);
        Assert.Contains("most free memory of 2", plan.Reasons[0], StringComparison.Ordinal);
        Assert.Empty(plan.Warnings);
    }

    [Theory]
    [InlineData(AttentionKind.Dense, OptimizerName.AdamW, RunPrecision.Auto, RunPrecision.Bf16Weights)]
    [InlineData(AttentionKind.Dense, OptimizerName.Sgd, RunPrecision.Auto, RunPrecision.Bf16Weights)]
    [InlineData(AttentionKind.Dense, OptimizerName.Adaptive, RunPrecision.Auto, RunPrecision.Bf16)]
    [InlineData(AttentionKind.Dense, OptimizerName.AdamW, RunPrecision.Bf16, RunPrecision.Bf16)]
    [InlineData(AttentionKind.TokenSparse, OptimizerName.AdamW, RunPrecision.Auto, RunPrecision.Bf16)]
    public void Decide_GptOnAGpu_TakesHalfWeightsWhereFusedLayersWantThem(AttentionKind attention, OptimizerName optimizer, RunPrecision asked, RunPrecision decided)
    {
        var spec = Spec();
        spec = spec with { Model = spec.Model with { Family = ModelFamily.Gpt, Attention = new AttentionSpec { Kind = attention, Warmup = 0 } }, Optimizer = spec.Optimizer with { Name = optimizer }, Precision = asked };

        Assert.Equal(decided, ComputePlan.Decide(spec, s_hopper).Precision);
        Assert.Equal(RunPrecision.Fp32, ComputePlan.Decide(spec with { Precision = RunPrecision.Auto }, s_plain).Precision);
    }

    [Theory]
    [InlineData(RunPrecision.Bf16Weights, true, RunPrecision.Bf16Weights)]
    [InlineData(RunPrecision.Bf16Weights, false, RunPrecision.Bf16Weights)]
    [InlineData(RunPrecision.Fp32, true, RunPrecision.Bf16)]
    [InlineData(RunPrecision.Bf16, true, RunPrecision.Bf16)]
    [InlineData(RunPrecision.Bf16, false, RunPrecision.Fp32)]
    public void Decide_GptThatGoesOnElsewhere_KeepsTheKindOfWeightsItBeganWith(RunPrecision begun, bool onAGpu, RunPrecision decided)
    {
        var plan = ComputePlan.Decide(Spec() with { Model = new ModelSpec { Family = ModelFamily.Gpt } }, onAGpu ? s_hopper : s_plain, begun);

        Assert.Equal(decided, plan.Precision);
        Assert.Equal(begun == RunPrecision.Bf16Weights, plan.HalfWeights);
    }

    [Fact]
    public void Decide_HalfWeightsOnAGpuBeforeBf16_IsRefusedWithTheRemedy()
    {
        var fault = Assert.Throws<BadInputException>(() => ComputePlan.Decide(Spec() with { Model = new ModelSpec { Family = ModelFamily.Gpt } }, s_turing, RunPrecision.Bf16Weights));

        Assert.Contains("let it go on on a CPU or a GPU of compute capability 8.0", fault.Errors["precision"].Single(), StringComparison.Ordinal);
    }

    [Fact]
    public void Decide_NoGpu_TakesTheCpuInFloat32()
    {
        var plan = ComputePlan.Decide(Spec(), s_plain);

        Assert.Equal((Device.Cpu, "Test CPU", RunPrecision.Fp32, false), (plan.Device, plan.DeviceName, plan.Precision, plan.Capture));
        Assert.Contains("nothing to record", plan.Reasons[2], StringComparison.Ordinal);
    }

    [Fact]
    public void Decide_GpuThatCannotBeUsed_WarnsOfIt()
    {
        var plan = ComputePlan.Decide(Spec(), new Machine([], [s_cpu, s_card, s_ascend]));

        Assert.Equal(Device.Cpu, plan.Device);
        Assert.Equal(2, plan.Warnings.Count);
        Assert.Contains("H100 (cuda:0) is not used: this native library is built without CUDA", plan.Warnings[0], StringComparison.Ordinal);
        Assert.Contains("no backend", plan.Warnings[1], StringComparison.Ordinal);
    }

    [Fact]
    public void Decide_AdaptivePrecision_RunsUnderBf16AutocastAndIsCaptured()
    {
        var plan = ComputePlan.Decide(Spec() with { Precision = RunPrecision.Adaptive }, s_hopper);

        Assert.Equal((RunPrecision.Adaptive, Dtype.BFloat16, true), (plan.Precision, plan.Autocast, plan.Capture));
        Assert.Contains("captured", plan.Reasons[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void Decide_GpuBeforeBf16_TakesFp16() => Assert.Equal(RunPrecision.Fp16, ComputePlan.Decide(Spec(), s_turing).Precision);

    [Fact]
    public void Decide_Asked_DoesAsAsked()
    {
        var plan = ComputePlan.Decide(Spec() with { Device = "cuda", Precision = RunPrecision.Fp32, Capture = CaptureChoice.Off }, s_hopper);
        Assert.Equal((Device.Cuda(0), RunPrecision.Fp32, false), (plan.Device, plan.Precision, plan.Capture));

        plan = ComputePlan.Decide(Spec() with { Device = "cpu", Precision = RunPrecision.Bf16 }, s_hopper);
        Assert.Equal((Device.Cpu, RunPrecision.Bf16), (plan.Device, plan.Precision));
    }

    [Fact]
    public void Decide_AccumulationOrCheckpointedDropout_IsNotCaptured()
    {
        var dropout = Spec() with { Checkpointing = Checkpointing.On };
        Assert.False(ComputePlan.Decide(Spec() with { GradientAccumulation = 2 }, s_hopper).Capture);
        Assert.False(ComputePlan.Decide(dropout, s_hopper).Capture);
        Assert.True(ComputePlan.Decide(dropout with { Model = dropout.Model with { Dropout = 0 } }, s_hopper).Capture);
        Assert.True(ComputePlan.Decide(dropout with { Model = new ModelSpec { Family = ModelFamily.ResNet18 } }, s_hopper).Capture);
        Assert.True(ComputePlan.Decide(Spec() with { Optimizer = new OptimizerSpec { Name = OptimizerName.Adaptive }, Capture = CaptureChoice.On }, s_hopper).Capture);
    }

    [Theory]
    [InlineData("cuda:2", "auto", "auto", "device", "cuda:0 to cuda:1")]
    [InlineData("cuda", "auto", "auto", "device", "libtorch sees no GPU")]
    [InlineData("auto", "fp16", "auto", "precision", "needs a GPU")]
    [InlineData("auto", "auto", "on", "capture", "nothing to record")]
    [InlineData("turing", "bf16", "auto", "precision", "no bf16")]
    [InlineData("turing", "adaptive", "auto", "precision", "no bf16")]
    public void Decide_WhatTheMachineCannotDo_IsRefusedByField(string device, string precision, string capture, string field, string words)
    {
        var machine = device switch { "cuda:2" => s_hopper, "turing" => s_turing, _ => s_plain };
        var spec = Spec() with
        {
            Device = device == "turing" ? "auto" : device,
            Precision = Enum.Parse<RunPrecision>(precision, ignoreCase: true),
            Capture = Enum.Parse<CaptureChoice>(capture, ignoreCase: true),
        };

        var fault = Assert.Throws<BadInputException>(() => ComputePlan.Decide(spec, machine));

        Assert.Contains(words, fault.Errors[field].Single(), StringComparison.Ordinal);
    }

    private static RunSpec Spec() => new()
    {
        SpecVersion = 1,
        Name = "n",
        ModelName = "m",
        DatasetId = Guid.NewGuid(),
        Model = new ModelSpec { Family = ModelFamily.TabularMlp },
    };
}
