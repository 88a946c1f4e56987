using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>A batch's mean loss, one element; and its value, where somebody had to wait for it. Whoever needs it next need not read it again.</summary>
internal readonly record struct StepLoss(Tensor Tensor, double? Value)
{
    /// <summary>Reads a loss that lies in the host's memory, or that is asked for now; on a device it is left for later.</summary>
    internal static StepLoss Of(Tensor loss, bool now) => new(loss, now || !loss.Device.IsCuda ? loss.Item() : null);
}
