using DeepSeek.Trainer;

namespace DeepSeek.Engine.Tests.Trainer;

public sealed class HostMemoryTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("host-memory-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void Limit_MachineAndGroup_TakesTheLesserWithAMargin()
    {
        Put("proc/meminfo", "MemTotal:       9000 kB\nMemFree: 1 kB\nMemAvailable:    4000 kB\n");
        Assert.Equal((long)(0.95 * 4000 * 1024), HostMemory.Limit(_root));

        Put("sys/fs/cgroup/memory.max", "2000000\n");
        Put("sys/fs/cgroup/memory.current", "500000\n");
        Assert.Equal((long)(0.95 * 1_500_000), HostMemory.Limit(_root));

        Put("sys/fs/cgroup/memory.max", "max\n");
        Assert.Equal((long)(0.95 * 4000 * 1024), HostMemory.Limit(_root));
    }

    [Fact]
    public void Limit_NothingKnown_IsNone() => Assert.Equal(0, HostMemory.Limit(_root));

    private void Put(string path, string text)
    {
        path = Path.Combine(_root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }
}
