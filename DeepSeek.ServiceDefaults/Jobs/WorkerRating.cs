using DeepSeek.Contracts.Devices;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Devices;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>What this machine's devices were rated at (<c>deepseek devices --rate</c>), for Scheduling.</summary>
internal static class WorkerRating
{
    private static readonly Lazy<Dictionary<string, ComputeDevice>> s_present = new(() => new DeviceManager().List().Where(device => device.Usable).DistinctBy(DeviceRating.KeyOf).ToDictionary(DeviceRating.KeyOf));

    /// <summary>The best device's operations a second, in training for training jobs and in inference for others; null where none was rated.</summary>
    public static double? Of(string kind) => Rated().Max(rating => kind == JobKinds.Train ? rating.Training : rating.Inference);

    /// <summary>What each was measured to do, one of a kind.</summary>
    public static IReadOnlyList<RatedDevice> Devices() => [.. Rated().Select(rating => Describe(rating, s_present.Value[rating.Key]))];

    internal static RatedDevice Describe(DeviceRating rating, ComputeDevice device) => new()
    {
        Device = device.Id,
        Name = device.Name,
        FlopRates = rating.FlopRates,
        Bandwidth = rating.Bandwidth,
        CallSeconds = rating.CallSeconds,
        Memory = device.Memory,
    };

    private static IEnumerable<DeviceRating> Rated() => new DeviceRatings().All().Where(rating => s_present.Value.ContainsKey(rating.Key));
}
