using System.Text.Json.Serialization;

namespace DeepSeek.Engine.Precision;

/// <summary>All that a <see cref="PrecisionController"/>'s later decisions depend on besides its tensors; its members are plain values, for a checkpoint's JSON.</summary>
public sealed record PrecisionState
{
    /// <summary>Steps ended.</summary>
    public required long Step { get; init; }

    /// <summary>The step of the next look, and how far the one after it is.</summary>
    public required long NextLook { get; init; }

    /// <summary>Steps between looks at present.</summary>
    public required long Interval { get; init; }

    /// <summary>The layers in the net's order.</summary>
    public required IReadOnlyList<LayerState> Layers { get; init; }

    /// <summary>What is known of the loss.</summary>
    public required LossGuardState Guard { get; init; }

    /// <summary>Losses of the last steps that have not been judged yet.</summary>
    [JsonNumberHandling(JsonNumberHandling.AllowNamedFloatingPointLiterals)]
    public required IReadOnlyList<double> Pending { get; init; }

    /// <summary>The layers that would be taken back now.</summary>
    public required IReadOnlyList<string> Watched { get; init; }

    /// <summary>What was measured of layers' shapes: measured again it might come out otherwise.</summary>
    public required IReadOnlyList<ShapeSpeed> Shapes { get; init; }

    /// <summary><see cref="PrecisionController.Notes"/>.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary><see cref="PrecisionController.Log"/>.</summary>
    public required IReadOnlyList<PrecisionMove> Log { get; init; }
}

/// <summary>One layer: its precision, looks it has to be good in and was, maxima seen of input, weight and gradient, its last product, and whether FP8's scales are set.</summary>
public sealed record LayerState(
    string Name, LayerPrecision Precision, long Patience, long Good, IReadOnlyList<double[]> Maxima, long Rows, long Inputs, long Outputs, double Underflow, bool ScaledForward, bool ScaledBackward);

/// <summary>Whether FP8 is worth it for products of a shape.</summary>
public sealed record ShapeSpeed(long Rows, long Inputs, long Outputs, bool Pays);

/// <summary>The guard's means, and the judgement under way.</summary>
public sealed record LossGuardState(long Count, double Mean, double Variance, double Reference, double Deviation, long Watched, double Sum, double Recent, int RecentCount);
