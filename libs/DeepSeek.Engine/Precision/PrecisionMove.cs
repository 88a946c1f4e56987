using System.Text.Json.Serialization;

namespace DeepSeek.Engine.Precision;

/// <summary>Why a layer's precision changed.</summary>
public enum MoveCause
{
    /// <summary>Its ranges have fitted the lower format for long enough. Evidence: the largest share that underflows.</summary>
    Fits = 1,
    /// <summary>Too many values would become zero. Evidence: their share.</summary>
    Underflow = 2,
    /// <summary>Too many values pass the format's largest number. Evidence: their share.</summary>
    Overflow = 3,
    /// <summary>Values are not finite. Evidence: how many.</summary>
    NotFinite = 4,
    /// <summary>The loss is worse since the layer was lowered. Evidence: the loss over the former one.</summary>
    LossDegraded = 5,
    /// <summary>The loss jumped. Evidence: the loss over the one expected.</summary>
    LossJumped = 6,
}

/// <summary>The tensor of a layer that made the controller act.</summary>
public enum RangeOf
{
    /// <summary>None in particular.</summary>
    Nothing = 0,
    /// <summary>The layer's input.</summary>
    Input = 1,
    /// <summary>Its weight.</summary>
    Weight = 2,
    /// <summary>The gradient of its output.</summary>
    Gradient = 3,
}

/// <summary>One entry of the log.</summary>
public sealed record PrecisionMove(long Step, string Layer, LayerPrecision From, LayerPrecision To, MoveCause Cause, RangeOf Tensor,
    [property: JsonNumberHandling(JsonNumberHandling.AllowNamedFloatingPointLiterals)] double Evidence)
{
    /// <summary>The entry as a sentence.</summary>
    public override string ToString() => FormattableString.Invariant($"step {Step}: {Layer} {From} → {To} because {Reason}");

    private string Reason => Cause switch
    {
        MoveCause.Fits => FormattableString.Invariant($"its ranges fit (at most {Evidence:p3} of a tensor underflows)"),
        MoveCause.Underflow => FormattableString.Invariant($"{Evidence:p2} of its {Noun} would underflow"),
        MoveCause.Overflow => FormattableString.Invariant($"{Evidence:p2} of its {Noun} overflows under the delayed scale"),
        MoveCause.NotFinite => FormattableString.Invariant($"{Evidence} values of its {Noun} are not finite"),
        MoveCause.LossDegraded => FormattableString.Invariant($"the loss is {Evidence:g3} worse since it was lowered"),
        _ => FormattableString.Invariant($"the loss jumped by {Evidence:g3}"),
    };

    private string Noun => Tensor switch
    {
        RangeOf.Input => "input",
        RangeOf.Weight => "weight",
        RangeOf.Gradient => "gradient",
        _ => "values",
    };
}
