using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Memory;

public sealed class AllocatorMemoryTests
{
    private const int Elements = 1000;
    private const long Bytes = Elements * sizeof(float);

    [Fact]
    public void Of_Cpu_CountsEveryRequestToTheByte()
    {
        var before = AllocatorMemory.Of(Device.Cpu);
        AllocatorMemory.ResetPeak(Device.Cpu);
        using (var first = TensorHandle.Empty(Dtype.Float32, Elements))
        using (var second = TensorHandle.Empty(Dtype.Float32, Elements))
        {
            var during = AllocatorMemory.Of(Device.Cpu);
            Assert.Equal((2 * Bytes, 2, 2 * Bytes), (during.Current - before.Current, during.Allocations - before.Allocations, during.Allocated - before.Allocated));
        }
        var after = AllocatorMemory.Of(Device.Cpu);

        Assert.Equal((before.Current, before.Current + 2 * Bytes), (after.Current, after.Peak));
        AllocatorMemory.ResetPeak(Device.Cpu);
        Assert.Equal(before.Current, AllocatorMemory.Of(Device.Cpu).Peak);
    }

    [Fact]
    public void Empty_ImpossibleSize_IsOutOfMemoryAndNamesTheBytes()
    {
        var fault = Assert.Throws<NativeException>(() => TensorHandle.Empty(Dtype.Float32, 1L << 45).Dispose());

        Assert.Equal(NativeStatus.OutOfMemory, fault.Status);
        Assert.Contains($"{1L << 47} bytes are asked for", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void LimitHost_RequestAboveIt_FailsAndLeavesTheCountersRight()
    {
        var before = AllocatorMemory.Of(Device.Cpu).Current;
        AllocatorMemory.LimitHost(before + Bytes);
        try
        {
            using var fits = TensorHandle.Empty(Dtype.Float32, Elements);
            using var scope = TensorScope.Open();
            // Inside an operator, too.
            var fault = Assert.Throws<NativeException>(() => (fits.Tensor + fits.Tensor).IsNone);
            Assert.Equal(NativeStatus.OutOfMemory, fault.Status);
            Assert.Contains("the limit of", fault.Message, StringComparison.Ordinal);
            Assert.Equal(before + Bytes, AllocatorMemory.Of(Device.Cpu).Current);
        }
        finally
        {
            AllocatorMemory.LimitHost(0);
        }
        using var again = TensorHandle.Empty(Dtype.Float32, 10 * Elements);
    }

    [Fact]
    public void Of_Cuda_CountsTensors()
    {
        var device = Gpu.Require();
        var before = AllocatorMemory.Of(device);
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.Float32, device, Elements);
        var during = AllocatorMemory.Of(device);

        Assert.False(x.IsNone);
        // The caching allocator rounds up to 512 bytes.
        Assert.InRange(during.Current - before.Current, Bytes, Bytes + 511);
        Assert.Equal(1, during.Allocations - before.Allocations);
    }
}
