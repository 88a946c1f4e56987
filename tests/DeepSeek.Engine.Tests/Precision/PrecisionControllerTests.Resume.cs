using System.Text.Json;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Precision;

/// <summary>What the controller saves is all that its later steps depend on.</summary>
public sealed partial class PrecisionControllerTests
{
    /// <summary>A net taken up in the middle, with all that the controller saves, ends with the same bits, precisions and log as one left alone.</summary>
    [Theory]
    [InlineData(3)]  // before a layer is lowered
    [InlineData(9)]  // while the guard judges
    [InlineData(24)] // long after
    public void Restore_InAnyPhase_GoesOnBitForBit(int at)
    {
        const int steps = 40;
        var (whole, wholeLog) = Run([steps]);
        var (resumed, resumedLog) = Run([at, steps - at]);

        Assert.Equal(wholeLog, resumedLog);
        Assert.NotEmpty(wholeLog);
        Assert.Equal(whole, resumed);

        static (float[] Weights, PrecisionMove[] Log) Run(int[] parts)
        {
            var net = Net();
            var controller = new PrecisionController(net, s_emulated);
            var done = 0;
            foreach (var part in parts)
            {
                if (done > 0)
                {
                    // A new process: a net with the saved weights, and the controller's state through JSON.
                    var other = Net();
                    Copy(net.State(), other.State());
                    var second = new PrecisionController(other, s_emulated);
                    second.Restore(JsonSerializer.Deserialize<PrecisionState>(JsonSerializer.Serialize(controller.Save()))!);
                    Assert.Equal(controller.State.Select(t => t.Name), second.State.Select(t => t.Name));
                    Copy(controller.State, second.State);
                    controller.Dispose();
                    net.Dispose();
                    (net, controller) = (other, second);
                }
                Train(net, controller, part, from: done, plain: true);
                done += part;
            }
            float[] weights = [.. net.State().SelectMany(t => t.Tensor.Tensor.ToArray<float>())];
            PrecisionMove[] log = [.. controller.Log];
            controller.Dispose();
            net.Dispose();
            return (weights, log);
        }

        static void Copy(IEnumerable<NamedTensor> from, IEnumerable<NamedTensor> to)
        {
            using var unrecorded = NoGrad.Enter();
            foreach (var (source, target) in from.Zip(to))
            {
                target.Tensor.Tensor.CopyInPlace(source.Tensor.Tensor);
            }
        }
    }

    [Fact]
    public void Restore_StateOfAnotherNet_IsRefused()
    {
        using var net = Net();
        using var other = new Sequential(new Linear(2, 2));
        using var controller = new PrecisionController(net, s_emulated);
        using var second = new PrecisionController(other, s_emulated);

        Assert.Throws<ArgumentException>(() => second.Restore(controller.Save()));
    }

    /// <summary>A jump without a number has one in the log all the same.</summary>
    [Fact]
    public void Save_LossNotANumber_PassesJson()
    {
        using var net = Net();
        using var controller = new PrecisionController(net, s_emulated);
        Train(net, controller, 40, loss: 1);
        Train(net, controller, 1, loss: double.NaN);

        var read = JsonSerializer.Deserialize<PrecisionState>(JsonSerializer.Serialize(controller.Save()))!;

        Assert.True(double.IsNaN(read.Log[^1].Evidence));
        Assert.Equal(controller.Log, read.Log);
    }
}
