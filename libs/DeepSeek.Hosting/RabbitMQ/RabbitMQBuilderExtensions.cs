using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting;

/// <summary>Adds RabbitMQ brokers.</summary>
public static class RabbitMQBuilderExtensions
{
    private const int AmqpPort = 5672;
    private const int ManagementPort = 15672;

    /// <summary>Adds a broker with a generated password unless one is given.</summary>
    public static IResourceBuilder<RabbitMQServerResource> AddRabbitMQ(this IDistributedApplicationBuilder builder, string name, IResourceBuilder<ParameterResource>? userName = null, IResourceBuilder<ParameterResource>? password = null, int? port = null)
    {
        var passwordParameter = password?.Resource ?? ParameterResourceBuilderExtensions.CreateDefaultPasswordParameter(builder, $"{name}-password", special: false);
        var broker = new RabbitMQServerResource(name, userName?.Resource, passwordParameter);
        builder.Services.AddHealthChecks().Add(new HealthCheckRegistration($"{name}_check", _ => new RabbitMQHealthCheck(broker), failureStatus: null, tags: null));
        return builder.AddResource(broker)
            .WithImage("library/rabbitmq", "4.3").WithImageRegistry("docker.io")
            .WithEndpoint(port: port, targetPort: AmqpPort, name: RabbitMQServerResource.PrimaryEndpointName)
            .WithEnvironment(context =>
            {
                context.EnvironmentVariables["RABBITMQ_DEFAULT_USER"] = broker.UserNameReference;
                context.EnvironmentVariables["RABBITMQ_DEFAULT_PASS"] = broker.PasswordParameter;
            })
            .WithHealthCheck($"{name}_check")
            .WithAnnotation(new LocalServerAnnotation(services => new RabbitMQRunner(broker, services.GetRequiredService<LocalData>())));
    }

    /// <summary>Switches the management plugin on.</summary>
    public static IResourceBuilder<RabbitMQServerResource> WithManagementPlugin(this IResourceBuilder<RabbitMQServerResource> builder)
        => builder.WithManagementPlugin(port: null);

    /// <summary>Switches the management plugin on, with a public port; null: a free one.</summary>
    public static IResourceBuilder<RabbitMQServerResource> WithManagementPlugin(this IResourceBuilder<RabbitMQServerResource> builder, int? port)
    {
        if (builder.Resource.TryGetLastAnnotation<ContainerImageAnnotation>(out var image) && image.Tag?.Contains("-management", StringComparison.Ordinal) != true)
        {
            image.Tag += "-management";
        }

        return builder.WithHttpEndpoint(port: port, targetPort: ManagementPort, name: RabbitMQServerResource.ManagementEndpointName);
    }

    /// <summary>Keeps the data in a volume. As a local process the broker always keeps it in the data folder.</summary>
    public static IResourceBuilder<RabbitMQServerResource> WithDataVolume(this IResourceBuilder<RabbitMQServerResource> builder, string? name = null, bool isReadOnly = false)
        => builder.WithVolume(name ?? VolumeName.Of(builder, "data"), "/var/lib/rabbitmq", isReadOnly).WithNodeName();

    /// <summary>Keeps the data in a folder of the machine, in deployments to containers.</summary>
    public static IResourceBuilder<RabbitMQServerResource> WithDataBindMount(this IResourceBuilder<RabbitMQServerResource> builder, string source, bool isReadOnly = false)
        => builder.WithBindMount(source, "/var/lib/rabbitmq", isReadOnly).WithNodeName();

    // RabbitMQ names its data folder after the node, which must therefore not change with the container's host name.
    private static IResourceBuilder<RabbitMQServerResource> WithNodeName(this IResourceBuilder<RabbitMQServerResource> builder)
        => builder.WithEnvironment("RABBITMQ_NODENAME", $"{builder.Resource.Name}@localhost");
}
