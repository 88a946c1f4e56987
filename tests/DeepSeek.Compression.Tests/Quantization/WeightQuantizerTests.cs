using DeepSeek.Compression.Quantization;

namespace DeepSeek.Compression.Tests.Quantization;

public sealed class WeightQuantizerTests
{
    [Fact]
    public void Quantize_ChannelsOfDifferentSize_PerChannelKeepsTheSmallOnes()
    {
        // Channel 0 holds weights up to 10, channel 1 up to 0.01: with one scale (10/127) all of channel 1 becomes zero.
        float[] weights = [10f, -7f, 3f, 0.01f, -0.007f, 0.003f];

        var perTensor = WeightQuantizer.Quantize(weights, 2, 3, perChannel: false, QuantMath.Weight8);
        var perChannel = WeightQuantizer.Quantize(weights, 2, 3, perChannel: true, QuantMath.Weight8);

        Assert.Equal(new sbyte[] { 127, -89, 38, 0, 0, 0 }, perTensor.Values);
        Assert.Equal(new sbyte[] { 127, -89, 38, 127, -89, 38 }, perChannel.Values);
        Assert.Equal(1, RelativeError(perTensor, 1), 1e-6);
        Assert.InRange(RelativeError(perChannel, 1), 0, 0.5 / 127);

        double RelativeError(QuantizedWeight q, int channel) => Enumerable.Range(channel * 3, 3)
            .Max(i => Math.Abs(q.Values[i] * q.Scales[q.Scales.Length == 1 ? 0 : channel] - weights[i])) / weights[channel * 3];
    }

    [Theory]
    [InlineData(QuantMath.Weight8)]
    [InlineData(QuantMath.Weight7)]
    public void Quantize_RandomWeights_ErrorIsHalfAStepAtMost(int largest)
    {
        var random = new Random(11);
        var weights = Enumerable.Range(0, 4 * 3 * 5).Select(_ => (float)(random.NextDouble() * 2 - 1)).ToArray();

        var q = WeightQuantizer.Quantize(weights, 3, 5, perChannel: true, largest); // [4, 3, 5], channel axis 1

        Assert.All(q.Values, v => Assert.InRange(v, -largest, largest));
        for (var i = 0; i < weights.Length; i++)
        {
            var scale = q.Scales[i / 5 % 3];
            Assert.True(Math.Abs(q.Values[i] * scale - weights[i]) <= scale / 2 * 1.0001f, $"element {i}");
        }
    }

    [Fact]
    public void Quantize_ChannelOfZeros_StaysZero()
    {
        var q = WeightQuantizer.Quantize([0f, 0f, 1f, -1f], 2, 2, perChannel: true, QuantMath.Weight8);
        Assert.Equal(new sbyte[] { 0, 0, 127, -127 }, q.Values);
        Assert.Equal(1f, q.Scales[0]);
    }

    [Fact]
    public void Weight7_TwoLargestProducts_FitSixteenBits() =>
        Assert.True(2 * 255 * QuantMath.Weight7 <= short.MaxValue && 2 * 255 * QuantMath.Weight8 > short.MaxValue);
}
