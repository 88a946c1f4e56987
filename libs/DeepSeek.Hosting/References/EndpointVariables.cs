namespace Aspire.Hosting;

/// <summary>The variables that tell a resource where the endpoints of another one are.</summary>
internal static class EndpointVariables
{
    public static void Add(EnvironmentCallbackContext context, EndpointReferenceAnnotation reference, string? name, ReferenceEnvironmentInjectionFlags flags)
    {
        var variables = context.EnvironmentVariables;
        var service = name ?? reference.Resource.Name;
        var prefix = VariableName.Encode(name ?? service.ToUpperInvariant());
        foreach (var endpoint in reference.Resource.GetEndpoints())
        {
            var wanted = reference.EndpointNames.Contains(endpoint.EndpointName) || (reference.UseAllEndpoints && !endpoint.ExcludeReferenceEndpoint);
            if (!wanted)
            {
                continue;
            }

            if (flags.HasFlag(ReferenceEnvironmentInjectionFlags.Endpoints))
            {
                variables[$"{prefix}_{VariableName.Encode(endpoint.EndpointName).ToUpperInvariant()}"] = endpoint;
            }

            if (flags.HasFlag(ReferenceEnvironmentInjectionFlags.ServiceDiscovery))
            {
                variables[FreeKey(variables, service, endpoint)] = endpoint;
            }
        }
    }

    private static string FreeKey(Dictionary<string, object> variables, string service, EndpointReference endpoint)
    {
        // Endpoints called http or https are found by their scheme, others by their name.
        var key = endpoint.IsHttpSchemeNamedEndpoint ? endpoint.Scheme : endpoint.EndpointName;
        var index = 0;
        while (variables.ContainsKey($"services__{service}__{key}__{index}"))
        {
            index++;
        }

        return $"services__{service}__{key}__{index}";
    }
}

internal static class VariableName
{
    /// <summary>Replaces what a variable's name cannot hold by underscores.</summary>
    public static string Encode(string name)
    {
        var encoded = new string([.. name.Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_')]);
        return encoded.Length > 0 && char.IsAsciiDigit(encoded[0]) ? '_' + encoded : encoded;
    }
}
