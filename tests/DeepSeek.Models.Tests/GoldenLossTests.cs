using System.Text.Json;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

/// <summary>Ten training losses of each family against those of torchvision's, transformers' or plain PyTorch's own model (Goldens/make.py).</summary>
public sealed class GoldenLossTests
{
    // Training amplifies rounding: what PyTorch itself differs by between CPU and GPU, four times over, and at least this. An error in a formula shows at 1e-3.
    private const double Tolerance = 1e-5;

    private static readonly JsonElement s_golden = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Goldens", "losses.json"))).RootElement.GetProperty("families");

    public static TheoryData<string> Names => [.. Families.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Training_InSinglePrecision_LosesAsInPyTorch(string name)
    {
        var expected = Golden(name, "cpu float32");
        var losses = Train(Families.Of(name), expected.Length);
        var tolerance = Math.Max(Tolerance, 4 * Gap(Golden(name, "cuda float32"), expected));

        Assert.True(Gap(losses, expected) <= tolerance, $"{name}: {Gap(losses, expected):G3} of {tolerance:G3}\n{string.Join(" ", losses)}\n{string.Join(" ", expected)}");
    }

    // Two correct bfloat16 runs part by rounding: by as much as PyTorch's own runs on CPU, on GPU and in float32 part from each other, three times over.
    [Theory]
    [MemberData(nameof(Names))]
    public void Training_InBFloat16_StaysWithinPyTorchsOwnSpread(string name)
    {
        var expected = Golden(name, "cpu bfloat16");
        var losses = Train(Families.Of(name), expected.Length, Dtype.BFloat16);
        var spread = Math.Max(Gap(Golden(name, "cuda bfloat16"), expected), Gap(Golden(name, "cpu float32"), expected));

        TestContext.Current.TestOutputHelper!.WriteLine($"{name}: {Gap(losses, expected):G3} of {spread:G3}");
        Assert.True(Gap(losses, expected) <= 3 * spread, $"{name}: {Gap(losses, expected):G3}, spread {spread:G3}");
        // And it was half precision indeed.
        Assert.NotEqual(Train(Families.Of(name), 1)[0], losses[0]);
    }

    internal static double[] Golden(string name, string kind) => [.. s_golden.GetProperty(name).GetProperty(kind).EnumerateArray().Select(e => e.GetDouble())];

    /// <summary>Largest relative difference.</summary>
    internal static double Gap(double[] losses, double[] expected) => losses.Zip(expected, (a, b) => Math.Abs(a - b) / Math.Abs(b)).Max();

    internal static double[] Train(Family family, int steps, Dtype precision = Dtype.Float32)
    {
        using var net = family.Net();
        Noise.Fill(net);
        using var optimizer = family.Optimizer(net);
        var losses = new double[steps];
        for (var step = 0; step < steps; step++)
        {
            using var scope = TensorScope.Open();
            var loss = family.Loss(Forward(family, net, step, precision), step);
            loss.Backward();
            optimizer.Step(family.Rate);
            optimizer.ClearGradients();
            losses[step] = loss.Item();
        }
        return losses;
    }

    private static Tensor Forward(Family family, Module net, int step, Dtype precision)
    {
        if (precision == Dtype.Float32)
        {
            return family.Forward(net, family.Inputs(step));
        }
        using var autocast = Autocast.Enter(DeviceType.Cpu, precision);
        return family.Forward(net, family.Inputs(step)).To(Dtype.Float32);
    }
}
