namespace Aspire.Hosting;

/// <summary>Tells a project where to listen.</summary>
internal static class ProjectUrls
{
    public static void Add(EnvironmentCallbackContext context, ProjectResource project)
    {
        var filters = project.Annotations.OfType<EndpointEnvironmentFilterAnnotation>().ToArray();
        var endpoints = project.Annotations.OfType<EndpointAnnotation>()
            .Where(endpoint => endpoint.UriScheme is "http" or "https" && filters.All(filter => filter.Filter(endpoint)))
            .ToArray();
        if (context.ExecutionContext.IsPublishMode)
        {
            AddPorts(context, project, endpoints, "http", "HTTP_PORTS");
            AddPorts(context, project, endpoints, "https", "HTTPS_PORTS");
            return;
        }

        if (endpoints.Length > 0 && !context.EnvironmentVariables.ContainsKey("ASPNETCORE_URLS"))
        {
            context.EnvironmentVariables["ASPNETCORE_URLS"] = Join(endpoints, (urls, endpoint) =>
            {
                urls.AppendLiteral($"{endpoint.UriScheme}://{endpoint.TargetHost}:");
                urls.AppendFormatted(TargetPort(project, endpoint));
            });
        }

        if (endpoints.FirstOrDefault(endpoint => endpoint.UriScheme == "https") is { } https)
        {
            context.EnvironmentVariables.TryAdd("ASPNETCORE_HTTPS_PORT", new EndpointReference(project, https).Property(EndpointProperty.Port));
        }
    }

    // Whoever deploys ends TLS in front of the default https endpoint.
    private static void AddPorts(EnvironmentCallbackContext context, ProjectResource project, EndpointAnnotation[] endpoints, string scheme, string variable)
    {
        var own = endpoints.Where(endpoint => endpoint.UriScheme == scheme && endpoint != project.DefaultHttpsEndpoint).ToArray();
        if (own.Length > 0)
        {
            context.EnvironmentVariables[variable] = Join(own, (ports, endpoint) => ports.AppendFormatted(TargetPort(project, endpoint)));
        }
    }

    private static ReferenceExpression Join(EndpointAnnotation[] endpoints, Action<ReferenceExpressionBuilder, EndpointAnnotation> append)
    {
        var builder = new ReferenceExpressionBuilder();
        foreach (var endpoint in endpoints)
        {
            if (!builder.IsEmpty)
            {
                builder.AppendLiteral(";");
            }

            append(builder, endpoint);
        }

        return builder.Build();
    }

    private static EndpointReferenceExpression TargetPort(ProjectResource project, EndpointAnnotation endpoint)
        => new EndpointReference(project, endpoint).Property(EndpointProperty.TargetPort);
}
