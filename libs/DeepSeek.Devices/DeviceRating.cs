using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Serialization;

namespace DeepSeek.Devices;

/// <summary>One workload of a rating.</summary>
/// <param name="Workload">matmul, convolution, attention or copy.</param>
/// <param name="Mode">inference (forward alone) or training (forward and backward); copy is neither and says copy.</param>
/// <param name="Type">Element type, such as float32.</param>
/// <param name="Rate">Median of the runs, in <paramref name="Unit"/>.</param>
/// <param name="Best">Fastest run.</param>
/// <param name="Spread">Half the distance between the quartiles over the median.</param>
/// <param name="Runs">Runs.</param>
/// <param name="Unit">FLOP/s or B/s.</param>
/// <param name="Shape">What was computed.</param>
public sealed record RatedWorkload(string Workload, string Mode, string Type, double Rate, double Best, double Spread, int Runs, string Unit, string Shape);

/// <summary>What a device was measured to do; format <c>deepseek.rating/1</c>.</summary>
public sealed record DeviceRating
{
    /// <summary>Version of the document.</summary>
    public string Format { get; init; } = "deepseek.rating/1";

    /// <summary>The device's id when it was rated, such as cpu or cuda:0.</summary>
    public required string Device { get; init; }

    /// <summary>Product.</summary>
    public required string Name { get; init; }

    /// <summary>What must not change for the rating to hold: see <see cref="KeyOf"/>.</summary>
    public required string Key { get; init; }

    /// <summary>When it was rated.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Threads of the CPU that took part; null on other devices.</summary>
    public int? Threads { get; init; }

    /// <summary>Version of libtorch that computed.</summary>
    public required string Libtorch { get; init; }

    /// <summary>Seconds that a call takes with next to nothing to do.</summary>
    public required double CallSeconds { get; init; }

    /// <summary>What was measured.</summary>
    public required IReadOnlyList<RatedWorkload> Workloads { get; init; }

    /// <summary>One number to compare devices by: geometric mean of the training workloads' best element type, in FLOP/s; null when one of the three was not measured.</summary>
    public double? Training => Score("training");

    /// <summary>The same for inference.</summary>
    public double? Inference => Score("inference");

    /// <summary>Most operations a second, by element type such as float32.</summary>
    [JsonIgnore]
    public IReadOnlyDictionary<string, double> FlopRates => Workloads.Where(w => w.Unit == "FLOP/s").GroupBy(w => w.Type).ToDictionary(g => g.Key, g => g.Max(w => w.Best));

    /// <summary>Most bytes a second of a copy, reads and writes together.</summary>
    [JsonIgnore]
    public double Bandwidth => Workloads.Single(w => w.Workload == "copy").Best;

    /// <summary>Sixteen hexadecimal digits that stay while hardware and driver do: maker, product, capability, memory, cores, driver.</summary>
    public static string KeyOf(ComputeDevice device)
    {
        var facts = string.Create(CultureInfo.InvariantCulture, $"{device.Vendor}|{device.VendorId}|{device.Name}|{device.Capability}|{device.Memory >> 30}|{device.Cores}|{device.Driver}");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(facts)))[..16];
    }

    private double? Score(string mode)
    {
        var product = 1.0;
        foreach (var workload in (string[])["matmul", "convolution", "attention"])
        {
            var rates = Workloads.Where(w => w.Workload == workload && w.Mode == mode).Select(w => w.Rate).ToList();
            if (rates.Count == 0)
            {
                return null;
            }
            product *= rates.Max();
        }
        return Math.Cbrt(product);
    }
}
