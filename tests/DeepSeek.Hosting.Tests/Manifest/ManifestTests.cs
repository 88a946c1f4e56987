using System.Text.Json;

namespace DeepSeek.Hosting.Tests;

public sealed class ManifestTests
{
    [Fact]
    public async Task Manifest_OfTheGoldenModel_EqualsWhatAspireWrote()
    {
        var manifest = await ManifestWriter.WriteAsync(GoldenModel.Create(ManifestWriter.PublishArgs));

        // Text against text: names, values and order are all part of it.
        Assert.Equal(Repository.Golden("aspire-manifest.json"), manifest);
    }

    [Fact]
    public async Task Publisher_WithAnOutputPath_WritesTheFile()
    {
        using var data = new DataFolder();
        var path = Path.Combine(data.Path, "sub", "manifest.json");
        var builder = GoldenModel.Create("--publisher", "manifest", "--output-path", path);

        await builder.Build().RunAsync(Eventually.Token);

        using var manifest = JsonDocument.Parse(File.ReadAllText(path));
        Assert.Equal("postgres", manifest.RootElement.GetProperty("resources").EnumerateObject().First().Name);
    }

    [Fact]
    public async Task Publisher_WithoutAnOutputPath_NamesTheOption()
    {
        var app = GoldenModel.Create("--publisher", "manifest").Build();

        var fault = await Assert.ThrowsAsync<DistributedApplicationException>(() => app.RunAsync(Eventually.Token));
        Assert.Contains("--output-path", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task GeneratedParameter_IsWrittenWithItsRules()
    {
        var builder = Publish();
        builder.AddParameter("key", new GenerateParameterDefault { MinLength = 44, Special = false, MinUpper = 2 }, secret: true, persist: true);

        var entries = await ManifestWriter.EntriesAsync(builder);
        Assert.Equal("""{"type":"parameter.v0","value":"{key.inputs.value}","inputs":{"value":{"type":"string","secret":true,"default":{"generate":{"minLength":44,"special":false,"minUpper":2}}}}}""",
            entries["key"]);
    }

    [Fact]
    public async Task ParameterWithValue_IsWrittenOnlyIfItIsPublished()
    {
        var builder = Publish();
        builder.AddParameter("kept", "secret value");
        builder.AddParameter("published", "value", publishValueAsDefault: true);

        var entries = await ManifestWriter.EntriesAsync(builder);
        Assert.Equal("""{"type":"parameter.v0","value":"{kept.inputs.value}","inputs":{"value":{"type":"string"}}}""", entries["kept"]);
        Assert.Equal("""{"type":"parameter.v0","value":"{published.inputs.value}","inputs":{"value":{"type":"string","default":{"value":"value"}}}}""", entries["published"]);
    }

    [Fact]
    public async Task Executable_IsWrittenWithPortsFrom8000()
    {
        var builder = Publish();
        var key = builder.AddParameter("key");
        builder.AddExecutable("tool", "python3", Repository.Root, "run.py", "--fast")
            .WithHttpEndpoint(env: "PORT").WithEndpoint(name: "raw", port: 9000, targetPort: 9001)
            .WithEnvironment("KEY", key).WithEnvironment("TEXT", $"a {key} b");

        var entries = await ManifestWriter.EntriesAsync(builder);
        Assert.Equal("""{"type":"executable.v0","workingDirectory":".","command":"python3","args":["run.py","--fast"],"env":{"PORT":"{tool.bindings.http.targetPort}","KEY":"{key.value}","TEXT":"a {key.value} b"},"bindings":{"http":{"scheme":"http","protocol":"tcp","transport":"http","targetPort":8000},"raw":{"scheme":"tcp","protocol":"tcp","transport":"tcp","port":9000,"targetPort":9001}}}""",
            entries["tool"]);
    }

    [Fact]
    public async Task ConnectionString_IsWrittenByItsKind()
    {
        var builder = Publish();
        var key = builder.AddParameter("key");
        builder.AddConnectionString("given");
        builder.AddConnectionString("made", ReferenceExpression.Create($"Key={key};Encoded={key:uri}"));

        var entries = await ManifestWriter.EntriesAsync(builder);
        Assert.Equal("""{"type":"parameter.v0","connectionString":"{given.connectionString}","value":"{given.inputs.value}","inputs":{"value":{"type":"string","secret":true}}}""", entries["given"]);
        Assert.Equal("""{"type":"value.v0","connectionString":"Key={key.value};Encoded={key-uri-encoded.value}"}""", entries["made"]);
        Assert.Equal("""{"type":"annotated.string","value":"{key.value}","filter":"uri"}""", entries["key-uri-encoded"]);
    }

    [Fact]
    public async Task ResourceExcludedFromTheManifest_IsNotThere()
    {
        var builder = Publish();
        builder.AddRedis("cache").ExcludeFromManifest();

        Assert.Empty(await ManifestWriter.EntriesAsync(builder));
    }

    [Fact]
    public async Task RedisWithPersistence_IsStartedWithIt()
    {
        var builder = Publish();
        builder.AddRedis("cache").WithPersistence(TimeSpan.FromSeconds(30), 5);

        Assert.Contains("\"redis-server --requirepass $REDIS_PASSWORD --save 30 5\"", (await ManifestWriter.EntriesAsync(builder))["cache"], StringComparison.Ordinal);
    }

    private static IDistributedApplicationBuilder Publish() => DistributedApplication.CreateBuilder(ManifestWriter.PublishArgs);
}
