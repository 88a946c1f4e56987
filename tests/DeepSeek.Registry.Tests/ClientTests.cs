using System.Net;
using DeepSeek.Client;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.Testing;

namespace DeepSeek.Registry.Tests;

/// <summary>The typed client against the real registry: addresses, wire types, problems.</summary>
public sealed class ClientTests(RegistryFixture registry) : IClassFixture<RegistryFixture>
{
    private readonly DeepSeekClient _ann = As(registry, Roles.Operator, "ann");
    private readonly DeepSeekClient _max = As(registry, Roles.Approver, "max");

    [Fact]
    public async Task Models_FromUploadToProduction_AndBackInTime()
    {
        using var folder = new TestFolder();
        var file = Path.Combine(folder.Path, "model.onnx");
        await File.WriteAllBytesAsync(file, RegistryFixture.Onnx("client"));

        var blob = await _ann.Blobs.UploadAsync(file);
        var again = await _ann.Blobs.UploadAsync(file);
        var version = await _ann.Models.RegisterAsync("client", new NewModelVersion
        {
            Artifacts = [new NewArtifact("model.onnx", blob.Sha256)],
            Metrics = new Dictionary<string, double> { ["accuracy"] = 0.97 },
        });
        await _max.Models.ApproveAsync("client", 1, "fine");
        await _ann.Models.SetAliasAsync("client", "production", 1);
        await _ann.Models.SetAliasAsync("client", "production", 1);
        await _ann.Blobs.DownloadAsync(blob.Sha256, Path.Combine(folder.Path, "copy"));

        Assert.Equal(blob, again);
        Assert.Equal(("client", 1, "ann", "manual", 0.97), (version.ModelName, version.Version, version.Author, version.SourceKind, version.Metrics["accuracy"]));
        Assert.Equal(blob.Sha256, version.Artifact("model.onnx").Sha256);
        var resolved = await _ann.Models.ResolveAsync("client", "@production");
        Assert.Equal((version.Id, "approved", "max", "approve"), (resolved.Id, resolved.ApprovalState, resolved.Approvals.Single().Actor, resolved.Approvals.Single().Decision));
        Assert.Equal(1, (await _ann.Models.GetAsync("client")).Aliases!["production"]);
        Assert.Equal(["client"], await _ann.Models.ListAsync("client").Select(m => m.Name).ToListAsync());
        Assert.Equal(1, (await _ann.Models.GetAliasAtAsync("client", "production", DateTimeOffset.UtcNow)).Version);
        Assert.Single(await _ann.Models.ListAliasMovesAsync("client", "production").ToListAsync());
        Assert.Equal(version.Id, (await _ann.Models.GetLineageAsync("client", 1)).GetProperty("versionId").GetGuid());
        Assert.Equal(await File.ReadAllBytesAsync(file), await File.ReadAllBytesAsync(Path.Combine(folder.Path, "copy")));
    }

    [Fact]
    public async Task Models_Refused_ThrowsTheProblem()
    {
        var missing = await Assert.ThrowsAsync<DeepSeekApiException>(() => _ann.Models.GetAsync("nowhere"));
        var invalid = await Assert.ThrowsAsync<DeepSeekApiException>(() => _ann.Models.RegisterAsync("bad", new NewModelVersion { Artifacts = [] }));
        var forbidden = await Assert.ThrowsAsync<DeepSeekApiException>(() => _ann.Models.ApproveAsync("nowhere", 1));

        Assert.Equal(HttpStatusCode.NotFound, missing.Status);
        Assert.Contains("nowhere", missing.Message);
        Assert.Contains("artifacts", invalid.Errors.Keys);
        Assert.Equal(HttpStatusCode.Forbidden, forbidden.Status);
    }

    [Fact]
    public async Task List_MoreThanAPage_YieldsAll()
    {
        for (var i = 0; i < 55; i++)
            await registry.RegisterAsync("many", RegistryFixture.Onnx("many"));

        Assert.Equal(Enumerable.Range(1, 55).Reverse(), await _ann.Models.ListVersionsAsync("many").Select(v => v.Version).ToListAsync());
    }

    [Fact]
    public async Task Audit_VerifyAndSearch_ReadTheLog()
    {
        await registry.UploadAsync("for the log");

        var entry = await _ann.Audit.SearchAsync(subject: $"blob/{BlobHash.Of("for the log"u8)}").SingleAsync();
        var verdict = await _ann.Audit.VerifyAsync();

        Assert.Equal(("ann", "blob.stored", 11), (entry.Actor, entry.Action, entry.Details.GetProperty("bytes").GetInt32()));
        Assert.True(verdict.Valid);
        Assert.True(verdict.Entries >= entry.Sequence);
    }

    private static DeepSeekClient As(RegistryFixture registry, string role, string name) =>
        new(registry.Address, "dsk_unused", new IdentityHandler(TestIdentity.Token(role, name)));

    /// <summary>What the gateway does: an identity token in place of the key.</summary>
    private sealed class IdentityHandler(string token) : DelegatingHandler(new SocketsHttpHandler())
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            request.Headers.Authorization = null;
            request.Headers.Add(IdentityTokens.Header, token);
            return base.SendAsync(request, cancellationToken);
        }
    }
}
