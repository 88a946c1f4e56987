using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Inference.Tests;

/// <summary>The running service with a database, a virtual host and a registry of its own.</summary>
public sealed class InferenceFixture : ServiceFactory<Program>
{
    private RegistryPeer? _registry;
    private TestBus? _bus;
    private HttpClient? _operator;

    public InferenceFixture()
        : base("inference") => With("Inference:PollSeconds", "600").With("Inference:ChangeWaitSeconds", "60").With("Inference:LoadWaitSeconds", "60").With("Logging:LogLevel:Default", "Error");

    internal RegistryPeer Registry => _registry!;

    public TestBus Bus => _bus!;

    /// <summary>A client that may do everything.</summary>
    public HttpClient Http => _operator ??= ClientOf(Roles.Operator);

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        _registry = await RegistryPeer.StartAsync();
        WithPeer("registry", _registry.Address);
        Start();
        _bus = await BusAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        _operator?.Dispose();
        if (_bus is not null)
        {
            await _bus.DisposeAsync();
        }

        await base.DisposeAsync();
        if (_registry is not null)
        {
            await _registry.DisposeAsync();
        }
    }

    /// <summary>Registers the model under a fresh name and deploys it under the same; it is ready on return.</summary>
    public async Task<string> DeployAsync(byte[] onnx, object? limits = null)
    {
        var name = "m-" + Guid.NewGuid().ToString("N")[..12];
        Registry.Add(name, onnx);
        Registry.Point(name, "production", 1);
        using var response = await PutAsync(name, name, "production", limits);
        Assert.True(response.StatusCode == System.Net.HttpStatusCode.OK, await response.Content.ReadAsStringAsync());
        return name;
    }

    public async Task<HttpResponseMessage> PutAsync(string name, string model, string reference, object? limits = null)
    {
        var body = JsonSerializer.SerializeToNode(limits ?? new { })!.AsObject();
        body["model"] = model;
        body["ref"] = reference;
        return await Http.PutAsJsonAsync($"/api/v1/deployments/{name}", body);
    }

    /// <summary>Points the alias elsewhere and tells the world as the registry would.</summary>
    public async Task MoveAliasAsync(string model, string alias, int version)
    {
        Registry.Point(model, alias, version);
        await Bus.PublishAsync(new AliasMoved
        {
            ModelName = model, Alias = alias, Version = version, VersionId = Guid.Empty, PreviousVersion = null, Actor = "tester", At = DateTimeOffset.UtcNow,
        });
    }

    public Task<HttpResponseMessage> InferAsync(string model, string json) =>
        Http.PostAsync($"/v2/models/{model}/infer", new StringContent(json, Encoding.UTF8, "application/json"));

    public Task<HttpResponseMessage> PredictAsync(string name, string json) =>
        Http.PostAsync($"/api/v1/deployments/{name}/predict", new StringContent(json, Encoding.UTF8, "application/json"));
}

internal static class HttpReplies
{
    public static async Task<JsonElement> JsonAsync(this HttpResponseMessage response)
    {
        using (response)
        {
            var text = await response.Content.ReadAsStringAsync();
            Assert.True(response.IsSuccessStatusCode, $"{(int)response.StatusCode}: {text}");
            return JsonElement.Parse(text);
        }
    }

    /// <summary>The error text of a /v2 reply with this status.</summary>
    public static async Task<string> ErrorAsync(this HttpResponseMessage response, int status)
    {
        using (response)
        {
            var text = await response.Content.ReadAsStringAsync();
            Assert.True((int)response.StatusCode == status, $"{(int)response.StatusCode} instead of {status}: {text}");
            return JsonElement.Parse(text).GetProperty("error").GetString()!;
        }
    }

    /// <summary>The problem document with this status.</summary>
    public static async Task<JsonElement> ProblemAsync(this HttpResponseMessage response, int status)
    {
        using (response)
        {
            var text = await response.Content.ReadAsStringAsync();
            Assert.True((int)response.StatusCode == status, $"{(int)response.StatusCode} instead of {status}: {text}");
            Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
            return JsonElement.Parse(text);
        }
    }
}
