using DeepSeek.ServiceDefaults.Messaging;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults;

public static class MessagingExtensions
{
    private static readonly TimeSpan[] s_quickRetries =
        [TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(500), TimeSpan.FromSeconds(2)];

    /// <summary>
    /// MassTransit over RabbitMQ and the dispatcher of <typeparamref name="TDb"/>'s outbox. Endpoints are named
    /// <c>&lt;area&gt;-&lt;consumer&gt;</c>; a fault of the surroundings (database, broker, peer away) is retried for some minutes, any other
    /// three times; then the message moves to the queue's <c>_error</c>.
    /// </summary>
    public static WebApplicationBuilder AddMessaging<TDb>(
        this WebApplicationBuilder builder, string name, Action<IBusRegistrationConfigurator> configure)
        where TDb : DbContext
    {
        var connectionString = builder.Configuration.GetConnectionString(name)
            ?? throw new InvalidOperationException($"Set ConnectionStrings__{name}; the application host injects it with WithReference.");
        var area = builder.Services.Area();
        builder.Services.AddOptions<OutboxOptions>().BindConfiguration(OutboxOptions.Section).ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddHostedService<OutboxDispatcher<TDb>>();
        builder.Services.AddOptions<MassTransitHostOptions>().Configure(host => host.StopTimeout = TimeSpan.FromSeconds(4));
        builder.Services.AddMassTransit(bus =>
        {
            bus.DisableUsageTelemetry();
            bus.SetEndpointNameFormatter(new KebabCaseEndpointNameFormatter(area.Name, includeNamespace: false));
            configure(bus);
            bus.UsingRabbitMq((context, rabbit) =>
            {
                rabbit.Host(new Uri(connectionString), area.Name);
                rabbit.PrefetchCount = 16;
                rabbit.UseMessageRetry(retry =>
                {
                    retry.Handle<Exception>(Transients.Includes);
                    retry.Exponential(10, TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(30), TimeSpan.FromMilliseconds(200));
                });
                rabbit.UseMessageRetry(retry =>
                {
                    retry.Ignore<Exception>(Transients.Includes);
                    retry.Intervals(s_quickRetries);
                });
                foreach (var endpoint in context.GetServices<BusEndpoint>())
                {
                    endpoint.Configure(context, rabbit);
                }

                rabbit.ConfigureEndpoints(context);
            });
        });
        return builder;
    }

    /// <summary>Adds receive endpoints that are not named by convention; may be called before or after AddMessaging.</summary>
    public static IServiceCollection AddBusEndpoint(
        this IServiceCollection services, Action<IBusRegistrationContext, IRabbitMqBusFactoryConfigurator> configure) =>
        services.AddSingleton(new BusEndpoint(configure));

    private sealed record BusEndpoint(Action<IBusRegistrationContext, IRabbitMqBusFactoryConfigurator> Configure);
}
