using System.Globalization;

namespace DeepSeek.Hosting.Tests;

/// <summary>A real web project in two processes.</summary>
public sealed class ProjectTests
{
    [Fact]
    public async Task Replicas_ShareTheEndpoint_AndComeBackAfterACrash()
    {
        using var data = new DataFolder();
        var builder = TestApplication.CreateBuilder(data);
        var web = builder.AddSample("web").WithReplicas(2).WithHttpHealthCheck("/health").WithEnvironment("GREETING", "hello");
        await using var app = builder.Build();
        await app.StartAsync(Eventually.Token);
        await app.ResourceNotifications.WaitForResourceHealthyAsync("web", Eventually.Token);
        using var http = new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.Zero }) { BaseAddress = new Uri(web.GetEndpoint("http").Url) };

        var pids = await PidsAsync(http, 2);

        Assert.Equal("hello", await http.GetStringAsync("/environment/GREETING", Eventually.Token));
        Assert.Equal("Development", await http.GetStringAsync("/environment/ASPNETCORE_ENVIRONMENT", Eventually.Token));
        Assert.Equal("web", await http.GetStringAsync("/environment/OTEL_SERVICE_NAME", Eventually.Token));
        Assert.Equal(data.Path, await http.GetStringAsync("/environment/DEEPSEEK_DATA", Eventually.Token));
        Assert.NotEqual(new Uri(await http.GetStringAsync("/environment/ASPNETCORE_URLS", Eventually.Token)).Port, web.GetEndpoint("http").Port);
        Signals.Send(pids.First(), Signals.Kill);
        await Eventually.True(() => !Processes.Exists(pids.First()), "the killed process is gone");
        // The other one answers while the first comes back as a new process.
        Assert.Equal("Healthy", await http.GetStringAsync("/health", Eventually.Token));
        var again = await PidsAsync(http, 2);
        Assert.DoesNotContain(pids.First(), again);
    }

    [Fact]
    public async Task Project_ThatIsNotBuilt_FailsAndSaysHowToBuildIt()
    {
        using var data = new DataFolder();
        var project = Path.Combine(data.Path, "Nothing.csproj");
        File.WriteAllText(project, "<Project />");
        var builder = TestApplication.CreateBuilder(data);
        builder.AddProject("nothing", project);
        await using var app = builder.Build();
        await app.StartAsync(Eventually.Token);

        await app.ResourceNotifications.WaitForResourceAsync("nothing", KnownResourceStates.FailedToStart, Eventually.Token);

        Assert.Contains(app.Services.GetRequiredService<ResourceLoggerService>().LinesAfter("nothing", 0), line => line.Content.Contains("dotnet build", StringComparison.Ordinal));
    }

    private static async Task<HashSet<int>> PidsAsync(HttpClient http, int count)
    {
        var pids = new HashSet<int>();
        var deadline = Eventually.Token;
        while (pids.Count < count)
        {
            pids.Add(int.Parse(await http.GetStringAsync("/pid", deadline), CultureInfo.InvariantCulture));
        }

        return pids;
    }
}
