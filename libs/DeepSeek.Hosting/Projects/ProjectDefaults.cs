using System.Net.Sockets;

namespace Aspire.Hosting;

/// <summary>What every project gets: telemetry, console settings, endpoints and environment of its launch profile.</summary>
internal static class ProjectDefaults
{
    public static IResourceBuilder<ProjectResource> Apply(IResourceBuilder<ProjectResource> builder, ChosenLaunchProfile? profile)
    {
        var context = builder.ApplicationBuilder.ExecutionContext;
        builder.WithEnvironment(TelemetryVariables.AddForProject);
        builder.WithOtlpExporter();
        if (context.IsRunMode)
        {
            builder.WithEnvironment("DOTNET_SYSTEM_CONSOLE_ALLOW_ANSI_COLOR_REDIRECTION", "true");
            builder.WithEnvironment("LOGGING__CONSOLE__FORMATTERNAME", "simple");
        }
        else
        {
            builder.WithEnvironment(AddForwardedHeaders);
        }

        if (profile is not null)
        {
            builder.WithAnnotation(profile);
            AddEndpoints(builder, profile, context.IsRunMode);
        }

        builder.WithEnvironment(variables => ProjectUrls.Add(variables, builder.Resource));
        if (profile is not null && context.IsRunMode)
        {
            builder.WithEnvironment(variables => AddProfileVariables(variables, profile));
            AddProfileArguments(builder, profile);
        }

        return builder;
    }

    private static void AddForwardedHeaders(EnvironmentCallbackContext context)
    {
        if (context.Resource.HasAnnotationOfType<EndpointAnnotation>() && !context.Resource.HasAnnotationOfType<DisableForwardedHeadersAnnotation>())
        {
            context.EnvironmentVariables["ASPNETCORE_FORWARDEDHEADERS_ENABLED"] = "true";
        }
    }

    private static void AddEndpoints(IResourceBuilder<ProjectResource> builder, ChosenLaunchProfile profile, bool run)
    {
        var resource = builder.Resource;
        if (!run)
        {
            // A deployed web project has both; the deployment decides about ports.
            if (profile.Urls.Any())
            {
                resource.Annotations.Add(resource.DefaultHttpEndpoint = new EndpointAnnotation(ProtocolType.Tcp, uriScheme: "http"));
                resource.Annotations.Add(resource.DefaultHttpsEndpoint = new EndpointAnnotation(ProtocolType.Tcp, uriScheme: "https") { TlsEnabled = true });
            }

            return;
        }

        var schemes = new Dictionary<string, int>();
        foreach (var url in profile.Urls)
        {
            var count = schemes[url.Scheme] = schemes.GetValueOrDefault(url.Scheme) + 1;
            resource.Annotations.Add(new EndpointAnnotation(ProtocolType.Tcp, uriScheme: url.Scheme, name: count == 1 ? url.Scheme : url.Scheme + count, port: url.Port)
            {
                FromLaunchProfile = true,
                TlsEnabled = url.Scheme == "https",
            });
        }
    }

    private static void AddProfileVariables(EnvironmentCallbackContext context, ChosenLaunchProfile profile)
    {
        context.EnvironmentVariables.TryAdd("DOTNET_LAUNCH_PROFILE", profile.Name);
        foreach (var (name, value) in profile.Profile.EnvironmentVariables)
        {
            context.EnvironmentVariables.TryAdd(name, Environment.ExpandEnvironmentVariables(value));
        }
    }

    private static void AddProfileArguments(IResourceBuilder<ProjectResource> builder, ChosenLaunchProfile profile)
    {
        if (!string.IsNullOrWhiteSpace(profile.Profile.CommandLineArgs))
        {
            builder.WithArgs(CommandLine.Split(profile.Profile.CommandLineArgs));
        }
    }
}
