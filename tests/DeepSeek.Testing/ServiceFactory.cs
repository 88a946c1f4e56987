using DeepSeek.Contracts;
using DeepSeek.ServiceDefaults;
using MassTransit;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace DeepSeek.Testing;

/// <summary>
/// A service as it runs in production (Kestrel on a loopback port), with a database, a virtual host and a data folder of its own. Derive
/// from it with a constructor without parameters to use it as a class fixture.
/// </summary>
public class ServiceFactory<TProgram> : WebApplicationFactory<TProgram>, IAsyncLifetime
    where TProgram : class
{
    private readonly Dictionary<string, string?> _settings = [];
    private readonly TestFolder _data = new();
    private bool _started;

    /// <param name="area">The service's area, for example <c>registry</c>; its database is <c>registrydb</c>.</param>
    public ServiceFactory(string area)
    {
        Area = area;
        UseKestrel(0);
    }

    public string Area { get; }
    public TestDatabase Database { get; } = new();
    public TestVhost Vhost { get; } = new();
    public string DataFolder => _data.Path;

    /// <summary>Address at which the running service listens.</summary>
    public Uri Address
    {
        get
        {
            Start();
            return new Uri(Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        }
    }

    /// <summary>Sets a configuration value (<c>Section:Name</c>); before the service starts.</summary>
    public ServiceFactory<TProgram> With(string key, string? value)
    {
        _settings[key] = value;
        return this;
    }

    /// <summary>Tells the service where a peer listens.</summary>
    public ServiceFactory<TProgram> WithPeer(string service, Uri address) => With($"services:{service}:http:0", address.AbsoluteUri);

    /// <summary>The service as a process of its own over this database, virtual host, data folder and settings; then do not start it here.</summary>
    /// <param name="assembly">The service's: <c>DeepSeek.Registry</c>.</param>
    public ServiceProcess AsProcess(string assembly) => Settings().Aggregate(new ServiceProcess(assembly), (process, setting) => process.With(setting.Key, setting.Value));

    /// <summary>A client of the service with this role; follows no redirects.</summary>
    public HttpClient ClientOf(string role, string name = "tester") => Anonymous().As(role, name);

    /// <summary>A client without any identity.</summary>
    public HttpClient Anonymous() => new(new SocketsHttpHandler { AllowAutoRedirect = false }) { BaseAddress = Address };

    /// <summary>A bus in the service's virtual host, to see and send messages.</summary>
    public Task<TestBus> BusAsync() => TestBus.StartAsync(Vhost.ConnectionString);

    public virtual async ValueTask InitializeAsync()
    {
        await Database.InitializeAsync();
        await Vhost.InitializeAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        await Vhost.DisposeAsync();
        await Database.DisposeAsync();
        _data.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Starts the service unless it runs already.</summary>
    public void Start()
    {
        if (!_started)
        {
            StartServer();
            _started = true;
        }
    }

    protected override void ConfigureWebHost(IWebHostBuilder builder)
    {
        foreach (var (key, value) in Settings())
        {
            builder.UseSetting(key, value);
        }

        // A service that has started has bound its queues: what a test publishes from then on reaches it.
        builder.ConfigureTestServices(services => services.Configure<MassTransitHostOptions>(host =>
        {
            host.WaitUntilStarted = true;
            host.StartTimeout = Eventually.Deadline;
        }));
    }

    private Dictionary<string, string?> Settings()
    {
        var settings = new Dictionary<string, string?>
        {
            [$"ConnectionStrings:{Area}db"] = Database.ConnectionString,
            [$"ConnectionStrings:{ResourceNames.Messaging}"] = Vhost.ConnectionString,
            [$"ConnectionStrings:{ResourceNames.Cache}"] = TestServers.Redis,
            ["Identity:SigningKey"] = TestIdentity.SigningKey,
            [DataDirectories.Variable] = DataFolder,
        };
        foreach (var (key, value) in _settings)
        {
            settings[key] = value;
        }

        return settings;
    }
}
