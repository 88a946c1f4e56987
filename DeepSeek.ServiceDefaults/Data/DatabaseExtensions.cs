using DeepSeek.ServiceDefaults.Data;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Npgsql;

namespace DeepSeek.ServiceDefaults;

public static class DatabaseExtensions
{
    /// <summary>Connections one service opens at most unless its connection string says otherwise.</summary>
    private const int MaxConnections = 16;

    /// <summary>
    /// The service's own database: a pooled context (scoped, and through <see cref="IDbContextFactory{TContext}"/> for background work),
    /// snake_case names, outbox and inbox tables, the embedded <c>Migrations/*.sql</c> applied before the service listens, and a health check.
    /// </summary>
    public static WebApplicationBuilder AddServiceDatabase<TDb>(this WebApplicationBuilder builder, string name) where TDb : DbContext
    {
        var connectionString = builder.Configuration.GetConnectionString(name)
            ?? throw new InvalidOperationException($"Set ConnectionStrings__{name}; the application host injects it with WithReference.");
        var area = builder.Services.Area();
        builder.Services.AddSingleton(_ => NpgsqlDataSource.Create(Complete(connectionString, area.Name)));
        builder.Services.AddPooledDbContextFactory<TDb>((services, options) => options
            .UseNpgsql(services.GetRequiredService<NpgsqlDataSource>())
            .ReplaceService<IModelCustomizer, ServiceModelCustomizer>());
        builder.Services.AddScoped(services => services.GetRequiredService<IDbContextFactory<TDb>>().CreateDbContext());
        builder.Services.AddHostedService<DatabaseMigrator<TDb>>();
        builder.Services.AddHealthChecks().AddCheck<DatabaseHealthCheck>(name);
        return builder;
    }

    internal static ServiceArea Area(this IServiceCollection services) =>
        services.Select(service => service.ImplementationInstance).OfType<ServiceArea>().LastOrDefault()
        ?? throw new InvalidOperationException("Call AddServiceDefaults first.");

    private static string Complete(string connectionString, string area)
    {
        var settings = new NpgsqlConnectionStringBuilder(connectionString) { ApplicationName = area };
        if (!settings.ContainsKey("Maximum Pool Size") || settings.MaxPoolSize == 100)
        {
            settings.MaxPoolSize = MaxConnections;
        }

        settings.Timeout = Math.Min(settings.Timeout, 5);
        settings.KeepAlive = 30;
        return settings.ConnectionString;
    }
}
