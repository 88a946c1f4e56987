using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Tensors;

public sealed class TensorTests
{
    [Fact]
    public void Operators_SmallMatrices_GiveKnownNumbers()
    {
        using var scope = TensorScope.Open();
        var a = Tensor.From<float>([1, 2, 3, 4, 5, 6], 2, 3);
        var b = Tensor.From<float>([1, 0, 0, 1, 1, 1], 3, 2);

        Assert.Equal([4f, 5, 10, 11], a.MatMul(b).ToArray<float>());
        Assert.Equal([2f, 4, 6, 8, 10, 12], (a + a).ToArray<float>());
        Assert.Equal([3f, 6, 9, 12, 15, 18], (a * 3).ToArray<float>());
        Assert.Equal([6f, 15], a.Sum(1).ToArray<float>());
        Assert.Equal([2L, 2], a.Argmax(1).ToArray<long>());
        Assert.Equal([1f, 4, 2, 5, 3, 6], a.Transpose(0, 1).ToArray<float>());
        Assert.Equal([2f, 3, 5, 6], a.Narrow(1, 1, 2).ToArray<float>());
        Assert.Equal([4f, 5, 6, 1, 2, 3], a.IndexSelect(0, Tensor.From<long>([1, 0], 2)).ToArray<float>());
        Assert.Equal([0f, 1, 2, 3, 0, 0, 4, 5, 6, 0], a.Pad([1, 1]).ToArray<float>());
        Assert.Equal([3L, 2], a.Reshape(3, -1).Shape());
        Assert.Equal([1L, 2, 3, 4, 5, 6], a.To(Dtype.Int64).ToArray<long>());
        Assert.Equal([4L, 3], Tensor.Cat([a, a], 0).Shape());
    }

    [Fact]
    public void Item_SeveralElements_SaysSo()
    {
        using var scope = TensorScope.Open();

        var fault = Assert.Throws<NativeException>(() => OfTwo().Item());

        Assert.Equal(NativeStatus.InvalidArgument, fault.Status);
        Assert.Contains("one element", fault.Message);
    }

    [Fact]
    public void Operator_ShapesThatDoNotFit_CarriesLibtorchsWords()
    {
        using var scope = TensorScope.Open();

        var fault = Assert.Throws<NativeException>(() => OfTwo().MatMul(Tensor.From<float>([1, 2, 3], 3)));

        Assert.Equal(NativeStatus.OperatorFailed, fault.Status);
        Assert.Contains("2", fault.Message);
    }

    [Fact]
    public void Scope_Disposed_FreesTensorsAndRefusesTheirUse()
    {
        var before = EngineRuntime.Memory().LiveTensors;
        Tensor escaped;
        using (TensorScope.Open())
        {
            escaped = OfTwo() + 1;
            Assert.Equal(before + 2, EngineRuntime.Memory().LiveTensors);
        }

        Assert.Equal(before, EngineRuntime.Memory().LiveTensors);
        Assert.Throws<ObjectDisposedException>(() => escaped.Sum());
    }

    [Fact]
    public void Scope_Reused_StillRefusesTensorsOfItsFormerLife()
    {
        Tensor escaped;
        using (TensorScope.Open())
        {
            escaped = OfTwo();
        }
        using var next = TensorScope.Open();
        OfTwo();

        Assert.Throws<ObjectDisposedException>(() => escaped.Item());
    }

    [Fact]
    public void Scope_Return_MovesTensorOut()
    {
        using var outer = TensorScope.Open();
        Tensor kept;
        using (var inner = TensorScope.Open())
        {
            kept = inner.Return(OfTwo() * 2);
        }

        Assert.Equal([2f, 4], kept.ToArray<float>());
    }

    [Fact]
    public void Handle_Kept_OutlivesScope()
    {
        TensorHandle handle;
        using (TensorScope.Open())
        {
            handle = OfTwo().Keep();
        }
        using (handle)
        {
            Assert.Equal([1f, 2], handle.Span<float>().ToArray());
        }
        Assert.Throws<ObjectDisposedException>(() => handle.Tensor.Rank);
    }

    [Fact]
    public void Operator_WithoutScope_NamesTheRemedy()
    {
        using var handle = TensorHandle.Filled(1, 3);

        Assert.Contains("TensorScope.Open()", Assert.Throws<InvalidOperationException>(() => handle.Tensor.Sum()).Message);
    }

    [Fact]
    public void NoGrad_Entered_RecordsNothing()
    {
        using var scope = TensorScope.Open();
        using var weight = TensorHandle.Filled(2, 3).WithGrad();

        Assert.True((weight.Tensor * 2).RequiresGrad);
        using (NoGrad.Enter())
        {
            Assert.False((weight.Tensor * 2).RequiresGrad);
        }
        using (InferenceMode.Enter())
        {
            Assert.False((weight.Tensor * 2).RequiresGrad);
        }
        Assert.True((weight.Tensor * 2).RequiresGrad);
    }

    [Fact]
    public void RandomState_Restored_RepeatsNumbers()
    {
        using var tensor = TensorHandle.Empty(Dtype.Float32, 5);
        EngineRuntime.Seed(3);
        var state = EngineRuntime.RandomState();
        tensor.Tensor.NormalInPlace(0, 1);
        var first = tensor.Span<float>().ToArray();
        EngineRuntime.RestoreRandomState(state);
        tensor.Tensor.NormalInPlace(0, 1);

        Assert.Equal(first, tensor.Span<float>().ToArray());
    }

    [Fact]
    public void MatMul_TwoThreads_RunsOnOptimisedBlas()
    {
        // The reference BLAS makes 2.7 GFLOP/s here, OpenBLAS 71: even a busy machine tells them apart by the best of many tries.
        using var scope = TensorScope.Open();
        using var a = TensorHandle.Filled(1, 512, 512);
        var best = double.MaxValue;
        for (var i = 0; i < 40; i++)
        {
            using var inner = TensorScope.Open();
            var start = System.Diagnostics.Stopwatch.GetTimestamp();
            a.Tensor.MatMul(a.Tensor);
            best = Math.Min(best, System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        Assert.InRange(2.0 * 512 * 512 * 512 / best / 1e9, 6, 1e5);
    }

    private static Tensor OfTwo() => Tensor.From<float>([1, 2], 2);
}
