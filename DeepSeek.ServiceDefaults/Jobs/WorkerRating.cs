using DeepSeek.Contracts.Jobs;
using DeepSeek.Devices;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>What this machine's devices were rated at (<c>deepseek devices --rate</c>), for Scheduling.</summary>
internal static class WorkerRating
{
    private static readonly Lazy<HashSet<string>> s_present = new(() => [.. new DeviceManager().List().Where(device => device.Usable).Select(DeviceRating.KeyOf)]);

    /// <summary>The best device's operations a second, in training for training jobs and in inference for others; null where none was rated.</summary>
    public static double? Of(string kind) =>
        new DeviceRatings().All().Where(rating => s_present.Value.Contains(rating.Key)).Max(rating => kind == JobKinds.Train ? rating.Training : rating.Inference);
}
