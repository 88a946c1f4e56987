using DeepSeek.Registry.Audit;
using DeepSeek.Registry.Blobs;
using DeepSeek.Registry.Models;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Registry;

internal static class RegistryServices
{
    public static void AddRegistry(this WebApplicationBuilder builder)
    {
        var data = builder.DataDirectory("registry");
        builder.Services.AddOptions<RegistryOptions>().BindConfiguration(RegistryOptions.Section)
            .PostConfigure(options => options.BlobDirectory ??= Path.Combine(data, "blobs"))
            .ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddSingleton<BlobFiles>();
        builder.Services.AddScoped<BlobStore>();
        builder.Services.AddScoped<BlobCollector>();
        builder.Services.AddHostedService<CollectorService>();
        builder.Services.AddHealthChecks().AddCheck<BlobHealthCheck>("blobs");

        builder.Services.AddSingleton<AuditChain>();
        builder.Services.AddSingleton<AuditLog>();
        builder.Services.AddSingleton<AuditAnchor>();
        builder.Services.AddSingleton<AuditVerifier>();
        builder.Services.AddHostedService<AuditAnchorService>();

        builder.Services.AddSingleton<ArtifactChecks>();
        builder.Services.AddScoped<VersionRegistrar>();
        builder.Services.AddScoped<ModelQueries>();
        builder.Services.AddScoped<AliasChanges>();
        builder.Services.AddScoped<Deletion>();
        builder.Services.AddScoped<Lineage>();
    }
}
