using DeepSeek.Engine.Export;

namespace DeepSeek.Engine.Tensors;

public static partial class Functional
{
    /// <summary>Greatest element of each window: [N, C, ..] with one to three dimensions in place of the dots.</summary>
    public static Tensor MaxPool(Tensor x, long kernel, long stride, long padding = 0)
    {
        var n = Spatial(x);
        if (n == 2 && !OperatorTrace.Recording)
        {
            // Of libtorch or, in channels-last layout on a GPU, the engine's own: the operator decides.
            return OperatorCall.To(Operators.FusedMaxPool).Add(x).Add(kernel).Add(stride).Add(padding).One();
        }
        Span<long> lists = stackalloc long[3 * MaxSpatial];
        return OperatorCall.To(Operators.MaxPools[n - 1]).Add(x).Add(Same(lists, 0, n, kernel)).Add(Same(lists, 1, n, stride)).Add(Same(lists, 2, n, padding)).One();
    }

    /// <summary>Mean of each window, padding included.</summary>
    public static Tensor AvgPool(Tensor x, long kernel, long stride, long padding = 0)
    {
        Span<long> lists = stackalloc long[3 * MaxSpatial];
        var n = Spatial(x);
        return OperatorCall.To(Operators.AvgPools[n - 1]).Add(x).Add(Same(lists, 0, n, kernel)).Add(Same(lists, 1, n, stride)).Add(Same(lists, 2, n, padding)).One();
    }

    /// <summary>Means over as many windows as the output has places, <paramref name="size"/> along each dimension.</summary>
    public static Tensor AdaptiveAvgPool(Tensor x, long size)
    {
        Span<long> lists = stackalloc long[MaxSpatial];
        var n = Spatial(x);
        return OperatorCall.To(Operators.AdaptiveAvgPools[n - 1]).Add(x).Add(Same(lists, 0, n, size)).One();
    }

    /// <summary>Each element so many times along each dimension.</summary>
    public static Tensor UpsampleNearest(Tensor x, int times)
    {
        Span<long> lists = stackalloc long[MaxSpatial];
        var n = Spatial(x);
        for (var i = 0; i < n; i++)
        {
            lists[i] = x.Size(i + 2) * times;
        }
        return OperatorCall.To(Operators.UpsampleNearest[n - 1]).Add(x).Add(lists[..n]).None().One();
    }

    /// <summary>Linear, bilinear or trilinear interpolation to so many times the size; the corners' centres stay in place if asked.</summary>
    public static Tensor UpsampleLinear(Tensor x, int times, bool alignCorners = false)
    {
        Span<long> lists = stackalloc long[MaxSpatial];
        var n = Spatial(x);
        for (var i = 0; i < n; i++)
        {
            lists[i] = x.Size(i + 2) * times;
        }
        return OperatorCall.To(Operators.UpsampleLinear[n - 1]).Add(x).Add(lists[..n]).Add(alignCorners).None().One();
    }
}
