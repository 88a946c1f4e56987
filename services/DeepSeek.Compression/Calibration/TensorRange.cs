namespace DeepSeek.Compression.Calibration;

/// <summary>How the range of an activation is chosen from what calibration saw.</summary>
public enum CalibrationMethod
{
    /// <summary>Smallest and largest value.</summary>
    MinMax = 0,

    /// <summary>The range whose 8-bit version tells least information lost (Kullback-Leibler divergence); clips outliers.</summary>
    Entropy = 1,
}

/// <summary>Values of a tensor as calibration saw them, and the part of them that 8 bits shall cover.</summary>
public readonly record struct TensorRange(float Min, float Max);
