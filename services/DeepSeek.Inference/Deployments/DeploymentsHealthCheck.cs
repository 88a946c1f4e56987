using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace DeepSeek.Inference.Deployments;

/// <summary>Healthy once the deployments known at start have been loaded or have failed; a model that fails is its own matter.</summary>
internal sealed class DeploymentsHealthCheck(DeploymentTable table) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken) =>
        Task.FromResult(table.Settled
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Unhealthy("Models are still being loaded."));
}
