namespace DeepSeek.Engine.Tensors;

/// <summary>The operators behind the typed methods of <see cref="Tensor"/> and <see cref="Functional"/>.</summary>
internal static partial class Operators
{
    internal static readonly Operator Abs = new("abs");
    internal static readonly Operator Add = new("add", "Tensor");
    internal static readonly Operator AddScalar = new("add", "Scalar");
    internal static readonly Operator Argmax = new("argmax");
    internal static readonly Operator BatchNorm = new("batch_norm");
    internal static readonly Operator BceWithLogits = new("binary_cross_entropy_with_logits");
    internal static readonly Operator Cat = new("cat");
    internal static readonly Operator Clamp = new("clamp");
    internal static readonly Operator IsFinite = new("isfinite");
    internal static readonly Operator FiniteOrZero = new("nan_to_num");
    internal static readonly Operator Copy = new("copy_");
    internal static readonly Operator CrossEntropy = new("cross_entropy_loss");
    internal static readonly Operator Detach = new("detach");
    internal static readonly Operator Div = new("div", "Tensor");
    internal static readonly Operator DivScalar = new("div", "Scalar");
    internal static readonly Operator Dropout = new("dropout");
    internal static readonly Operator Embedding = new("embedding");
    internal static readonly Operator Exp = new("exp");
    internal static readonly Operator Fill = new("fill_", "Scalar");
    internal static readonly Operator Flatten = new("flatten", "using_ints");
    internal static readonly Operator Gelu = new("gelu");
    internal static readonly Operator Huber = new("huber_loss");
    internal static readonly Operator IndexSelect = new("index_select");
    internal static readonly Operator LayerNorm = new("layer_norm");
    internal static readonly Operator Linear = new("linear");
    internal static readonly Operator Log = new("log");
    internal static readonly Operator LogSoftmax = new("log_softmax", "int");
    internal static readonly Operator MatMul = new("matmul");
    internal static readonly Operator Mean = new("mean");
    internal static readonly Operator Mse = new("mse_loss");
    internal static readonly Operator Mul = new("mul", "Tensor");
    internal static readonly Operator MulScalar = new("mul", "Scalar");
    internal static readonly Operator Narrow = new("narrow");
    internal static readonly Operator Normal = new("normal_");
    internal static readonly Operator Pad = new("constant_pad_nd");
    internal static readonly Operator Pow = new("pow", "Tensor_Scalar");
    internal static readonly Operator Relu = new("relu");
    internal static readonly Operator Reshape = new("reshape");
    internal static readonly Operator Sigmoid = new("sigmoid");
    internal static readonly Operator Silu = new("silu");
    internal static readonly Operator Softmax = new("softmax", "int");
    internal static readonly Operator Sqrt = new("sqrt");
    internal static readonly Operator Sub = new("sub", "Tensor");
    internal static readonly Operator SubScalar = new("sub", "Scalar");
    internal static readonly Operator Sum = new("sum");
    internal static readonly Operator SumDim = new("sum", "dim_IntList");
    internal static readonly Operator Tanh = new("tanh");
    internal static readonly Operator ToDtype = new("to", "dtype");
    internal static readonly Operator Transpose = new("transpose", "int");
    internal static readonly Operator ToDevice = new("to", "device");
    internal static readonly Operator Contiguous = new("contiguous");
    internal static readonly Operator Uniform = new("uniform_");
    internal static readonly Operator ZerosLike = new("zeros_like");
}
