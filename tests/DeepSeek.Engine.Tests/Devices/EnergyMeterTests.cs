using System.Diagnostics;
using DeepSeek.Devices;

namespace DeepSeek.Engine.Tests.Devices;

public sealed class EnergyMeterTests : IDisposable
{
    // NVML's calls as its header declares them, over one GPU whose counter gains 9 kJ with every reading.
    private const string FakeLibrary = """
        #include <string.h>
        int nvmlInit_v2(void) { return 0; }
        int nvmlDeviceGetHandleByPciBusId_v2(const char* bus, void** device) { *device = (void*)1; return strcmp(bus, "0000:81:00.0") ? 6 : 0; }
        int nvmlDeviceGetName(void* device, char* name, unsigned length) { strncpy(name, "Fake GPU", length); return 0; }
        int nvmlDeviceGetMemoryInfo(void* device, unsigned long long* m) { m[0] = 100; m[1] = 60; m[2] = 40; return 0; }
        int nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) { *major = 9; *minor = 0; return 0; }
        int nvmlDeviceGetNvLinkState(void* device, unsigned link, unsigned* active) { *active = link == 2 || link == 3; return link < 4 ? 0 : 2; }
        int nvmlDeviceGetNvLinkRemotePciInfo_v2(void* device, unsigned link, char* info) { ((unsigned*)(info + 16))[0] = 0; ((unsigned*)(info + 16))[1] = 0xc1; ((unsigned*)(info + 16))[2] = link == 2; return 0; }
        int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* energy) { static unsigned long long counted = 1000; *energy = counted += 9000000; return 0; }
        """;

    private readonly string _folder = Directory.CreateTempSubdirectory("deepseek-energy-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Read_OfACountedWindow_IsItsJoules()
    {
        var library = NvidiaLibrary.Open(Compile())!;
        var clock = new Clock();
        var meter = new EnergyMeter(() => library.FactsOf("0000:81:00.0")?.Millijoules, clock);

        clock.Now = 45 * Clock.Second;
        var reading = meter.Read()!;

        Assert.Equal(9000, reading.Joules);
        Assert.Equal(45, reading.Seconds);
        Assert.Equal(200, reading.Watts);
        var facts = library.FactsOf("0000:81:00.0")!;
        Assert.Equal(new NvidiaFacts("Fake GPU", new Version(9, 0), 100, 60, null), facts with { Millijoules = null, NvLinks = null });
        Assert.Equal(["0000:c1:01.0", "0000:c1:00.0"], facts.NvLinks);
        Assert.Null(library.FactsOf("0000:82:00.0"));
    }

    [Theory]
    [InlineData(29.9, 0L, 500L)]
    [InlineData(60, null, null)]
    [InlineData(60, 500L, 0L)]
    public void Read_OfAShortOrUncountedWindow_IsNull(double seconds, long? from, long? to)
    {
        var clock = new Clock();
        var values = new Queue<long?>([from, to]);
        var meter = new EnergyMeter(values.Dequeue, clock);

        clock.Now = (long)(seconds * Clock.Second);

        Assert.Null(meter.Read());
    }

    [Fact]
    public void Of_TheCpu_HasNoCounter() => Assert.Null(new EnergyMeter(() => null, TimeProvider.System).Read() ?? EnergyMeter.Of("cpu", TimeProvider.System).Read());

    private string Compile()
    {
        var (source, library) = (Path.Combine(_folder, "nvml.c"), Path.Combine(_folder, "libfake-nvml.so"));
        File.WriteAllText(source, FakeLibrary);
        using var compiler = Process.Start(new ProcessStartInfo("cc", ["-shared", "-fPIC", "-o", library, source]) { RedirectStandardError = true })!;
        var said = compiler.StandardError.ReadToEnd();
        compiler.WaitForExit();
        Assert.True(compiler.ExitCode == 0, said);
        return library;
    }

    private sealed class Clock : TimeProvider
    {
        internal const long Second = 10_000_000;
        internal long Now;
        public override long TimestampFrequency => Second;
        public override long GetTimestamp() => Now;
    }
}
