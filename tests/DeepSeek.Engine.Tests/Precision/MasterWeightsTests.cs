using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Precision;

public sealed class MasterWeightsTests
{
    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Step_HalfPrecisionWithMasters_FollowsTheFloat64Formula(string place)
    {
        foreach (var optimizerName in (string[])["adamw", "sgd"])
        {
            var device = Device.Parse(place);
            using var net = new Linear(5, 3, bias: false);
            var weight = net.Parameters().Single().Tensor;
            weight.Span<float>().Fill(0.5f);
            net.To(device);
            net.ToPrecision(Dtype.BFloat16);
            using Optimizer optimizer = optimizerName == "adamw" ? new AdamW(net, weightDecay: 0.1) : new Sgd(net, weightDecay: 0.1);
            var (w, m, v) = (0.5, 0.0, 0.0);
            const double rate = 1e-3;
            for (var t = 1; t <= 20; t++)
            {
                using var scope = TensorScope.Open();
                // d(sum)/dw = 0.25 a weight, exact in bfloat16.
                var x = Tensor.From<float>([.. Enumerable.Repeat(0.25f, 5)], 1, 5).To(device, Dtype.BFloat16);
                net.Forward(x).Sum().Backward();
                optimizer.Step(rate);
                optimizer.ClearGradients();
                const double g = 0.25;
                if (optimizerName == "adamw")
                {
                    w *= 1 - rate * 0.1;
                    m = 0.9 * m + 0.1 * g;
                    v = 0.999 * v + 0.001 * g * g;
                    w -= rate * (m / (1 - Math.Pow(0.9, t))) / (Math.Sqrt(v / (1 - Math.Pow(0.999, t))) + 1e-8);
                }
                else
                {
                    m = 0.9 * m + g + 0.1 * w;
                    w -= rate * m;
                }
            }
            using var last = TensorScope.Open();
            var master = optimizer.State.Single(s => s.Name == "master.weight").Tensor.Tensor;
            Assert.All(master.ToArray<float>(), value => Assert.Equal(w, value, 1e-5)); // 20 float32 roundings
            Assert.Equal(Dtype.BFloat16, weight.Tensor.Dtype);
            // Steps of 1e-3 are under bfloat16's spacing of 4e-3 near 0.5: without masters the weight would not have moved.
            Assert.All(weight.Tensor.To(Dtype.Float32).ToArray<float>(), value => Assert.Equal(w, value, 2e-3));
            Assert.Equal(20, optimizer.Steps);
        }
    }

    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Enter_BFloat16_ProductsAreHalfAndLossesFloat(string place)
    {
        var device = Device.Parse(place);
        using var scope = TensorScope.Open();
        var x = Tensor.From<float>([1.0009765625f, 2, 3, 4], 2, 2).To(device);
        using (Autocast.Enter(device.Type, Dtype.BFloat16))
        {
            var product = x.MatMul(x);
            Assert.Equal(Dtype.BFloat16, product.Dtype);
            Assert.Equal(Dtype.Float32, Losses.MeanSquaredError(product, x.To(Dtype.BFloat16)).Dtype);
        }
        Assert.Equal(Dtype.Float32, x.MatMul(x).Dtype);
    }

    [Fact]
    public void ToPrecision_WeightBetweenTwoRoundings_MasterKeepsIt()
    {
        using var net = new Linear(2, 1, bias: false);
        net.Parameters().Single().Tensor.Span<float>().Fill(0.3001f);
        net.ToPrecision(Dtype.BFloat16);
        using var optimizer = new AdamW(net);
        Assert.All(optimizer.State.Single(s => s.Name == "master.weight").Tensor.Span<float>().ToArray(), value => Assert.Equal(0.3001f, value));
    }

    [Fact]
    public void Forward_LayerNormOfHalfPrecision_KeepsItsFloat32Weights()
    {
        using var net = new Sequential(new Linear(4, 8), new LayerNorm(8));
        net.ToPrecision(Dtype.BFloat16);
        using var scope = TensorScope.Open();
        var y = net.Forward(Tensor.From<float>([1, 2, 3, 4], 1, 4).To(Dtype.BFloat16));
        Assert.Equal(Dtype.BFloat16, y.Dtype);
        y.To(Dtype.Float32).Pow(2).Sum().Backward();
        Assert.Equal([Dtype.BFloat16, Dtype.BFloat16, Dtype.Float32, Dtype.Float32], net.Parameters().Select(p => p.Tensor.Tensor.Grad().Dtype));
    }

    [Fact]
    public void ToPrecision_NetWithBatchNorm_KeepsItsStatisticsPrecise()
    {
        using var net = new Sequential(new Conv2d(1, 2, 3), new BatchNorm(2));
        net.ToPrecision(Dtype.BFloat16);
        Assert.Equal([Dtype.BFloat16, Dtype.BFloat16, Dtype.Float32, Dtype.Float32], net.Parameters().Select(p => p.Tensor.Tensor.Dtype));
    }
}
