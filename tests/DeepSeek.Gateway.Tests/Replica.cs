using System.Net.Http.Headers;
using DeepSeek.Contracts;
using Microsoft.AspNetCore.Hosting;

namespace DeepSeek.Gateway.Tests;

/// <summary>A second gateway over the same database, broker, cache and folder; also what a restarted one is.</summary>
public sealed class Replica(GatewayFixture first) : ServiceFactory<Program>(ResourceNames.Gateway)
{
    public HttpClient With(string key)
    {
        var client = Anonymous();
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return client;
    }

    protected override void ConfigureWebHost(IWebHostBuilder builder)
    {
        With("ConnectionStrings:gatewaydb", first.Database.ConnectionString);
        With("ConnectionStrings:messaging", first.Vhost.ConnectionString);
        With("DEEPSEEK_DATA", first.DataFolder);
        base.ConfigureWebHost(builder);
    }
}
