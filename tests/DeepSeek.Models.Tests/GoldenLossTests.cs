using System.Text.Json;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Tests;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

/// <summary>Ten training losses of each family against those of torchvision's, transformers' or plain PyTorch's own model (Goldens/make.py).</summary>
public sealed class GoldenLossTests
{
    // Training amplifies rounding: what PyTorch itself differs by between CPU and GPU, four times over, and at least this. An error in a formula shows at 1e-3.
    private const double Tolerance = 1e-5;

    // Behind a tie (below) two right programs meet further ones: PyTorch's CPU and this engine's GPU then part by 4e-5 after seven equal losses.
    private const double TieTolerance = 1e-4;

    private static readonly JsonElement s_golden = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Goldens", "losses.json"))).RootElement.GetProperty("families");

    private static readonly string[] s_flatImages = ["convnet", "resnet basic", "resnet bottleneck", "efficientnet", "unet2d"];

    /// <summary>Each family on each device, and image families on a GPU in channels-last layout too, where batch norm is fused.</summary>
    public static TheoryData<string, string, bool> Places()
    {
        var places = new TheoryData<string, string, bool>();
        foreach (string device in Engine.Tests.Gpu.Devices())
        {
            foreach (var name in Families.Names)
            {
                places.Add(name, device, false);
                if (device != "cpu" && s_flatImages.Contains(name))
                {
                    places.Add(name, device, true);
                }
            }
        }
        return places;
    }

    [Theory]
    [MemberData(nameof(Places))]
    public void Training_InSinglePrecision_LosesAsInPyTorch(string name, string device, bool channelsLast)
    {
        var expected = Golden(name, "cpu float32");
        if (device != "cpu")
        {
            CudaDevice.AllowTf32(false); // cuDNN's convolutions else round their inputs to 10 bits
        }
        var losses = Train(Families.Of(name), expected.Length, device: device, channelsLast: channelsLast);
        var tolerance = Math.Max(Tolerance, 4 * Gap(Golden(name, "cuda float32"), expected));
        var gap = Gap(losses, expected);

        Assert.True(gap <= tolerance || Ties(name).Any(tie => Gap(losses, tie) <= TieTolerance), $"{name}: {gap:G3} of {tolerance:G3}\n{string.Join(" ", losses)}\n{string.Join(" ", expected)}");
    }

    // Two correct bfloat16 runs part by rounding: by as much as PyTorch's own runs on CPU, on GPU and in float32 part from each other, three times over.
    [Theory]
    [MemberData(nameof(Places))]
    public void Training_InBFloat16_StaysWithinPyTorchsOwnSpread(string name, string device, bool channelsLast)
    {
        var expected = Golden(name, "cpu bfloat16");
        var losses = Train(Families.Of(name), expected.Length, Dtype.BFloat16, device, channelsLast);
        var spread = Math.Max(Gap(Golden(name, "cuda bfloat16"), expected), Gap(Golden(name, "cpu float32"), expected));

        TestContext.Current.TestOutputHelper!.WriteLine($"{name}: {Gap(losses, expected):G3} of {spread:G3}");
        Assert.True(Gap(losses, expected) <= 3 * spread, $"{name}: {Gap(losses, expected):G3}, spread {spread:G3}");
        // And it was half precision indeed.
        Assert.NotEqual(Train(Families.Of(name), 1, device: device)[0], losses[0]);
    }

    internal static double[] Golden(string name, string kind) => Losses(s_golden.GetProperty(name).GetProperty(kind));

    // The losses with one ReLU's input on the other side of zero, where it lies within rounding of it in the first step: both are right.
    private static IEnumerable<double[]> Ties(string name) =>
        s_golden.GetProperty(name).TryGetProperty("cpu float32 ties", out var ties) ? ties.EnumerateObject().Select(tie => Losses(tie.Value)) : [];

    private static double[] Losses(JsonElement values) => [.. values.EnumerateArray().Select(e => e.GetDouble())];

    /// <summary>Largest relative difference.</summary>
    internal static double Gap(double[] losses, double[] expected) => losses.Zip(expected, (a, b) => Math.Abs(a - b) / Math.Abs(b)).Max();

    internal static double[] Train(Family family, int steps, Dtype precision = Dtype.Float32, string device = "cpu", bool channelsLast = false)
    {
        using var net = family.Net();
        Noise.Fill(net);
        net.To(Device.Parse(device), channelsLast);
        using var optimizer = family.Optimizer(net);
        var losses = new double[steps];
        for (var step = 0; step < steps; step++)
        {
            using var scope = TensorScope.Open();
            // Targets and the loss are the CPU's everywhere.
            var loss = family.Loss(Forward(family, net, step, precision).To(Device.Cpu), step);
            loss.Backward();
            optimizer.Step(family.Rate);
            optimizer.ClearGradients();
            losses[step] = loss.Item();
        }
        return losses;
    }

    private static Tensor Forward(Family family, Module net, int step, Dtype precision)
    {
        var device = net.Device;
        Tensor[] inputs = [.. family.Inputs(step).Select(x => x.To(device))];
        if (precision == Dtype.Float32)
        {
            return family.Forward(net, inputs);
        }
        using var autocast = Autocast.Enter(device.Type, precision);
        return family.Forward(net, inputs).To(Dtype.Float32);
    }
}
