using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Storage;

public sealed class NumpyTensorsTests
{
    [Theory]
    [InlineData(Dtype.Float32, "<f4")]
    [InlineData(Dtype.Float64, "<f8")]
    [InlineData(Dtype.Float16, "<f2")]
    [InlineData(Dtype.BFloat16, "<f4")]
    [InlineData(Dtype.Int64, "<i8")]
    [InlineData(Dtype.Int32, "<i4")]
    [InlineData(Dtype.Int16, "<i2")]
    [InlineData(Dtype.Int8, "|i1")]
    [InlineData(Dtype.UInt8, "|u1")]
    [InlineData(Dtype.Bool, "|b1")]
    public void ToNumpy_AndBack_KeepsTypeShapeAndValues(Dtype dtype, string descriptor)
    {
        using var scope = TensorScope.Open();
        var tensor = Tensor.From<float>([0, 1, 2, 3, 4, 5], 2, 3).To(dtype);

        // A view, so that the elements are not in row-major order.
        var array = tensor.Transpose(0, 1).ToNumpy();
        var back = array.ToTensor();

        Assert.Equal(descriptor, array.Descriptor);
        Assert.Equal([3, 2], array.Shape);
        float[] expected = dtype == Dtype.Bool ? [0, 1, 1, 1, 1, 1] : [0, 3, 1, 4, 2, 5];
        Assert.Equal(expected, back.To(Dtype.Float32).ToArray<float>());
    }
}
