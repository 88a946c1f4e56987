using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests;

/// <summary>The declared requirement of tests that need a GPU: skipped without one, failed where DEEPSEEK_REQUIRE_GPU=1 promises one.</summary>
internal static class Gpu
{
    internal static Device Require()
    {
        if (EngineRuntime.CudaDevices > 0)
        {
            return Device.Cuda();
        }
        if (Environment.GetEnvironmentVariable("DEEPSEEK_REQUIRE_GPU") == "1")
        {
            Assert.Fail("DEEPSEEK_REQUIRE_GPU is 1, but libtorch sees no GPU here.");
        }
        Assert.Skip("Needs an NVIDIA GPU and a native library built with CUDA.");
        return default;
    }

    /// <summary>The devices of a test that runs everywhere: the CPU, and the GPU where there is one.</summary>
    public static TheoryData<string> Devices()
    {
        var devices = new TheoryData<string> { "cpu" };
        if (EngineRuntime.CudaDevices > 0 || Environment.GetEnvironmentVariable("DEEPSEEK_REQUIRE_GPU") == "1")
        {
            devices.Add("cuda:0");
        }
        return devices;
    }
}
