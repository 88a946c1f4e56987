using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Cuda;

public sealed class CudaDeviceTests
{
    [Fact]
    public void Info_WithoutCuda_SaysThatTheBuildHasNone()
    {
        Assert.SkipWhen(EngineRuntime.CudaDevices > 0, "This machine has a GPU.");
        var fault = Assert.Throws<NativeException>(() => CudaDevice.Info());
        Assert.Contains(fault.Status, (NativeStatus[])[NativeStatus.NotFound, NativeStatus.InvalidArgument]);
        Assert.Equal(Device.Cpu, Device.Best);
    }

    [Fact]
    public void Info_OfTheFirstGpu_AgreesWithItself()
    {
        Gpu.Require();
        var info = CudaDevice.Info();
        Assert.NotEmpty(info.Name);
        Assert.InRange(info.Capability.Major, 5, 20);
        Assert.InRange(info.FreeMemory, 1, info.TotalMemory);
        Assert.Throws<NativeException>(() => CudaDevice.Info(99));
    }

    [Fact]
    public void Memory_OfATensor_IsCountedAndGivenBack()
    {
        var device = Gpu.Require();
        var before = CudaDevice.Memory();
        using (TensorHandle.Empty(Dtype.Float32, device, 1 << 20))
        {
            Assert.Equal(4 << 20, CudaDevice.Memory().Allocated - before.Allocated);
        }
        Assert.Equal(before.Allocated, CudaDevice.Memory().Allocated);
        Assert.True(CudaDevice.Memory().PeakAllocated >= before.Allocated + (4 << 20));
    }

    [Fact]
    public void Memory_TooMuchAsked_ThrowsOutOfMemory()
    {
        var device = Gpu.Require();
        var fault = Assert.Throws<NativeException>(() => TensorHandle.Empty(Dtype.Float32, device, 1L << 40).Dispose());
        Assert.Equal(NativeStatus.OutOfMemory, fault.Status);
    }

    [Fact]
    public void Since_OfWorkBetweenTwoMarks_IsPositiveOnBothStreams()
    {
        var device = Gpu.Require();
        using var stream = new CudaStream();
        using var begin = new CudaEvent();
        using var end = new CudaEvent();
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.Float32, device, 1024, 1024);
        x.FillInPlace(1);
        using (stream.Enter())
        {
            begin.Record();
            x = x.MatMul(x);
            end.Record();
        }
        Assert.True(end.Since(begin) > 0);
        Assert.Equal(1024, x.Mean().Item());
    }

    [Theory]
    [InlineData("adamw")]
    [InlineData("sgd")]
    [InlineData("adaptive")]
    public void Step_OnGpu_GivesTheCpusWeights(string name)
    {
        var device = Gpu.Require();
        var results = new List<float[]>();
        foreach (var place in (Device[])[Device.Cpu, device])
        {
            EngineRuntime.Seed(4);
            // 4099 inputs: rows that end between vectors and chunks.
            using var net = new Sequential(new Linear(4099, 7), new Linear(7, 3));
            net.To(place);
            using Optimizer optimizer = name switch
            {
                "adamw" => new AdamW(net),
                "sgd" => new Sgd(net, 0.01, 0.9, nesterov: true),
                _ => new AdaptiveOptimizer(net, new AdaptiveOptions { InitialLearningRate = 1e-3, WeightDecay = 0.1, Warmup = 0, Growth = 1 }),
            };
            using var scope = TensorScope.Open();
            var x = Tensor.From<float>([.. Enumerable.Range(0, 2 * 4099).Select(i => MathF.Cos(i))], 2, 4099).To(place);
            for (var step = 0; step < 5; step++)
            {
                var loss = net.Forward(x).Pow(2).Mean();
                loss.Backward();
                (optimizer as AdaptiveOptimizer)?.Observe(loss.Item());
                if (name != "adaptive")
                {
                    optimizer.LimitGradients(1e-3); // its own limit is the adaptive one's affair
                }
                optimizer.Step(1e-3);
                optimizer.ClearGradients();
            }
            Assert.Equal(5, optimizer.Steps);
            results.Add([.. net.Parameters().SelectMany(p => p.Tensor.Tensor.ToArray<float>())]);
        }
        // Float32 sums in another order; AdamW divides by a root near the gradient's own noise.
        Assert.All(results[0].Zip(results[1]), pair => Assert.Equal(pair.First, pair.Second, 2e-4f));
    }

    [Theory]
    [InlineData("cpu", "cpu")]
    [InlineData("cuda", "cuda:0")]
    [InlineData("cuda:3", "cuda:3")]
    public void Parse_DeviceName_RoundTrips(string text, string expected) => Assert.Equal(expected, Device.Parse(text).ToString());

    [Fact]
    public void Parse_OtherText_NamesTheForms() => Assert.Contains("cuda:1", Assert.Throws<FormatException>(() => Device.Parse("gpu")).Message, StringComparison.Ordinal);
}
