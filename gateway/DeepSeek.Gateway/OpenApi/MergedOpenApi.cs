using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Contracts;
using DeepSeek.Gateway.Routing;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Http;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.Extensions.Options;
using Microsoft.OpenApi;

namespace DeepSeek.Gateway.OpenApi;

/// <summary>One OpenAPI document for the whole platform, put together from those of the services.</summary>
internal sealed partial class MergedOpenApi(
    IHttpClientFactory clients, ServiceDiscovery discovery, IServiceProvider services,
    IOptions<GatewayOptions> options, TimeProvider time, ILogger<MergedOpenApi> logger) : IDisposable
{
    public const string ClientName = "openapi";
    private static readonly TimeSpan s_incompleteLife = TimeSpan.FromSeconds(2);

    private readonly SemaphoreSlim _building = new(1);
    private readonly Dictionary<string, JsonObject> _lastKnown = [];
    private (string Json, DateTimeOffset Until)? _built;

    public async Task<string> GetAsync(CancellationToken cancellationToken)
    {
        if (_built is { } fresh && fresh.Until > time.GetUtcNow())
        {
            return fresh.Json;
        }

        await _building.WaitAsync(cancellationToken);
        try
        {
            if (_built is { } built && built.Until > time.GetUtcNow())
            {
                return built.Json;
            }

            var missing = await FetchAsync(cancellationToken);
            var merge = new OpenApiMerge();
            merge.Add(ResourceNames.Gateway, await OwnAsync(cancellationToken));
            foreach (var service in Routes.Services.Where(_lastKnown.ContainsKey))
            {
                merge.Add(service, _lastKnown[service]);
            }

            var json = merge.ToJson(missing, absent: [.. missing.Where(service => !_lastKnown.ContainsKey(service))]);
            _built = (json, time.GetUtcNow() + (missing.Count == 0 ? options.Value.OpenApiLife : s_incompleteLife));
            return json;
        }
        finally
        {
            _building.Release();
        }
    }

    public void Dispose() => _building.Dispose();

    /// <summary>Brings the documents up to date; the services that did not answer.</summary>
    private async Task<IReadOnlyList<string>> FetchAsync(CancellationToken cancellationToken)
    {
        var answers = await Task.WhenAll(Routes.Services.Select(async service => (Service: service, Document: await FetchAsync(service, cancellationToken))));
        foreach (var (service, document) in answers)
        {
            if (document is not null)
            {
                _lastKnown[service] = document;
            }
        }

        return [.. answers.Where(answer => answer.Document is null).Select(answer => answer.Service)];
    }

    private async Task<JsonObject?> FetchAsync(string service, CancellationToken cancellationToken)
    {
        if (discovery.Next(service) is not { } address)
        {
            return null;
        }

        try
        {
            using var client = clients.CreateClient(ClientName);
            await using var stream = await client.GetStreamAsync(new Uri(address, HttpDefaultsExtensions.OpenApiPath), cancellationToken);
            return await JsonNode.ParseAsync(stream, cancellationToken: cancellationToken) as JsonObject;
        }
        catch (Exception exception) when (exception is HttpRequestException or JsonException or IOException
            || (exception is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            LogMissing(service, exception.Message);
            return null;
        }
    }

    private async Task<JsonObject> OwnAsync(CancellationToken cancellationToken)
    {
        var document = await services.GetRequiredKeyedService<IOpenApiDocumentProvider>("v1").GetOpenApiDocumentAsync(cancellationToken);
        return (JsonObject)JsonNode.Parse(await document.SerializeAsJsonAsync(OpenApiSpecVersion.OpenApi3_1, cancellationToken))!;
    }

    [LoggerMessage(LogLevel.Warning, "The OpenAPI document of {Service} cannot be read: {Reason}")]
    private partial void LogMissing(string service, string reason);
}

internal static class MergedOpenApiExtensions
{
    public static void AddMergedOpenApi(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<MergedOpenApi>();
        // A service makes its document on the first request for it, which takes a moment.
        builder.Services.AddHttpClient(MergedOpenApi.ClientName, client => client.Timeout = TimeSpan.FromSeconds(10));
    }

    public static void MapMergedOpenApi(this WebApplication app) =>
        app.MapGet(HttpDefaultsExtensions.OpenApiPath, async (MergedOpenApi merged, CancellationToken cancellationToken) =>
            TypedResults.Content(await merged.GetAsync(cancellationToken), "application/json"))
            .AllowAnonymous().ExcludeFromDescription();
}
