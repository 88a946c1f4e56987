using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using DeepSeek.Contracts;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Mvc.Testing;

namespace DeepSeek.Gateway.Tests;

/// <summary>A gateway before one stub upstream that stands for all services.</summary>
public class GatewayFixture : ServiceFactory<Program>
{
    // Redis is there, however long the machine takes to say so.
    public GatewayFixture() : base(ResourceNames.Gateway) => With("Gateway:CachePatience", "00:00:30");

    public Upstream Upstream { get; } = new();
    public string AdminKey { get; private set; } = "";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        await Upstream.ListenAsync();
        foreach (var service in new[] { ResourceNames.Preprocessing, ResourceNames.Training, ResourceNames.Registry, ResourceNames.Compression, ResourceNames.Inference, ResourceNames.Scheduling })
        {
            WithPeer(service, Upstream.Address);
        }

        WithPeer(ResourceNames.Explainability, new Uri("http://127.0.0.1:9")); // Port 9 (discard): nobody listens.
        Start();
        AdminKey = (await File.ReadAllTextAsync(KeyFile)).Trim();
    }

    public string KeyFile => Path.Combine(DataFolder, "gateway", "admin.key");

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        await Upstream.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    public HttpClient With(string key)
    {
        var client = Anonymous();
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return client;
    }

    public HttpClient Admin() => With(AdminKey);

    public async Task<(Guid Id, string Key)> NewKeyAsync(string role, string name = "somebody")
    {
        using var admin = Admin();
        using var response = await admin.PostAsJsonAsync("/api/v1/keys", new { name, role });
        response.EnsureSuccessStatusCode();
        var body = await response.Content.ReadFromJsonAsync<JsonElement>();
        return (body.GetProperty("id").GetGuid(), body.GetProperty("key").GetString()!);
    }

    public async Task<HttpClient> ClientAsync(string role, string name = "somebody") => With((await NewKeyAsync(role, name)).Key);
}
