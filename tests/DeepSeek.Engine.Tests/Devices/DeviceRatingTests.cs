using DeepSeek.Devices;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Devices;

public sealed class DeviceRatingTests : IDisposable
{
    private static readonly ComputeDevice s_device = new() { Id = "cpu", Vendor = DeviceVendor.Host, Name = "A processor", Memory = 24L << 30, Cores = 2, Usable = true, Runs = "everything" };
    private readonly string _folder = Directory.CreateTempSubdirectory("deepseek-rating-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Rate_OfTheProcessors_MeasuresEveryWorkloadAndIsKept()
    {
        var now = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
        var ratings = new DeviceRatings(_folder);

        var rating = new DeviceBenchmark(Device.Cpu).Rate(s_device, now, seconds: 0.01);
        ratings.Save(rating);

        Assert.Equal(
            ["attention inference", "attention training", "convolution inference", "convolution training", "copy copy", "matmul inference", "matmul training"],
            rating.Workloads.Select(w => $"{w.Workload} {w.Mode}").Order(StringComparer.Ordinal));
        // Between a thousandth and a thousand times what two cores do: units are right.
        Assert.All(rating.Workloads, w => Assert.InRange(w.Rate, 1e7, 1e13));
        Assert.All(rating.Workloads, w => Assert.True(w.Best >= w.Rate && w.Runs >= 5 && w.Spread >= 0));
        Assert.InRange(rating.CallSeconds, 1e-8, 1e-2);
        var found = ratings.Find(s_device)!;
        Assert.Equal((now, EngineRuntime.Threads, rating.Training, rating.Inference), (found.At, found.Threads!.Value, found.Training, found.Inference));
        Assert.Equal(rating.Workloads, found.Workloads);
        Assert.Null(ratings.Find(s_device with { Cores = 4 }));
        Assert.Single(ratings.All());
    }

    [Fact]
    public void Scores_AreGeometricMeansOfTheBestTypes()
    {
        var rating = Rating(("matmul", "training", "float32", 1e9), ("matmul", "training", "bfloat16", 8e9), ("convolution", "training", "float32", 1e9), ("attention", "training", "float32", 1e9),
            ("matmul", "inference", "float32", 1e9));

        Assert.Equal(2e9, rating.Training!.Value, 1);
        Assert.Null(rating.Inference);
    }

    [Fact]
    public void Roof_OfARating_IsTheBestOfEachType()
    {
        var roof = DeviceBenchmark.Roof(Rating(("matmul", "inference", "float32", 1e9), ("convolution", "inference", "float32", 3e9), ("copy", "copy", "float32", 5e9)));

        Assert.Equal(6e9, roof.FlopRate("float32"));
        Assert.Equal(10e9, roof.Bandwidth);
        Assert.Null(roof.FlopRate("float16"));
        Assert.Equal("rating of A processor, 2026-01-01", roof.Source);
        // 6 GFLOP at 6 GFLOP/s against 5 GB at 10 GB/s.
        Assert.Equal(1, roof.RoofSeconds(new Work(6e9, 5e9), "float32"));
        Assert.True(roof.IsArithmetic(new Work(6e9, 5e9), "float32"));
        Assert.Equal(0.5, roof.RoofSeconds(new Work(null, 5e9), "float32"));
    }

    [Fact]
    public void Key_FollowsHardwareAndDriverAlone()
    {
        var key = DeviceRating.KeyOf(s_device);

        Assert.Equal(key, DeviceRating.KeyOf(s_device with { FreeMemory = 5, Id = "cpu:1" }));
        Assert.NotEqual(key, DeviceRating.KeyOf(s_device with { Driver = "nvidia 1" }));
        Assert.NotEqual(key, DeviceRating.KeyOf(s_device with { Name = "Another" }));
    }

    [Fact]
    public void Find_DamagedFile_IsNoRating()
    {
        File.WriteAllText(Path.Combine(_folder, $"{DeviceRating.KeyOf(s_device)}.json"), "{\"format\":");

        Assert.Null(new DeviceRatings(_folder).Find(s_device));
        Assert.Empty(new DeviceRatings(Path.Combine(_folder, "nowhere")).All());
    }

    private static DeviceRating Rating(params (string Workload, string Mode, string Type, double Rate)[] workloads) => new()
    {
        Device = "cpu",
        Name = "A processor",
        Key = "0",
        At = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero),
        Libtorch = "1.13.1",
        CallSeconds = 1e-6,
        Workloads = [.. workloads.Select(w => new RatedWorkload(w.Workload, w.Mode, w.Type, w.Rate, 2 * w.Rate, 0, 5, w.Workload == "copy" ? "B/s" : "FLOP/s", ""))],
    };
}
