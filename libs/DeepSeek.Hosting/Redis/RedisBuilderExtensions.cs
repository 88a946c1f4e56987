using System.Globalization;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting;

/// <summary>Adds Redis servers.</summary>
public static class RedisBuilderExtensions
{
    private const int Port = 6379;

    /// <summary>Adds a server with a generated password.</summary>
    public static IResourceBuilder<RedisResource> AddRedis(this IDistributedApplicationBuilder builder, string name, int? port)
        => builder.AddRedis(name, port, password: null);

    /// <summary>Adds a server with a generated password unless one is given.</summary>
    public static IResourceBuilder<RedisResource> AddRedis(this IDistributedApplicationBuilder builder, string name, int? port = null, IResourceBuilder<ParameterResource>? password = null)
    {
        var passwordParameter = password?.Resource ?? ParameterResourceBuilderExtensions.CreateDefaultPasswordParameter(builder, $"{name}-password", special: false);
        var server = new RedisResource(name, passwordParameter);
        builder.Services.AddHealthChecks().Add(new HealthCheckRegistration($"{name}_check", _ => new RedisHealthCheck(server), failureStatus: null, tags: null));
        return builder.AddResource(server)
            .WithEndpoint(port: port, targetPort: Port, name: RedisResource.PrimaryEndpointName, scheme: "redis")
            .WithImage("library/redis", "8.6").WithImageRegistry("docker.io")
            .WithHealthCheck($"{name}_check")
            .WithEntrypoint("/bin/sh")
            .WithEnvironment(context =>
            {
                if (server.PasswordParameter is { } parameter)
                {
                    context.EnvironmentVariables["REDIS_PASSWORD"] = parameter;
                }
            })
            .WithArgs(context => AddCommand(context.Args, server))
            .WithAnnotation(new LocalServerAnnotation(services => new RedisRunner(server, services.GetRequiredService<LocalData>())));
    }

    /// <summary>Sets or takes away the password.</summary>
    public static IResourceBuilder<RedisResource> WithPassword(this IResourceBuilder<RedisResource> builder, IResourceBuilder<ParameterResource>? password)
    {
        builder.Resource.PasswordParameter = password?.Resource;
        return builder;
    }

    /// <summary>Writes the data to disk after <paramref name="interval"/> (60 s) if that many keys changed.</summary>
    public static IResourceBuilder<RedisResource> WithPersistence(this IResourceBuilder<RedisResource> builder, TimeSpan? interval = null, long keysChangedThreshold = 1)
        => builder.WithAnnotation(new RedisPersistenceAnnotation(interval, keysChangedThreshold), ResourceAnnotationMutationBehavior.Replace);

    /// <summary>Keeps the data in a volume.</summary>
    public static IResourceBuilder<RedisResource> WithDataVolume(this IResourceBuilder<RedisResource> builder, string? name = null, bool isReadOnly = false)
        => builder.WithVolume(name ?? VolumeName.Of(builder, "data"), "/data", isReadOnly).WithDefaultPersistence(isReadOnly);

    /// <summary>Keeps the data in a folder of the machine.</summary>
    public static IResourceBuilder<RedisResource> WithDataBindMount(this IResourceBuilder<RedisResource> builder, string source, bool isReadOnly = false)
        => builder.WithBindMount(source, "/data", isReadOnly).WithDefaultPersistence(isReadOnly);

    /// <summary>Sets the public port; null: a free one.</summary>
    public static IResourceBuilder<RedisResource> WithHostPort(this IResourceBuilder<RedisResource> builder, int? port)
        => builder.WithEndpoint(RedisResource.PrimaryEndpointName, endpoint => endpoint.Port = port);

    private static IResourceBuilder<RedisResource> WithDefaultPersistence(this IResourceBuilder<RedisResource> builder, bool isReadOnly)
        => isReadOnly || builder.Resource.HasAnnotationOfType<RedisPersistenceAnnotation>() ? builder : builder.WithPersistence();

    // One shell command, so that the password comes from the environment and is not on the command line of the image.
    private static void AddCommand(IList<object> args, RedisResource server)
    {
        var words = new List<string> { "redis-server" };
        if (server.PasswordParameter is not null)
        {
            words.AddRange(["--requirepass", "$REDIS_PASSWORD"]);
        }

        if (server.TryGetLastAnnotation<RedisPersistenceAnnotation>(out var persistence))
        {
            var seconds = (persistence.Interval ?? TimeSpan.FromSeconds(60)).TotalSeconds.ToString(CultureInfo.InvariantCulture);
            words.AddRange(["--save", seconds, persistence.KeysChangedThreshold.ToString(CultureInfo.InvariantCulture)]);
        }

        args.Add("-c");
        args.Add(string.Join(' ', words));
    }
}
