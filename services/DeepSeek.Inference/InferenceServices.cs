using DeepSeek.Contracts;
using DeepSeek.Inference.Deployments;
using DeepSeek.Inference.Generation;
using DeepSeek.Inference.Predictions;
using DeepSeek.ServiceDefaults;
using MassTransit;

namespace DeepSeek.Inference;

internal static class InferenceServices
{
    public static void AddInference(this WebApplicationBuilder builder)
    {
        builder.Services.AddOptions<InferenceOptions>().BindConfiguration(InferenceOptions.Section).ValidateDataAnnotations().ValidateOnStart();
        // The comparison repeats itself; long patience with an absent registry would only delay the other deployments.
        builder.AddServiceClient<RegistryClient>(ResourceNames.Registry, client =>
        {
            client.Retries = 1;
            client.AttemptTimeout = TimeSpan.FromSeconds(5);
        });
        builder.Services.AddSingleton<ReconcileSignal>();
        builder.Services.AddSingleton<DeploymentStore>();
        builder.Services.AddScoped<DeploymentReader>();
        builder.Services.AddSingleton<DeploymentTable>();
        builder.Services.AddSingleton<ModelLoader>();
        builder.Services.AddSingleton<CacheBudget>();
        builder.Services.AddHostedService<Reconciler>();
        builder.Services.AddHostedService<ReplicaBeat>();
        builder.Services.AddSingleton<PredictionLog>();
        builder.Services.AddHostedService(services => services.GetRequiredService<PredictionLog>());
        builder.Services.AddHealthChecks().AddCheck<DeploymentsHealthCheck>("deployments");
    }

    /// <summary>A queue per process: every replica hears of every change.</summary>
    public static void AddServingChanges(this IBusRegistrationConfigurator bus) =>
        bus.AddConsumer<ServingChangesConsumer>().Endpoint(endpoint =>
        {
            endpoint.Temporary = true;
            endpoint.InstanceId = Guid.NewGuid().ToString("N");
        });
}
