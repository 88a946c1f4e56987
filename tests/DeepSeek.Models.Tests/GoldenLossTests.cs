using System.Text.Json;
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

    internal static double[] Golden(string name, string kind) => [.. s_golden.GetProperty(name).GetProperty(kind).EnumerateArray().Select(e => e.GetDouble())];

    /// <summary>Largest relative difference.</summary>
    internal static double Gap(double[] losses, double[] expected) => losses.Zip(expected, (a, b) => Math.Abs(a - b) / Math.Abs(b)).Max();

    internal static double[] Train(Family family, int steps)
    {
        using var net = family.Net();
        Noise.Fill(net);
        using var optimizer = family.Optimizer(net);
        var losses = new double[steps];
        for (var step = 0; step < steps; step++)
        {
            using var scope = TensorScope.Open();
            var loss = family.Loss(family.Forward(net, family.Inputs(step)), step);
            loss.Backward();
            optimizer.Step(family.Rate);
            optimizer.ClearGradients();
            losses[step] = loss.Item();
        }
        return losses;
    }
}
