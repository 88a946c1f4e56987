namespace DeepSeek.Engine.Tensors;

public readonly partial struct Tensor
{
    /// <summary>Element-wise sum, with broadcasting.</summary>
    public static Tensor operator +(Tensor left, Tensor right) => OperatorCall.To(Operators.Add).Add(left).Add(right).One();

    /// <summary>Adds a number to each element.</summary>
    public static Tensor operator +(Tensor left, double right) => OperatorCall.To(Operators.AddScalar).Add(left).Add(right).One();

    /// <summary>Element-wise difference, with broadcasting.</summary>
    public static Tensor operator -(Tensor left, Tensor right) => OperatorCall.To(Operators.Sub).Add(left).Add(right).One();

    /// <summary>Subtracts a number from each element.</summary>
    public static Tensor operator -(Tensor left, double right) => OperatorCall.To(Operators.SubScalar).Add(left).Add(right).One();

    /// <summary>Element-wise product, with broadcasting.</summary>
    public static Tensor operator *(Tensor left, Tensor right) => OperatorCall.To(Operators.Mul).Add(left).Add(right).One();

    /// <summary>Multiplies each element by a number.</summary>
    public static Tensor operator *(Tensor left, double right) => OperatorCall.To(Operators.MulScalar).Add(left).Add(right).One();

    /// <summary>Element-wise quotient, with broadcasting.</summary>
    public static Tensor operator /(Tensor left, Tensor right) => OperatorCall.To(Operators.Div).Add(left).Add(right).One();

    /// <summary>Divides each element by a number.</summary>
    public static Tensor operator /(Tensor left, double right) => OperatorCall.To(Operators.DivScalar).Add(left).Add(right).One();

    /// <summary>Matrix product: [.., N, K] · [.., K, M] → [.., N, M].</summary>
    public Tensor MatMul(Tensor other) => OperatorCall.To(Operators.MatMul).Add(this).Add(other).One();

    /// <summary>max(0, x).</summary>
    public Tensor Relu() => OperatorCall.To(Operators.Relu).Add(this).One();

    /// <summary>x·Φ(x), exact.</summary>
    public Tensor Gelu() => OperatorCall.To(Operators.Gelu).Add(this).One();

    /// <summary>Gelu by its tanh approximation.</summary>
    public Tensor GeluTanh() => OperatorCall.To(Operators.Gelu).Add(this).AddText("tanh"u8).One();

    /// <summary>x·σ(x).</summary>
    public Tensor Silu() => OperatorCall.To(Operators.Silu).Add(this).One();

    /// <summary>Hyperbolic tangent.</summary>
    public Tensor Tanh() => OperatorCall.To(Operators.Tanh).Add(this).One();

    /// <summary>Logistic function.</summary>
    public Tensor Sigmoid() => OperatorCall.To(Operators.Sigmoid).Add(this).One();

    /// <summary>Exponential.</summary>
    public Tensor Exp() => OperatorCall.To(Operators.Exp).Add(this).One();

    /// <summary>Natural logarithm.</summary>
    public Tensor Log() => OperatorCall.To(Operators.Log).Add(this).One();

    /// <summary>Square root.</summary>
    public Tensor Sqrt() => OperatorCall.To(Operators.Sqrt).Add(this).One();

    /// <summary>Absolute value.</summary>
    public Tensor Abs() => OperatorCall.To(Operators.Abs).Add(this).One();

    /// <summary>Each element to a power.</summary>
    public Tensor Pow(double exponent) => OperatorCall.To(Operators.Pow).Add(this).Add(exponent).One();

    /// <summary>Each element held between two bounds.</summary>
    public Tensor Clamp(double least, double most) => OperatorCall.To(Operators.Clamp).Add(this).Add(least).Add(most).One();

    /// <summary>Whether each element is a number, neither infinite nor none: bool.</summary>
    public Tensor IsFinite() => OperatorCall.To(Operators.IsFinite).Add(this).One();

    /// <summary>Each element, or 0 where it is no number or infinite.</summary>
    public Tensor FiniteOrZero() => OperatorCall.To(Operators.FiniteOrZero).Add(this).Add(0.0).Add(0.0).Add(0.0).One();

    /// <summary>Softmax along a dimension.</summary>
    public Tensor Softmax(int dimension) => OperatorCall.To(Operators.Softmax).Add(this).Add((long)dimension).One();

    /// <summary>Logarithm of the softmax along a dimension.</summary>
    public Tensor LogSoftmax(int dimension) => OperatorCall.To(Operators.LogSoftmax).Add(this).Add((long)dimension).One();

    /// <summary>Sum of all elements.</summary>
    public Tensor Sum() => OperatorCall.To(Operators.Sum).Add(this).One();

    /// <summary>Sum along one dimension, which goes.</summary>
    public Tensor Sum(int dimension) => OperatorCall.To(Operators.SumDim).Add(this).Add([dimension]).One();

    /// <summary>Mean of all elements.</summary>
    public Tensor Mean() => OperatorCall.To(Operators.Mean).Add(this).One();

    /// <summary>Index of the greatest element along a dimension, which goes.</summary>
    public Tensor Argmax(int dimension) => OperatorCall.To(Operators.Argmax).Add(this).Add((long)dimension).One();

    /// <summary>The same elements under other sizes; one may be -1.</summary>
    public Tensor Reshape(params ReadOnlySpan<long> sizes) => OperatorCall.To(Operators.Reshape).Add(this).Add(sizes).One();

    /// <summary>Joins the dimensions from <paramref name="start"/> on.</summary>
    public Tensor Flatten(int start = 1) => OperatorCall.To(Operators.Flatten).Add(this).Add((long)start).One();

    /// <summary>Swaps two dimensions.</summary>
    public Tensor Transpose(int first, int second) => OperatorCall.To(Operators.Transpose).Add(this).Add((long)first).Add((long)second).One();

    /// <summary>A view of <paramref name="length"/> entries along a dimension.</summary>
    public Tensor Narrow(int dimension, long start, long length) => OperatorCall.To(Operators.Narrow).Add(this).Add((long)dimension).Add(start).Add(length).One();

    /// <summary>Entries along a dimension by int64 index.</summary>
    public Tensor IndexSelect(int dimension, Tensor indices) => OperatorCall.To(Operators.IndexSelect).Add(this).Add((long)dimension).Add(indices).One();

    /// <summary>Pads with a value; widths go from the last dimension to the first, before and after.</summary>
    public Tensor Pad(ReadOnlySpan<long> widths, double value = 0) => OperatorCall.To(Operators.Pad).Add(this).Add(widths).Add(value).One();

    /// <summary>Converts the element type.</summary>
    public Tensor To(Dtype dtype) => OperatorCall.To(Operators.ToDtype).Add(this).Add(dtype).One();

    /// <summary>Copies to a device; the tensor itself when it is there already. Towards a GPU it does not wait where the source allows that.</summary>
    public Tensor To(Device device) => To(device, Dtype);

    /// <summary>Copies to a device and an element type; the tensor itself when it has both already.</summary>
    public Tensor To(Device device, Dtype dtype) => OperatorCall.To(Operators.ToDevice).Add(this).Add(device).Add(dtype).Add(device.IsCuda).One(); // the CPU would read before the copy has come

    /// <summary>The same values one after the other in memory; the tensor itself when they lie so already.</summary>
    public Tensor Contiguous() => OperatorCall.To(Operators.Contiguous).Add(this).Add(0L).One();

    /// <summary>The same values laid out as [N, H, W, C] in memory, as convolutions on tensor cores want [N, C, H, W].</summary>
    public Tensor ChannelsLast() => OperatorCall.To(Operators.Contiguous).Add(this).Add(2L).One();

    /// <summary>The same values, cut off from differentiation.</summary>
    public Tensor Detach() => OperatorCall.To(Operators.Detach).Add(this).One();

    /// <summary>Joins tensors along a dimension.</summary>
    public static Tensor Cat(ReadOnlySpan<Tensor> tensors, int dimension) => OperatorCall.To(Operators.Cat).Add(tensors).Add((long)dimension).One();

    /// <summary>Overwrites each element with a number.</summary>
    public void FillInPlace(double value) => OperatorCall.To(Operators.Fill).Add(this).Add(value).InPlace();

    /// <summary>Overwrites each element with the other tensor's.</summary>
    public void CopyInPlace(Tensor other, bool nonBlocking = false) => OperatorCall.To(Operators.Copy).Add(this).Add(other).Add(nonBlocking).InPlace();

    /// <summary>Draws each element evenly from an interval.</summary>
    public void UniformInPlace(double from, double to) => OperatorCall.To(Operators.Uniform).Add(this).Add(from).Add(to).InPlace();

    /// <summary>Draws each element from a normal distribution.</summary>
    public void NormalInPlace(double mean, double deviation) => OperatorCall.To(Operators.Normal).Add(this).Add(mean).Add(deviation).InPlace();
}
