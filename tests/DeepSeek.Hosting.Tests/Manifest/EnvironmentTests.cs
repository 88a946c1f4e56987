using System.Text.RegularExpressions;

namespace DeepSeek.Hosting.Tests;

public sealed partial class EnvironmentTests
{
    private const string Password = "password";

    [Theory]
    [InlineData("scheduling")]
    [InlineData("registry")]
    [InlineData("training")]
    [InlineData("inference")]
    [InlineData("gateway")]
    public async Task Environment_OfAProject_EqualsWhatAspireInjects(string resource)
    {
        var builder = GoldenModel.Create(
            "--environment", "Development", "--DOTNET_DASHBOARD_OTLP_ENDPOINT_URL", "http://localhost:21888", "--AppHost:OtlpApiKey", "<key>",
            "--Parameters:postgres-password", Password, "--Parameters:messaging-password", Password, "--Parameters:cache-password", Password);
        AllocateAsInTheGolden(builder);
        using var app = builder.Build();

        var variables = await app.Services.GetRequiredService<ProcessSpecs>().VariablesAsync(builder.Resources.Single(r => r.Name == resource), Eventually.Token);

        Assert.Equal(GoldenVariables(resource), variables.Select(variable => $"{variable.Key} = {variable.Value}"));
    }

    [Fact]
    public async Task Environment_WithoutATelemetryReceiver_NamesTheServiceButNoExporter()
    {
        using var data = new DataFolder();
        var builder = TestApplication.CreateBuilder(data, "--ASPIRE_DASHBOARD_OTLP_ENDPOINT_URL", "", "--DOTNET_DASHBOARD_OTLP_ENDPOINT_URL", "", "--OTEL_EXPORTER_OTLP_ENDPOINT", "");
        builder.AddSample("web");
        AllocateAsInTheGolden(builder);
        using var app = builder.Build();

        var variables = await app.Services.GetRequiredService<ProcessSpecs>().VariablesAsync(builder.Resources[0], Eventually.Token);

        Assert.Contains("OTEL_SERVICE_NAME", variables.Keys);
        Assert.DoesNotContain("OTEL_EXPORTER_OTLP_ENDPOINT", variables.Keys);
    }

    [Fact]
    public void Templates_AreReplacedByWhatTheProcessHas()
    {
        var replica = new Replica(new ProjectResource("api"), 0, 2) { Ports = { ["api"] = 1234 } };

        Assert.Equal("http://localhost:1234", Templates.Expand("http://localhost:{{- portForServing \"api\" -}}", replica));
        Assert.Equal($"service.instance.id={replica.Suffix}", Templates.Expand("service.instance.id={{- index .Annotations \"otel-service-instance-id\" -}}", replica));
        Assert.Throws<DistributedApplicationException>(() => Templates.Expand("{{- portForServing \"other\" -}}", replica));
    }

    private static void AllocateAsInTheGolden(IDistributedApplicationBuilder builder)
    {
        var next = 52001;
        foreach (var resource in builder.Resources.OfType<IResourceWithEndpoints>())
        {
            foreach (var endpoint in resource.Annotations.OfType<EndpointAnnotation>())
            {
                endpoint.AllocatedEndpoint = new AllocatedEndpoint(endpoint, "localhost", endpoint.Port ?? next++, EndpointAllocator.Template(resource, endpoint));
            }
        }
    }

    private static List<string> GoldenVariables(string resource)
    {
        var lines = Repository.Golden("environment.txt").Split('\n');
        var start = Array.FindIndex(lines, line => line.StartsWith($"Executable {resource}-", StringComparison.Ordinal));
        return [.. lines.Skip(start + 1).TakeWhile(line => line.StartsWith("      ", StringComparison.Ordinal)).Select(line => Blank().Replace(line.Trim(), Password))];
    }

    [GeneratedRegex("<password>")]
    private static partial Regex Blank();
}
