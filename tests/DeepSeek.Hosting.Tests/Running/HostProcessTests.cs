using System.Net;
using System.Text.Json;

namespace DeepSeek.Hosting.Tests;

/// <summary>The whole host: servers, two replicas of a project with a grandchild each, log, status page, and its end in both ways.</summary>
public sealed class HostProcessTests
{
    [Fact]
    public async Task Host_ShowsItsResources_RefusesASecondOne_AndStopsCleanly()
    {
        using var data = new DataFolder();
        using var host = new HostProcess(data);
        await host.HealthyAsync();
        Assert.Matches(@"apphost +\| all resources healthy in \d+\.\d s", host.Log);
        Assert.Matches(@"apphost +\| web: http://localhost:\d+", host.Log);
        Assert.Matches(@"web\.1 +\| ", host.Log);
        Assert.DoesNotContain('\e', host.Log);

        await StatusPageShowsAndCommands(host.StatusUrl);

        using (var second = new HostProcess(data))
        {
            Assert.Equal(1, await second.ExitAsync());
            Assert.Contains("Another host is using the data folder", second.Log, StringComparison.Ordinal);
        }

        var pids = Pids(host, data);
        Signals.Send(host.Id, Signals.Terminate);
        Assert.Equal(0, await host.ExitAsync());
        Assert.Equal(string.Empty, Processes.Describe(pids));
        Assert.Contains("database system is shut down", host.Log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task KilledHost_LeavesNoProcessBehind_AndItsSuccessorStarts()
    {
        using var data = new DataFolder();
        HashSet<int> pids;
        using (var host = new HostProcess(data))
        {
            await host.HealthyAsync();
            pids = Pids(host, data);
            // Watchdog, broker and its port mapper, cache, server with its workers, two replicas, a grandchild of each.
            Assert.True(pids.Count >= 12, Processes.Describe(pids));
            Signals.Send(host.Id, Signals.Kill);
            await host.ExitAsync();
        }

        await Eventually.True(() => !pids.Any(Processes.Exists), $"all are gone, left: {Processes.Describe(pids)}", TimeSpan.FromSeconds(30));

        using var next = new HostProcess(data);
        await next.HealthyAsync();
        Signals.Send(next.Id, Signals.Terminate);
        Assert.Equal(0, await next.ExitAsync());
    }

    private static HashSet<int> Pids(HostProcess host, DataFolder data)
    {
        var pids = Processes.Descendants(host.Id);
        pids.UnionWith(Processes.WithEnvironment($"DEEPSEEK_DATA={data.Path}"));
        pids.Remove(host.Id);
        return pids;
    }

    private static async Task StatusPageShowsAndCommands(Uri url)
    {
        using var http = new HttpClient { BaseAddress = url };
        var page = await http.GetStringAsync("/", Eventually.Token);
        Assert.Contains("const token = '", page, StringComparison.Ordinal);

        using var resources = JsonDocument.Parse(await http.GetStringAsync("/api/resources", Eventually.Token));
        var all = resources.RootElement.GetProperty("resources").EnumerateArray().ToArray();
        Assert.Equal(2, all.Count(resource => resource.GetProperty("name").GetString() == "web"));
        Assert.All(all, resource => Assert.Equal("Running", resource.GetProperty("state").GetString()));
        Assert.DoesNotContain("password", resources.RootElement.GetRawText(), StringComparison.OrdinalIgnoreCase);

        using var log = JsonDocument.Parse(await http.GetStringAsync("/api/resources/web/logs", Eventually.Token));
        Assert.NotEmpty(log.RootElement.GetProperty("lines").EnumerateArray());
        Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync("/api/resources/nobody/logs", Eventually.Token)).StatusCode);

        // Without the page's token, or under a foreign name, nothing is done.
        Assert.Equal(HttpStatusCode.Forbidden, (await http.PostAsync("/api/resources/web/stop", null, Eventually.Token)).StatusCode);
        using var foreign = new HttpRequestMessage(HttpMethod.Get, "/api/resources") { Headers = { Host = "evil.example" } };
        Assert.Equal(HttpStatusCode.MisdirectedRequest, (await http.SendAsync(foreign, Eventually.Token)).StatusCode);

        http.DefaultRequestHeaders.Add("X-Status-Token", page.Split("const token = '")[1].Split('\'')[0]);
        Assert.Equal(HttpStatusCode.NotFound, (await http.PostAsync("/api/resources/nobody/stop", null, Eventually.Token)).StatusCode);
        Assert.Equal(HttpStatusCode.NoContent, (await http.PostAsync("/api/resources/web/stop", null, Eventually.Token)).StatusCode);
        using var after = JsonDocument.Parse(await http.GetStringAsync("/api/resources", Eventually.Token));
        Assert.DoesNotContain(after.RootElement.GetProperty("resources").EnumerateArray(), resource => resource.GetProperty("name").GetString() == "web" && resource.GetProperty("state").GetString() == "Running");
    }
}
