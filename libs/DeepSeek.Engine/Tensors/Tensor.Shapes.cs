namespace DeepSeek.Engine.Tensors;

public readonly partial struct Tensor
{
    /// <summary>Adds a dimension of one entry.</summary>
    public Tensor Unsqueeze(int dimension) => OperatorCall.To(Operators.Unsqueeze).Add(this).Add((long)dimension).One();

    /// <summary>Drops a dimension of one entry.</summary>
    public Tensor Squeeze(int dimension) => OperatorCall.To(Operators.Squeeze).Add(this).Add((long)dimension).One();

    /// <summary>A view that repeats dimensions of one entry; -1 keeps a size.</summary>
    public Tensor Expand(params ReadOnlySpan<long> sizes) => OperatorCall.To(Operators.Expand).Add(this).Add(sizes).One();

    /// <summary>Reorders the dimensions.</summary>
    public Tensor Permute(params ReadOnlySpan<long> order) => OperatorCall.To(Operators.Permute).Add(this).Add(order).One();

    /// <summary>Views of consecutive entries along a dimension, as many as there are sizes.</summary>
    public void Split(ReadOnlySpan<long> sizes, int dimension, Span<Tensor> parts) =>
        OperatorCall.To(Operators.SplitWithSizes).Add(this).Add(sizes).Add((long)dimension).Many(parts);

    /// <summary>The last two dimensions' upper triangle from a diagonal on, 0 below it.</summary>
    public Tensor Triu(long diagonal = 0) => OperatorCall.To(Operators.Triu).Add(this).Add(diagonal).One();

    /// <summary>A tensor of this one's type and place, filled with a value.</summary>
    public Tensor NewFull(double value, params ReadOnlySpan<long> sizes) => OperatorCall.To(Operators.NewFull).Add(this).Add(sizes).Add(value).One();

    /// <summary>x·W + b in one operator: this is b [out], x [N, in], W [in, out].</summary>
    public Tensor AddMatMul(Tensor x, Tensor weight) => OperatorCall.To(Operators.AddMm).Add(this).Add(x).Add(weight).One();

    /// <summary>Mean along one dimension, which goes or stays as one entry.</summary>
    public Tensor Mean(int dimension, bool keep = false) => OperatorCall.To(Operators.MeanDim).Add(this).Add([dimension]).Add(keep).One();

    /// <summary>1/√x.</summary>
    public Tensor Rsqrt() => OperatorCall.To(Operators.Rsqrt).Add(this).One();

    /// <summary>Negated.</summary>
    public static Tensor operator -(Tensor x) => OperatorCall.To(Operators.Neg).Add(x).One();

    /// <summary>Overwrites each element with 1 (with probability p) or 0.</summary>
    public void BernoulliInPlace(double p) => OperatorCall.To(Operators.Bernoulli).Add(this).Add(p).InPlace();
}
