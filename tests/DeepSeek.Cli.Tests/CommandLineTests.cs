using System.Diagnostics;
using System.Text.Json;

namespace DeepSeek.Cli.Tests;

public sealed class CommandLineTests : IAsyncLifetime
{
    private const string Job = "01900000-0000-7000-8000-000000000001";
    private readonly Cli _cli = new();
    private StubGateway _gateway = null!;

    public async ValueTask InitializeAsync() => _gateway = await StubGateway.StartAsync();

    public async ValueTask DisposeAsync()
    {
        await _gateway.DisposeAsync();
        _cli.Dispose();
    }

    [Theory]
    [InlineData("bogus")]
    [InlineData("jobs", "show", "not-a-guid")]
    [InlineData("deploy", "name")]
    [InlineData("whoami", "--gateway", "not an address")]
    public async Task BadCommandLine_ExitsTwo_AndPointsToHelp(params string[] arguments)
    {
        var (exitCode, output, error) = await _cli.RunAsync(arguments);

        Assert.Equal(2, exitCode);
        Assert.Empty(output);
        Assert.Contains("--help", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("DEEPSEEK_GATEWAY", "localhost:5080")]
    [InlineData("DEEPSEEK_GATEWAY", "ftp://localhost")]
    [InlineData("DEEPSEEK_GATEWAY", "not an address")]
    [InlineData("DEEPSEEK_API_KEY", "dsk_two\nlines")]
    [InlineData("DEEPSEEK_API_KEY", "dsk_clé")]
    public async Task UselessVariable_ExitsTwo_AndIsNamed(string variable, string value)
    {
        _cli.Variables[variable] = value;

        var (exitCode, output, error) = await _cli.RunAsync("jobs", "list");

        Assert.Equal((2, ""), (exitCode, output));
        Assert.Contains(variable, error, StringComparison.Ordinal);
        Assert.Single(error.Trim().Split('\n'));
    }

    [Theory]
    [InlineData("login")]
    [InlineData("quickstart")]
    public async Task UselessGatewayVariable_BeforeThereIsAClient_ExitsTwo(string command)
    {
        _cli.Variables["DEEPSEEK_GATEWAY"] = "localhost:5080";

        var (exitCode, _, error) = await _cli.RunAsync(command);

        Assert.Equal(2, exitCode);
        Assert.Single(error.Trim().Split('\n'));
    }

    [Fact]
    public async Task AnotherServerThanAGateway_ExitsThree_AndIsNamed()
    {
        _gateway.Answers["/api/v1/me"] = (200, "<!doctype html>");

        var (exitCode, _, error) = await RunAsync("whoami", "--key", StubGateway.Key);

        Assert.Equal(3, exitCode);
        Assert.Contains("no gateway of this platform", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task NoKey_ExitsFour_AndSaysHowToLogIn()
    {
        var (exitCode, _, error) = await RunAsync("jobs", "list");

        Assert.Equal(4, exitCode);
        Assert.Contains("deepseek login", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Devices_WithoutALogin_ListsTheProcessors()
    {
        var (exitCode, output, error) = await RunAsync("devices", "--vendor", "host", "--json");

        Assert.True(exitCode == 0, error);
        var device = Assert.Single(JsonDocument.Parse(output).RootElement.EnumerateArray());
        Assert.Equal("cpu", device.GetProperty("id").GetString());
        Assert.Equal("Host", device.GetProperty("vendor").GetString());
    }

    [Fact]
    public async Task Devices_Rate_MeasuresTheProcessorsAndKeepsThat()
    {
        var (exitCode, output, error) = await RunAsync("devices", "--vendor", "host", "--rate", "--json");
        var (_, again, _) = await RunAsync("devices", "--vendor", "host", "--json");

        Assert.True(exitCode == 0, error);
        var rating = Assert.Single(JsonDocument.Parse(output).RootElement.EnumerateArray()).GetProperty("rating");
        Assert.True(rating.GetProperty("training").GetDouble() > 0);
        Assert.Equal(rating.GetRawText(), Assert.Single(JsonDocument.Parse(again).RootElement.EnumerateArray()).GetProperty("rating").GetRawText());
    }

    [Fact]
    public async Task GenerateStream_Parts_PrintOneTextWithItsPrompt()
    {
        _gateway.Answers["/api/v1/deployments/d/generate"] = (200, "data: {\"text\":\"[o\"}\n\ndata: {\"text\":\"n\\nce]\"}\n\ndata: {\"text\":\"\",\"finishReason\":\"length\",\"tokens\":6,\"seed\":3,\"predictionId\":\"x\"}\n\ndata: [DONE]\n\n");

        var (exitCode, output, error) = await RunAsync("generate", "d", "--prompt", "at ", "--stream", "--key", StubGateway.Key);
        var (_, json, _) = await RunAsync("generate", "d", "--prompt", "at ", "--stream", "--json", "--key", StubGateway.Key);

        Assert.True(exitCode == 0, error);
        Assert.StartsWith("at [on\nce]\n", output, StringComparison.Ordinal);
        Assert.Contains("length", output, StringComparison.Ordinal);
        Assert.Equal("[on\nce]", JsonDocument.Parse(json).RootElement.GetProperty("text").GetString());
        Assert.Contains("\"stream\":true", _gateway.Bodies.Last(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task RunsTrace_OfATracedRun_ShowsTheSentence()
    {
        _gateway.Answers[$"/api/v1/runs/{Job}/trace"] = (200, """
            {"format":"deepseek.trace/1","summary":"Data-bound: 60 % of the time waits for batches.","device":"cpu","steps":4,"duration":2.0,"energyPerStep":null,
            "phases":[{"name":"forward","time":0.5}],"operators":[{"name":"aten::mm","phase":"forward","calls":8,"selfTime":0.25}]}
            """);

        var (exitCode, output, error) = await RunAsync("runs", "trace", Job, "--key", StubGateway.Key);

        Assert.True(exitCode == 0, error);
        Assert.Contains("Data-bound: 60 % of the time waits for batches.", output, StringComparison.Ordinal);
        Assert.Contains("0.5", output, StringComparison.Ordinal);
        Assert.Contains("aten::mm", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WrongKey_ExitsFour_WithThePlatformsWords()
    {
        var (exitCode, _, error) = await RunAsync("whoami", "--key", "dsk_wrong");

        Assert.Equal(4, exitCode);
        Assert.Contains("The API key is not known.", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task UnknownThing_ExitsFive()
    {
        var (exitCode, _, _) = await RunAsync("models", "show", "none", "1", "--key", StubGateway.Key);

        Assert.Equal(5, exitCode);
    }

    [Fact]
    public async Task Train_Options_OverrideTheSpec()
    {
        _gateway.Answers["/api/v1/runs"] = (202, $$"""{"id":"{{Job}}","jobId":"{{Job}}","state":"queued"}""");
        var spec = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(spec, """{"name":"r","optimizer":{"name":"adamW","learningRate":0.01,"betas":[0.9,0.99]},"precision":"fp32"}""");

            var (exitCode, _, error) = await RunAsync("train", spec, "--no-wait", "--key", StubGateway.Key,
                "--device", "cuda:1", "--precision", "bf16", "--capture", "on", "--checkpointing", "512", "--optimizer", "sgd", "--weight-decay", "1e-4");

            Assert.True(exitCode == 0, error);
            var sent = JsonDocument.Parse(_gateway.Bodies.Single()).RootElement;
            Assert.Equal("""{"learningRate":0.01,"name":"sgd","weightDecay":0.0001}""", sent.GetProperty("optimizer").GetRawText());
            Assert.Equal(("cuda:1", "bf16", "on", 512), (sent.GetProperty("device").GetString(), sent.GetProperty("precision").GetString(),
                sent.GetProperty("capture").GetString(), sent.GetProperty("checkpointing").GetInt32()));
            Assert.Equal("r", sent.GetProperty("name").GetString());
        }
        finally
        {
            File.Delete(spec);
        }
    }

    [Fact]
    public async Task MissingFile_ExitsTwo_NamingIt()
    {
        var (exitCode, _, error) = await RunAsync("datasets", "create", "no-such.csv", "--key", StubGateway.Key);

        Assert.Equal(2, exitCode);
        Assert.Contains("no-such.csv", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ready", 0)]
    [InlineData("failed", 1)]
    public async Task DeployWait_ExitsAsTheReplicasEnd(string state, int expected)
    {
        _gateway.Answers["/api/v1/deployments/d"] = (200, $$"""
            {"name":"d","model":"m","ref":"production","state":"{{state}}","targetVersion":2,"versions":[{"version":1,"state":"ready"}],
             "replicas":[{"replica":"a","versions":[{"version":1,"state":"ready"},{"version":2,"state":"failed","error":"no ONNX model"}]}]}
            """);

        var (exitCode, _, error) = await RunAsync("deploy", "d", "--model", "m", "--wait", "--key", StubGateway.Key);

        Assert.Equal(expected, exitCode);
        Assert.Equal(expected != 0, error.Contains("'d' is failed: no ONNX model", StringComparison.Ordinal));
    }

    [Fact]
    public async Task RefusedInput_ExitsTwo_NamingTheField()
    {
        _gateway.Answers["/api/v1/keys"] = (400, """{"title":"The request is not valid","detail":"role: unknown.","errors":{"role":["Choose reader, operator, approver or admin."]}}""");

        var (exitCode, _, error) = await RunAsync("keys", "create", "ada", "--role", "emperor", "--key", StubGateway.Key);

        Assert.Equal(2, exitCode);
        Assert.Contains("role: Choose reader", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Json_IsAllOfStandardOutput_AndWhole()
    {
        _gateway.Answers["/api/v1/jobs"] = (200, $$"""{"items":[{"id":"{{Job}}","kind":"train","name":"a","state":"queued","waitingFor":"no worker"}],"next":null}""");

        var (exitCode, output, _) = await RunAsync("jobs", "list", "--json", "--key", StubGateway.Key);

        Assert.Equal(0, exitCode);
        var job = Assert.Single(JsonElement.Parse(output).EnumerateArray().ToArray());
        Assert.Equal(Job, job.GetProperty("id").GetString());
        Assert.Equal("no worker", job.GetProperty("waitingFor").GetString());
    }

    [Theory]
    [InlineData("/api/v1/datasets/" + Job, "datasets", "delete", Job)]
    [InlineData("/api/v1/models/m/versions/1/approvals", "models", "approve", "m", "1")]
    [InlineData("/api/v1/models/m/aliases/a", "models", "alias", "m", "a", "1")]
    [InlineData("/api/v1/models/m/aliases/a", "models", "alias", "m", "a", "--delete")]
    [InlineData("/api/v1/deployments/d", "deployments", "delete", "d")]
    [InlineData("/api/v1/jobs/" + Job + "/cancel", "jobs", "cancel", Job)]
    [InlineData("/api/v1/jobs/" + Job + "/retry", "jobs", "retry", Job)]
    [InlineData("/api/v1/keys/" + Job, "keys", "revoke", Job)]
    public async Task Json_OfACommandWithoutAResult_IsItsMessage(string path, params string[] arguments)
    {
        _gateway.Answers[path] = (200, "{}");

        var (exitCode, output, error) = await RunAsync([.. arguments, "--json", "--key", StubGateway.Key]);

        Assert.Equal((0, ""), (exitCode, error));
        Assert.NotEmpty(JsonElement.Parse(output).GetProperty("message").GetString()!);
    }

    [Fact]
    public async Task Json_OfARefusedCommand_IsEmpty()
    {
        _gateway.Answers["/api/v1/jobs/" + Job + "/cancel"] = (409, """{"title":"Conflict","detail":"The job has ended."}""");

        var (exitCode, output, _) = await RunAsync("jobs", "cancel", Job, "--json", "--key", StubGateway.Key);

        Assert.Equal((2, ""), (exitCode, output));
    }

    [Theory]
    [InlineData("""{"maxDrop":0.01}""")]
    [InlineData("""{"metric":"r2","maxDrop":0.01}""", "--metric", "r2")]
    public async Task Compress_LeavesTheMetricToThePlatform_UnlessGiven(string budget, params string[] options)
    {
        _gateway.Answers["/api/v1/compressions"] = (400, """{"title":"The request is not valid"}""");

        await RunAsync(["compress", "m", "1", "--max-drop", "0.01", .. options, "--key", StubGateway.Key]);

        Assert.Equal(budget, JsonElement.Parse(Assert.Single(_gateway.Bodies)).GetProperty("budget").GetRawText());
    }

    [Fact]
    public async Task Table_IntoAPipe_HasWholeIdsAndNoEscapes()
    {
        _gateway.Answers["/api/v1/jobs"] = (200, $$"""{"items":[{"id":"{{Job}}","kind":"train","name":"a[b]","state":"queued"}],"next":null}""");

        var (_, output, _) = await RunAsync("jobs", "list", "--key", StubGateway.Key);

        Assert.Contains(Job, output, StringComparison.Ordinal);
        Assert.Contains("a[b]", output, StringComparison.Ordinal);
        Assert.DoesNotContain("\e[", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("succeeded", 0)]
    [InlineData("failed", 1)]
    [InlineData("cancelled", 1)]
    public async Task Watch_ExitsByTheJobsEnd(string state, int expected)
    {
        _gateway.Answers[$"/api/v1/jobs/{Job}"] = (200, $$"""{"id":"{{Job}}","kind":"train","name":"n","state":"{{state}}","error":"disk full"}""");
        _gateway.Answers[$"/api/v1/jobs/{Job}/events"] = (200, $"id: 1\nevent: state\ndata: {{\"state\":\"{state}\"}}\n\n");

        var (exitCode, _, error) = await RunAsync("jobs", "watch", Job, "--key", StubGateway.Key);

        Assert.Equal(expected, exitCode);
        Assert.Equal(expected == 1, error.Contains("disk full", StringComparison.Ordinal));
    }

    [Fact]
    public async Task BrokenAudit_ExitsOne_NamingTheEntry()
    {
        _gateway.Answers["/api/v1/audit/verify"] = (200, """{"valid":false,"entries":9,"firstBroken":{"sequence":4,"reason":"hash differs"}}""");

        var (exitCode, _, error) = await RunAsync("audit", "verify", "--key", StubGateway.Key);

        Assert.Equal(1, exitCode);
        Assert.Contains("entry 4", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Login_KeepsTheKeyForItsOwnerAndItsGatewayOnly()
    {
        _gateway.Answers["/api/v1/me"] = (200, """{"name":"ada","role":"operator"}""");

        Assert.Equal(0, (await RunAsync("login", "--key", StubGateway.Key)).ExitCode);
        Assert.Equal(0, (await _cli.RunAsync("whoami")).ExitCode);

        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_cli.LoginFile));
        }

        await using var other = await StubGateway.StartAsync();
        Assert.Equal(4, (await _cli.RunAsync("whoami", "--gateway", other.Address.AbsoluteUri)).ExitCode);
        Assert.DoesNotContain(other.Keys, key => key.Contains(StubGateway.Key, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Login_WithAWrongKey_KeepsNothing()
    {
        Assert.Equal(4, (await RunAsync("login", "--key", "dsk_wrong")).ExitCode);

        Assert.False(File.Exists(_cli.LoginFile));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Gateway_OfAPlatformOnAnyPort_IsFoundWhileItsHostLives(bool lives)
    {
        _gateway.Answers["/api/v1/me"] = (200, """{"name":"ada","role":"operator"}""");
        using var ended = Process.Start("true");
        await ended.WaitForExitAsync();
        await RunsHereAsync(lives ? Environment.ProcessId : ended.Id);

        var (exitCode, _, error) = await _cli.RunAsync("whoami", "--key", StubGateway.Key);

        Assert.Equal(lives, !_gateway.Keys.IsEmpty);
        Assert.True(lives == (exitCode == 0), error);
    }

    [Fact]
    public async Task FirstAdminKey_IsShownToItsOwnPlatformOnly()
    {
        _gateway.Answers["/api/v1/me"] = (200, """{"name":"admin","role":"admin"}""");
        await RunsHereAsync(Environment.ProcessId);
        await using var other = await StubGateway.StartAsync();

        Assert.Equal(0, (await _cli.RunAsync("whoami")).ExitCode);
        Assert.Equal(4, (await _cli.RunAsync("whoami", "--gateway", other.Address.AbsoluteUri)).ExitCode);

        Assert.DoesNotContain(other.Keys, key => key.Contains(StubGateway.Key, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Local_IsThisMachinesPlatform_WhateverTheLoginSays()
    {
        await using var elsewhere = await StubGateway.StartAsync();
        elsewhere.Answers["/api/v1/me"] = (200, """{"name":"ada","role":"operator"}""");
        _gateway.Answers["/api/v1/me"] = (200, """{"name":"admin","role":"admin"}""");
        await RunsHereAsync(Environment.ProcessId);
        Assert.Equal(0, (await _cli.RunAsync("login", "--key", StubGateway.Key, "--gateway", elsewhere.Address.AbsoluteUri)).ExitCode);
        _cli.Variables["DEEPSEEK_GATEWAY"] = elsewhere.Address.AbsoluteUri;

        var (_, output, _) = await _cli.RunAsync("whoami", "--local", "--json");

        Assert.Equal("admin", JsonElement.Parse(output).GetProperty("name").GetString());
    }

    [Fact]
    public async Task Unreachable_ExitsThree_AndSaysHowToStart()
    {
        var address = _gateway.Address.AbsoluteUri;
        await _gateway.DisposeAsync();

        var (exitCode, _, error) = await _cli.RunAsync("whoami", "--key", StubGateway.Key, "--gateway", address);

        Assert.Equal(3, exitCode);
        Assert.Contains("./run", error, StringComparison.Ordinal);
    }

    /// <summary>Leaves in the data folder what a platform behind the stub gateway would.</summary>
    private async Task RunsHereAsync(int host)
    {
        Directory.CreateDirectory(Path.Combine(_cli.Home, "host"));
        await File.WriteAllTextAsync(
            Path.Combine(_cli.Home, "host", "endpoints.json"), JsonSerializer.Serialize(new { pid = host, endpoints = new { gateway = _gateway.Address } }));
        Directory.CreateDirectory(Path.Combine(_cli.Home, "gateway"));
        await File.WriteAllTextAsync(Path.Combine(_cli.Home, "gateway", "admin.key"), StubGateway.Key);
    }

    private Task<(int ExitCode, string Output, string Error)> RunAsync(params string[] arguments) =>
        _cli.RunAsync([.. arguments, "--gateway", _gateway.Address.AbsoluteUri]);
}
