using System.Net;
using System.Net.Http.Json;
using System.Text;
using DeepSeek.Contracts.Registry;
using DeepSeek.Registry.Models;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Registry.Tests;

public sealed class VersionTests(RegistryFixture registry) : IClassFixture<RegistryFixture>
{
    [Fact]
    public async Task Register_TwentyAtOnce_GetTheNumbersOneToTwenty()
    {
        var versions = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => registry.RegisterAsync("crowd")));

        Assert.Equal(Enumerable.Range(1, 20), versions.Select(v => v.Version).Order());
        var model = await registry.GetAsync<ModelView>("/api/v1/models/crowd");
        Assert.Equal((20, 20), (model.LatestVersion, model.Versions));
    }

    [Fact]
    public async Task Register_RefusedInBetween_LeavesNoGap()
    {
        await registry.RegisterAsync("gapless");
        using var refused = await PostAsync("gapless", new { name = "model.onnx", sha256 = new string('c', 64) });
        var second = await registry.RegisterAsync("gapless");

        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        Assert.Contains("artifacts[0]", await refused.Content.ReadAsStringAsync());
        Assert.Equal(2, second.Version);
    }

    [Fact]
    public async Task Register_Version_IsAnnouncedAndKnowsItsAuthor()
    {
        await using var bus = await (await registry.BusAsync()).ListenAsync<ModelVersionRegistered>();

        var version = await registry.RegisterAsync("announced", metrics: new { accuracy = 0.97 });

        var message = await bus.ReceiveAsync<ModelVersionRegistered>(m => m.ModelName == "announced");
        Assert.Equal((1, version.Id, version.Id), (message.Version, message.VersionId, message.SourceId));
        Assert.Equal(("ann", SourceKind.Manual, ApprovalState.Pending), (version.Author, version.SourceKind, version.ApprovalState));
        Assert.Equal(0.97, version.Metrics["accuracy"]);
    }

    [Theory]
    [InlineData("model.pkl", "no safe format")]
    [InlineData("model.pt", "no safe format")]
    [InlineData("../model.onnx", "not a file name")]
    [InlineData("model", "not a file name")]
    public async Task Register_FileOfAnotherFormat_IsRefused(string name, string reason)
    {
        var model = await registry.UploadAsync(RegistryFixture.Onnx("safe"));
        var other = await registry.UploadAsync("anything");

        using var response = await PostAsync("refused", new { name = "model.onnx", sha256 = model }, new { name, sha256 = other });

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        var text = await response.Content.ReadAsStringAsync();
        Assert.Contains("artifacts[1]", text);
        Assert.Contains(reason, text);
    }

    [Fact]
    public async Task Register_NullArtifact_IsRefusedNamingTheList()
    {
        using var response = await PostAsync("refused", [null!]);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("\"artifacts\":[\"must not have null elements.\"]", await response.Content.ReadAsStringAsync());
    }

    [Theory]
    [InlineData("/api/v1/audit?actor=%00", "actor")]
    [InlineData("/api/v1/audit?action=a&subject=model/%00*", "subject")]
    public async Task Query_WithNul_IsRefusedNamingTheParameter(string address, string parameter)
    {
        using var response = await registry.Admin.GetAsync(address);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains($"\"errors\":{{\"{parameter}\":", await response.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task Register_PickleNamedOnnx_IsRefused()
    {
        // Protocol 2 pickle of os.system('id').
        var pickle = "\u0080\u0002cposix\nsystem\nq\0X\u0002\0\0\0idq\u0001\u0085q\u0002Rq\u0003."u8.ToArray();
        var sha256 = await registry.UploadAsync(pickle);

        using var response = await PostAsync("pickled", new { name = "model.onnx", sha256 });

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await registry.Ann.GetAsync("/api/v1/models/pickled")).StatusCode);
    }

    [Theory]
    [InlineData("notes.json", "{ \"open\": ", "not JSON")]
    [InlineData("weights.safetensors", "short", "too short")]
    [InlineData("weights.safetensors", "\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u007f{}", "would have")]
    [InlineData("weights.safetensors", "\u003f\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4000000000]}}", "outside the file")]
    public async Task Register_BrokenFile_IsRefused(string name, string content, string reason)
    {
        var model = await registry.UploadAsync(RegistryFixture.Onnx("safe"));
        var broken = await registry.UploadAsync(Encoding.Latin1.GetBytes(content));

        using var response = await PostAsync("refused", new { name = "model.onnx", sha256 = model }, new { name, sha256 = broken });

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains(reason, await response.Content.ReadAsStringAsync());
    }

    [Theory]
    [InlineData("Upper")]
    [InlineData("-dash")]
    [InlineData("a b")]
    [InlineData("%2e%2e%2fetc")]
    public async Task Register_BadModelName_IsRefused(string name)
    {
        using var response = await PostAsync(name, new { name = "model.onnx", sha256 = new string('c', 64) });

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
    }

    [Fact]
    public async Task Resolve_NumberAliasLatest_FindTheirVersions()
    {
        await registry.RegisterAsync("resolved");
        await registry.RegisterAsync("resolved");
        (await registry.SetAliasAsync("resolved", "staging", 1)).EnsureSuccessStatusCode();

        Assert.Equal(2, (await ResolveAsync("2")).Version);
        Assert.Equal(2, (await ResolveAsync("latest")).Version);
        Assert.Equal(1, (await ResolveAsync("staging")).Version);
        Assert.Equal(1, (await ResolveAsync("@staging")).Version);
        Assert.Equal(HttpStatusCode.NotFound, (await registry.Ann.GetAsync("/api/v1/models/resolved/resolve?ref=production")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await registry.Ann.GetAsync("/api/v1/models/resolved/resolve?ref=99999999999")).StatusCode);
    }

    [Fact]
    public async Task Delete_AliasedVersion_IsRefusedUntilTheAliasIsGone()
    {
        var version = await registry.RegisterAsync("held");
        var set = await registry.SetAliasAsync("held", "staging", 1);

        using var refused = await registry.Ann.DeleteAsync("/api/v1/models/held/versions/1");
        (await registry.Ann.DeleteAsync("/api/v1/models/held/aliases/staging")).EnsureSuccessStatusCode();
        (await registry.Ann.DeleteAsync("/api/v1/models/held/versions/1")).EnsureSuccessStatusCode();
        using var gone = await registry.Ann.GetAsync("/api/v1/models/held/versions/1");

        Assert.Equal(HttpStatusCode.Conflict, refused.StatusCode);
        Assert.Contains("@staging", await refused.Content.ReadAsStringAsync());
        Assert.Equal(HttpStatusCode.NotFound, gone.StatusCode);
        Assert.Contains("was deleted by ann", await gone.Content.ReadAsStringAsync());
        Assert.NotNull((await registry.GetAsync<VersionView>($"/api/v1/models/versions/{version.Id}")).DeletedAt);
        Assert.Equal(2, (await registry.RegisterAsync("held")).Version);
    }

    [Fact]
    public async Task Delete_Model_ItsNumbersAreNeverGivenAgain()
    {
        await registry.RegisterAsync("phoenix");
        (await registry.Ann.DeleteAsync("/api/v1/models/phoenix")).EnsureSuccessStatusCode();

        Assert.Equal(HttpStatusCode.NotFound, (await registry.Ann.GetAsync("/api/v1/models/phoenix")).StatusCode);
        Assert.Equal(2, (await registry.RegisterAsync("phoenix")).Version);
    }

    [Fact]
    public async Task List_Versions_PagesNewestFirst()
    {
        for (var i = 0; i < 3; i++)
            await registry.RegisterAsync("paged");

        var first = await registry.GetAsync<Page<VersionView>>("/api/v1/models/paged/versions?limit=2");
        var second = await registry.GetAsync<Page<VersionView>>($"/api/v1/models/paged/versions?limit=2&cursor={first.Next}");

        Assert.Equal([3, 2], first.Items.Select(v => v.Version));
        Assert.Equal([1], second.Items.Select(v => v.Version));
        Assert.Null(second.Next);
    }

    private Task<VersionView> ResolveAsync(string reference) => registry.GetAsync<VersionView>($"/api/v1/models/resolved/resolve?ref={reference}");

    private Task<HttpResponseMessage> PostAsync(string model, params object[] artifacts) =>
        registry.Ann.PostAsJsonAsync($"/api/v1/models/{model}/versions", new { artifacts });
}
