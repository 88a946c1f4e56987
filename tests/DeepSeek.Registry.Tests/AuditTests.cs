using System.Net.Http.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.Registry.Audit;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Registry.Tests;

/// <summary>The log as it grows: each case has a registry of its own.</summary>
public sealed class AuditTests : IAsyncLifetime
{
    private readonly RegistryFixture _registry = new();

    public ValueTask InitializeAsync() => _registry.InitializeAsync();

    public ValueTask DisposeAsync() => _registry.DisposeAsync();

    [Fact]
    public async Task Verify_OlderStateOfTheDatabasePutBack_IsNamed()
    {
        await AuditLog.WriteAsync(_registry);
        await _registry.TamperAsync("create table old_entries as select * from audit_entries; create table old_head as select * from audit_head");
        await _registry.UploadAsync("one more");
        await Eventually.True(() => File.Exists(AnchorFile) && File.ReadAllText(AnchorFile).StartsWith("7 ", StringComparison.Ordinal));

        await _registry.TamperAsync(
            "delete from audit_entries; insert into audit_entries select * from old_entries; delete from audit_head; insert into audit_head select * from old_head");

        var verdict = await VerifyAsync();
        Assert.Equal(7, verdict.FirstBroken!.Sequence);
        Assert.Contains("outside the database", verdict.FirstBroken.Reason);
    }

    [Fact]
    public async Task Consume_AuditRecordedDeliveredTwice_IsWrittenOnce()
    {
        _registry.Start();
        await using var bus = await _registry.BusAsync();
        var message = new AuditRecorded
        {
            EntryId = Guid.CreateVersion7(), Actor = "bob", Action = "deployment.created", Subject = "deployment/d", Details = """{"ref":"production"}""", At = DateTimeOffset.UtcNow,
        };

        await bus.PublishAsync(message, Guid.CreateVersion7());
        await bus.PublishAsync(message, Guid.CreateVersion7()); // another message id: only the entry's own id tells
        await bus.PublishAsync(message with { EntryId = Guid.CreateVersion7(), Action = "deployment.deleted" });

        var entries = await Eventually.NotNull(async () =>
        {
            var page = await _registry.GetAsync<Page<AuditEntryView>>("/api/v1/audit?actor=bob");
            return page.Items.Any(e => e.Action == "deployment.deleted") ? page.Items : null;
        });
        Assert.Equal(2, entries.Count);
        Assert.Equal("production", entries[^1].Details.GetProperty("ref").GetString());
        Assert.True((await VerifyAsync()).Valid);
    }

    [Fact]
    public async Task Log_WrittenByManyAtOnce_HasNoGapsAndVerifies()
    {
        _registry.Start();
        await using var bus = await _registry.BusAsync();

        await Task.WhenAll(
            Task.WhenAll(Enumerable.Range(0, 15).Select(i => _registry.UploadAsync($"blob {i}"))),
            Task.WhenAll(Enumerable.Range(0, 15).Select(i => bus.PublishAsync(new AuditRecorded
            {
                EntryId = Guid.CreateVersion7(), Actor = "bob", Action = "a.b", Subject = "s", Details = "{}", At = DateTimeOffset.UtcNow,
            }))));

        await Eventually.True(async () => await VerifyAsync() is { Valid: true, Entries: 30 });
    }

    [Fact]
    public void HashOf_KnownEntry_IsTheCanonicalOne()
    {
        var entry = new AuditEntry
        {
            Sequence = 1, EntryId = new Guid("00112233-4455-6677-8899-aabbccddeeff"), At = DateTimeOffset.UnixEpoch.AddMicroseconds(1), RecordedAt = DateTimeOffset.UnixEpoch.AddMicroseconds(2),
            Actor = "ann", Action = "a.b", Subject = "s/é", Details = "{}", PreviousHash = AuditChain.Origin,
        };

        // Computed apart from this code, by audit_hash.py beside this file. A change of it breaks every log that exists.
        Assert.Equal("75bc5269840067e069af58d324a1746f072fe9c874e3fca7fb44556c61647807", Convert.ToHexStringLower(AuditChain.HashOf(entry)));
    }

    private string AnchorFile => Path.Combine(_registry.BlobFolder, "audit.head");

    private Task<AuditVerdict> VerifyAsync() => _registry.GetAsync<AuditVerdict>("/api/v1/audit/verify");
}
