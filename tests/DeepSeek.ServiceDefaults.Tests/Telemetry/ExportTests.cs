using System.Collections.Concurrent;
using System.Net.Http.Json;
using System.Text;
using DeepSeek.ServiceDefaults.Tests.Sample;

namespace DeepSeek.ServiceDefaults.Tests.Telemetry;

/// <summary>Sets environment variables of the process, so nothing may run beside it.</summary>
[Collection(nameof(AloneCollection))]
public sealed class ExportTests
{
    private static readonly (string Name, string? Value)[] s_restored =
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", null), ("OTEL_EXPORTER_OTLP_PROTOCOL", null), ("OTEL_BSP_SCHEDULE_DELAY", null),
        ("OTEL_BLRP_SCHEDULE_DELAY", null), ("OTEL_METRIC_EXPORT_INTERVAL", null), ("OTEL_SERVICE_NAME", null),
    ];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Telemetry_WithAnEndpoint_ArrivesThere()
    {
        var received = new ConcurrentDictionary<string, ConcurrentQueue<byte[]>>();
        await using var collector = await CollectorAsync(received);
        await using var database = new TestDatabase();
        await using var vhost = new TestVhost();
        await database.InitializeAsync();
        await vhost.InitializeAsync();
        try
        {
            Set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.Address.AbsoluteUri);
            Set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
            Set("OTEL_BSP_SCHEDULE_DELAY", "100");
            Set("OTEL_BLRP_SCHEDULE_DELAY", "100");
            Set("OTEL_METRIC_EXPORT_INTERVAL", "200");
            Set("OTEL_SERVICE_NAME", "sample-service");
            await using var service = await SampleService.StartAsync(database, vhost);
            using var client = service.ClientOf(Roles.Operator);
            // Without a propagator this client makes no spans of its own, which would name the path as well.
            using var probe = new HttpClient(new SocketsHttpHandler { ActivityHeadersPropagator = null });
            await probe.GetAsync(new Uri(service.Address, "/health"), Token);
            (await client.PostAsJsonAsync("/notes", new { text = "exported" }, Token)).EnsureSuccessStatusCode();
            await Eventually.True(async () => await service.EchoesAsync() == 1);

            bool Has(string signal, string text) => received.TryGetValue(signal, out var bodies)
                && bodies.Any(body => body.AsSpan().IndexOf(Encoding.UTF8.GetBytes(text)) >= 0);
            await Eventually.True(() => Has("/v1/traces", "sample-service"));
            await Eventually.True(() => Has("/v1/traces", "Microsoft.AspNetCore"));
            await Eventually.True(() => Has("/v1/traces", "Npgsql"));
            await Eventually.True(() => Has("/v1/traces", "MassTransit"));
            await Eventually.True(() => Has("/v1/traces", "/notes"));
            await Eventually.True(() => Has("/v1/metrics", "http.server.request.duration"));
            await Eventually.True(() => Has("/v1/metrics", "dotnet.process.memory.working_set"));
            await Eventually.True(() => Has("/v1/logs", "Applied {Script}"));
            Assert.False(Has("/v1/traces", "/health"));
        }
        finally
        {
            foreach (var (name, value) in s_restored)
            {
                Set(name, value);
            }
        }
    }

    private static void Set(string name, string? value) => Environment.SetEnvironmentVariable(name, value);

    private static Task<StubServer> CollectorAsync(ConcurrentDictionary<string, ConcurrentQueue<byte[]>> received) =>
        StubServer.StartAsync(server => server.MapFallback(async (HttpContext http, CancellationToken cancellationToken) =>
        {
            using var body = new MemoryStream();
            await http.Request.Body.CopyToAsync(body, cancellationToken);
            received.GetOrAdd(http.Request.Path, _ => new()).Enqueue(body.ToArray());
            return Results.Ok();
        }));
}

[CollectionDefinition(nameof(AloneCollection), DisableParallelization = true)]
public sealed class AloneCollection;
