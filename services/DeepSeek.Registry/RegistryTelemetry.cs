using System.Diagnostics.Metrics;

namespace DeepSeek.Registry;

internal static class RegistryTelemetry
{
    private static readonly Meter s_meter = new("DeepSeek.Registry");

    public static readonly Counter<long> StoredBytes =
        s_meter.CreateCounter<long>("deepseek.registry.blob.stored", "By", "Bytes of new blobs.");

    public static readonly Counter<long> FreedBytes =
        s_meter.CreateCounter<long>("deepseek.registry.blob.freed", "By", "Bytes the collector deleted.");

    public static readonly Counter<long> Versions =
        s_meter.CreateCounter<long>("deepseek.registry.version.registered", "{version}", "Model versions registered.");

    public static readonly Counter<long> AliasMoves =
        s_meter.CreateCounter<long>("deepseek.registry.alias.moved", "{move}", "Aliases moved or removed.");
}
