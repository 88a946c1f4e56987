using DeepSeek.Contracts.Jobs;
using MassTransit;
using Microsoft.Extensions.Options;

namespace DeepSeek.ServiceDefaults.Jobs;

public static class JobWorkerExtensions
{
    /// <summary>
    /// Lets this process run jobs of <paramref name="kind"/>: listens to the kind's queue, holds the leases, runs a new
    /// <typeparamref name="THandler"/> for each, and gives them back in order when the process stops. Needs AddMessaging.
    /// </summary>
    public static WebApplicationBuilder AddJobWorker<THandler>(this WebApplicationBuilder builder, string kind)
        where THandler : class, IJobHandler
    {
        builder.Services.AddOptions<JobWorkerOptions>(kind)
            .BindConfiguration(JobWorkerOptions.Section).BindConfiguration($"{JobWorkerOptions.Section}:{kind}")
            .ValidateDataAnnotations().ValidateOnStart();
        if (builder.Services.All(service => service.ServiceType != typeof(LeaseClient)))
        {
            // The worker repeats its calls by itself, for as long as they make sense.
            builder.AddServiceClient<LeaseClient>("scheduling", client => (client.AttemptTimeout, client.Retries) = (TimeSpan.FromSeconds(5), 1));
        }
        builder.Services.AddScoped<THandler>();
        builder.Services.AddSingleton(services => new JobRunner(
            services.GetRequiredService<IServiceScopeFactory>(),
            scope => scope.GetRequiredService<THandler>(),
            kind,
            services.GetRequiredService<IOptionsMonitor<JobWorkerOptions>>().Get(kind),
            services.GetRequiredService<TimeProvider>(),
            services.GetRequiredService<ILogger<JobRunner>>()));
        builder.Services.AddSingleton<IHostedService>(services => new JobWorker(
            services.Runner(kind),
            services.GetRequiredService<IBus>(),
            services.GetRequiredService<IOptionsMonitor<JobWorkerOptions>>().Get(kind),
            services.GetRequiredService<TimeProvider>(),
            services.GetRequiredService<ILogger<JobWorker>>()));
        builder.Services.AddBusEndpoint((context, rabbit) => rabbit.ReceiveEndpoint(JobKinds.Queue(kind), endpoint =>
        {
            var runner = context.Runner(kind);
            // Scheduling sends to this queue by name; bound to the message type it would get every kind's jobs.
            endpoint.ConfigureConsumeTopology = false;
            endpoint.Handler<RunJob>(offer =>
            {
                runner.Offer(offer.Message);
                return Task.CompletedTask;
            });
        }));
        return builder;
    }

    /// <summary>Not a keyed service: the bus registration's provider has no keys.</summary>
    private static JobRunner Runner(this IServiceProvider services, string kind) =>
        services.GetServices<JobRunner>().Single(runner => runner.Kind == kind);
}
