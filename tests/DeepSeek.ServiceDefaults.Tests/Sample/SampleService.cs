using MassTransit;
using Microsoft.AspNetCore.Hosting;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults.Tests.Sample;

/// <summary>A small service made of the defaults alone.</summary>
public sealed class SampleService : IAsyncDisposable
{
    private readonly TestFolder _data = new();

    private SampleService(WebApplicationBuilder builder, Action<WebApplicationBuilder>? configure, TestDatabase database, TestVhost vhost, bool consume)
    {
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["ConnectionStrings:sampledb"] = database.ConnectionString,
            ["ConnectionStrings:messaging"] = vhost.ConnectionString,
            ["Identity:SigningKey"] = TestIdentity.SigningKey,
            [DataDirectories.Variable] = _data.Path,
            // What the broker never confirms, because it has closed the channel, is waited for that long.
            ["Outbox:PublishTimeout"] = "00:00:02",
        });
        builder.AddServiceDefaults("sample");
        builder.AddServiceDatabase<SampleDb>("sampledb");
        builder.AddMessaging<SampleDb>("messaging", bus =>
        {
            if (consume)
            {
                bus.AddConsumer<NoteWrittenConsumer>();
            }
        });
        configure?.Invoke(builder);
        App = builder.Build();
        App.MapServiceDefaults();
        App.MapSampleApi();
    }

    public WebApplication App { get; }
    public Uri Address => new(App.Urls.First());

    public static async Task<SampleService> StartAsync(
        TestDatabase database, TestVhost vhost, bool consume = true, Action<WebApplicationBuilder>? configure = null)
    {
        var service = new SampleService(WebApplication.CreateBuilder(), configure, database, vhost, consume);
        await service.App.StartAsync(TestContext.Current.CancellationToken);
        return service;
    }

    public HttpClient ClientOf(string role, string name = "tester") => Anonymous().As(role, name);

    public HttpClient Anonymous() => new() { BaseAddress = Address };

    public async Task<T> WithDbAsync<T>(Func<SampleDb, Task<T>> work)
    {
        await using var db = await App.Services.GetRequiredService<IDbContextFactory<SampleDb>>().CreateDbContextAsync();
        return await work(db);
    }

    public Task<int> EchoesAsync() => WithDbAsync(db => db.Echoes.CountAsync());

    public async ValueTask DisposeAsync()
    {
        await App.StopAsync();
        await App.DisposeAsync();
        _data.Dispose();
    }
}

/// <summary>A database, a virtual host and a running sample service for one test class.</summary>
public sealed class SampleFixture : IAsyncLifetime
{
    public TestDatabase Database { get; } = new();
    public TestVhost Vhost { get; } = new();
    public SampleService Service { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        await Database.InitializeAsync();
        await Vhost.InitializeAsync();
        Service = await SampleService.StartAsync(Database, Vhost);
    }

    public async ValueTask DisposeAsync()
    {
        await Service.DisposeAsync();
        await Vhost.DisposeAsync();
        await Database.DisposeAsync();
    }
}
