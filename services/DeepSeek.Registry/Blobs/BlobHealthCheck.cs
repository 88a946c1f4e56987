using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;

namespace DeepSeek.Registry.Blobs;

/// <summary>Degraded when uploads would be refused for want of room: reads still work.</summary>
internal sealed class BlobHealthCheck(BlobFiles files, IOptions<RegistryOptions> options) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var free = new DriveInfo(files.Root).AvailableFreeSpace;
        return Task.FromResult(free > options.Value.ReserveBytes
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Degraded($"The disk of {files.Root} has {free} bytes left; uploads are refused below {options.Value.ReserveBytes}."));
    }
}
