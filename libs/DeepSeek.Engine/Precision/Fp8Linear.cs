using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>
/// x·Wᵀ + b with all three products in FP8: weights and activations in E4M3, gradients in E5M2 (Micikevicius et al., arXiv 2209.05433,
/// section 3). Products accumulate in float32; the bias and its gradient stay as they are. The turned codes are kept for the backward
/// pass: a quarter of float32's memory. Scales follow the last steps' maxima (delayed scaling), all on the device.
/// </summary>
internal sealed class Fp8Linear : IDisposable
{
    private const int Tensors = 3; // input, weight, gradient of the output
    private const int Extra = 4; // the scale, that of the last cast, and two words of the operator's
    private const long FirstForward = 1;
    private const long FirstBackward = 2;
    private const long Repeated = 4;
    private const int Flags = 3;

    private static readonly Operator s_linear = new("deepseek::fp8_linear");
    private static readonly Operator s_geluMlp = new("deepseek::fp8_gelu_mlp");
    private static readonly Operator s_projectedAttention = new("deepseek::fp8_projected_attention");

    private readonly long _margin;
    private long _first = FirstForward | FirstBackward;

    internal Fp8Linear(int history, int margin, Device device)
    {
        _margin = margin;
        State = TensorHandle.Zeros(Dtype.Float32, Tensors, history + Extra);
        using var scope = TensorScope.Open();
        State.Tensor.Narrow(1, history, 1).CopyInPlace(Tensor.From<float>([1, 1, 1], Tensors, 1));
        State.MoveTo(device);
    }

    /// <summary>float32 [3, history + 4]: of the input, the weight and the output's gradient the last maxima, the scale, that of the last cast, and two words that are 0.</summary>
    internal TensorHandle State { get; }

    /// <summary>Whether a pass forward, and one backward, have set the scales; belongs to <see cref="State"/>.</summary>
    internal (bool Forward, bool Backward) Ready
    {
        get => ((_first & FirstForward) == 0, (_first & FirstBackward) == 0);
        set => _first = (value.Forward ? 0 : FirstForward) | (value.Backward ? 0 : FirstBackward);
    }

    // What the layer's next pass has to know; one that is computed again takes the scales of the last one and changes none.
    private long Now => _first | (Checkpoint.IsRecomputing ? Repeated : 0);

    public void Dispose() => State.Dispose();

    /// <summary>x [.., in], W [out, in], b [out] or none → [.., out], of a type of its own or x's.</summary>
    internal Tensor Apply(Tensor x, Tensor weight, Tensor bias = default, Dtype? type = null)
    {
        var y = Typed(OperatorCall.To(s_linear).Add(x).Add(weight).Add(bias).Add(State.Tensor).Add(_margin).Add(Now), type).One();
        Passed(y);
        return y;
    }

    /// <summary>GELU(x·W₁ᵀ + b₁)·W₂ᵀ + b₂ as <see cref="Kernels.FusedLinear.GeluMlp"/>, its products those of two layers; GELU and its slope are parts of casts.</summary>
    internal static Tensor GeluMlp(Tensor x, Fp8Linear first, Tensor wide, Tensor wideBias, Fp8Linear second, Tensor narrow, Tensor narrowBias, Dtype? type)
    {
        var y = Typed(OperatorCall.To(s_geluMlp).Add(x).Add(wide).Add(wideBias).Add(first.State.Tensor).Add(narrow).Add(narrowBias).Add(second.State.Tensor)
            .Add(first._margin).Add(first.Now | second.Now << Flags), type).One();
        first.Passed(y);
        second.Passed(y);
        return y;
    }

    /// <summary>As <see cref="Kernels.FusedLinear.ProjectedAttention"/>, the projection in FP8.</summary>
    internal Tensor ProjectedAttention(Tensor x, Tensor weight, Tensor bias, int heads, bool causal, Dtype? type)
    {
        var y = Typed(OperatorCall.To(s_projectedAttention).Add(x).Add(weight).Add(bias).Add(State.Tensor).Add(_margin).Add(Now).Add((long)heads).Add(causal), type).One();
        Passed(y);
        return y;
    }

    private static OperatorCall Typed(OperatorCall call, Dtype? type) => type is { } wanted ? call.Add(wanted) : call.None();

    // The backward pass of the first recorded call sets the gradient's scale; every later one finds it.
    private void Passed(Tensor y) => _first &= y.RequiresGrad ? 0 : FirstBackward;
}
