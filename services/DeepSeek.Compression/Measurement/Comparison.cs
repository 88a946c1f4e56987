using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Compression.Measurement;

/// <summary>Gathers the predictions of the original and the compressed model on test rows.</summary>
public abstract class Comparison
{
    /// <summary>Rows, or tokens of text, so far.</summary>
    public int Rows { get; protected set; }

    /// <summary>The model output to compare.</summary>
    public abstract string Output { get; }

    public abstract double Fp32 { get; }

    public abstract double Int8 { get; }

    public abstract double Agreement { get; }

    public static Comparison For(bool classification) => classification ? new ClassComparison() : new ValueComparison();

    /// <summary>For a model that predicts the next token.</summary>
    public static Comparison ForTokens() => new TokenComparison();

    /// <param name="fp32">The original's output.</param>
    /// <param name="int8">The compressed model's.</param>
    /// <param name="targets">One a row; of text one a token.</param>
    public void Add(OrtValue fp32, OrtValue int8, ReadOnlySpan<double> targets)
    {
        Add(fp32.GetTensorDataAsSpan<float>(), int8.GetTensorDataAsSpan<float>(), targets);
        Rows += targets.Length;
    }

    /// <summary>Place of the greatest, the first of equals.</summary>
    protected static int Largest(ReadOnlySpan<float> values)
    {
        var best = 0;
        for (var i = 1; i < values.Length; i++)
        {
            if (values[i] > values[best])
                best = i;
        }
        return best;
    }

    protected abstract void Add(ReadOnlySpan<float> fp32, ReadOnlySpan<float> int8, ReadOnlySpan<double> targets);

    /// <summary>Accuracy of the most probable class, and the share of rows on which both choose the same one.</summary>
    private sealed class ClassComparison : Comparison
    {
        private int _fp32, _int8, _same;

        public override string Output => "probabilities";
        public override double Fp32 => (double)_fp32 / Rows;
        public override double Int8 => (double)_int8 / Rows;
        public override double Agreement => (double)_same / Rows;

        protected override void Add(ReadOnlySpan<float> fp32, ReadOnlySpan<float> int8, ReadOnlySpan<double> targets)
        {
            var k = fp32.Length / targets.Length;
            for (var row = 0; row < targets.Length; row++)
            {
                var (a, b) = (Largest(fp32.Slice(row * k, k)), Largest(int8.Slice(row * k, k)));
                _fp32 += a == (int)targets[row] ? 1 : 0;
                _int8 += b == (int)targets[row] ? 1 : 0;
                _same += a == b ? 1 : 0;
            }
        }
    }

    /// <summary>R² against the targets, and of the compressed model's predictions against the original's.</summary>
    private sealed class ValueComparison : Comparison
    {
        private readonly List<double> _fp32 = [], _int8 = [], _targets = [];

        public override string Output => "prediction";
        public override double Fp32 => R2(_fp32, _targets);
        public override double Int8 => R2(_int8, _targets);
        public override double Agreement => R2(_int8, _fp32);

        protected override void Add(ReadOnlySpan<float> fp32, ReadOnlySpan<float> int8, ReadOnlySpan<double> targets)
        {
            for (var row = 0; row < targets.Length; row++)
            {
                _fp32.Add(fp32[row]);
                _int8.Add(int8[row]);
                _targets.Add(targets[row]);
            }
        }

        private static double R2(List<double> predictions, List<double> truth)
        {
            var mean = truth.Average();
            var total = truth.Sum(t => (t - mean) * (t - mean));
            var residual = predictions.Zip(truth, (p, t) => (p - t) * (p - t)).Sum();
            return total > 0 ? 1 - residual / total : residual == 0 ? 1 : 0;
        }
    }
}
