using System.Net.Http.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.Registry.Audit;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Npgsql;

namespace DeepSeek.Registry.Tests;

public sealed class AuditTests : IAsyncLifetime
{
    private readonly RegistryFixture _registry = new();

    public ValueTask InitializeAsync() => _registry.InitializeAsync();

    public ValueTask DisposeAsync() => _registry.DisposeAsync();

    [Fact]
    public async Task Log_OfAllChanges_TellsWhoDidWhatAndVerifies()
    {
        await WriteAsync();

        var entries = (await _registry.GetAsync<Page<AuditEntryView>>("/api/v1/audit")).Items;
        var verdict = await VerifyAsync();

        Assert.Equal(
            ["alias.removed", "alias.moved", "alias.moved", "version.approved", "version.registered", "blob.stored"],
            entries.Select(e => e.Action));
        Assert.Equal((6L, "ann", "model/m@production"), (entries[0].Sequence, entries[0].Actor, entries[0].Subject));
        Assert.Equal(("max", "model/m/1"), (entries[3].Actor, entries[3].Subject));
        Assert.Equal("looked at it", entries[3].Details.GetProperty("comment").GetString());
        Assert.Equal(entries[1].Hash, entries[0].PreviousHash);
        Assert.Equal(new AuditVerdict(true, 6, null), verdict);
    }

    [Fact]
    public async Task Log_Filtered_ListsOnlyThose()
    {
        await WriteAsync();

        var bySubject = (await _registry.GetAsync<Page<AuditEntryView>>("/api/v1/audit?subject=model/m*")).Items;
        var byActor = (await _registry.GetAsync<Page<AuditEntryView>>("/api/v1/audit?actor=max&action=version.approved")).Items;

        Assert.Equal(5, bySubject.Count);
        Assert.Single(byActor);
    }

    [Theory]
    [InlineData("update audit_entries set actor = 'someone-else' where sequence = 3", 3, "was changed")]
    [InlineData("update audit_entries set details = replace(details, 'looked', 'nodded') where sequence = 3", 3, "was changed")]
    [InlineData("update audit_entries set at = at + interval '1 microsecond' where sequence = 4", 4, "was changed")]
    [InlineData("delete from audit_entries where sequence = 2", 2, "missing: number 3 follows 1")]
    [InlineData("delete from audit_entries where sequence = 1", 1, "missing")]
    [InlineData("delete from audit_entries where sequence = 6", 6, "at the end of the log")]
    [InlineData("delete from audit_entries where sequence >= 5", 5, "at the end of the log")]
    [InlineData("delete from audit_entries where sequence = 6; update audit_head set sequence = 5, hash = (select hash from audit_entries where sequence = 5)", 5, "head")]
    [InlineData("delete from audit_head", 6, "head of the log is missing")]
    [InlineData("update audit_entries set mac = mac || mac where sequence = 2", 2, "signature")]
    [InlineData("update audit_entries set previous_hash = hash where sequence = 4", 4, "previous hash")]
    [InlineData("delete from audit_entries where sequence = 3; update audit_entries set sequence = sequence - 1 where sequence > 3", 3, "previous hash")]
    public async Task Verify_RowsTamperedWithAsSuperuser_NamesTheFirstBrokenEntry(string sql, long sequence, string reason)
    {
        await WriteAsync();
        Assert.True((await VerifyAsync()).Valid);

        await _registry.TamperAsync(sql);

        var verdict = await VerifyAsync();
        Assert.False(verdict.Valid);
        Assert.Equal(sequence, verdict.FirstBroken!.Sequence);
        Assert.Contains(reason, verdict.FirstBroken.Reason);
    }

    [Fact]
    public async Task Verify_ChainRecomputedWithoutTheKey_IsNamed()
    {
        await WriteAsync();
        var last = (await _registry.GetAsync<Page<AuditEntryView>>("/api/v1/audit?limit=1")).Items[0];
        var forged = new AuditEntry
        {
            Sequence = 6, EntryId = last.EntryId, At = last.At, RecordedAt = last.RecordedAt, Actor = "someone-else", Action = last.Action,
            Subject = last.Subject, Details = last.Details.GetRawText(), PreviousHash = Convert.FromHexString(last.PreviousHash),
        };
        var hash = Convert.ToHexString(AuditChain.HashOf(forged));

        await _registry.TamperAsync($"update audit_entries set actor = 'someone-else', hash = '\\x{hash}' where sequence = 6; update audit_head set hash = '\\x{hash}'");

        var verdict = await VerifyAsync();
        Assert.Equal(6, verdict.FirstBroken!.Sequence);
        Assert.Contains("signature", verdict.FirstBroken.Reason);
    }

    [Fact]
    public async Task Verify_OlderStateOfTheDatabasePutBack_IsNamed()
    {
        await WriteAsync();
        await _registry.TamperAsync("create table old_entries as select * from audit_entries; create table old_head as select * from audit_head");
        await _registry.UploadAsync("one more");
        await Eventually.True(() => File.Exists(AnchorFile) && File.ReadAllText(AnchorFile).StartsWith("7 ", StringComparison.Ordinal));

        await _registry.TamperAsync(
            "delete from audit_entries; insert into audit_entries select * from old_entries; delete from audit_head; insert into audit_head select * from old_head");

        var verdict = await VerifyAsync();
        Assert.Equal(7, verdict.FirstBroken!.Sequence);
        Assert.Contains("outside the database", verdict.FirstBroken.Reason);
    }

    [Theory]
    [InlineData("update audit_entries set actor = 'x'")]
    [InlineData("delete from audit_entries")]
    [InlineData("truncate audit_entries")]
    [InlineData("update alias_moves set actor = 'x'")]
    public async Task Database_ChangeOfTheLog_IsRefused(string sql)
    {
        await WriteAsync();

        var fault = await Assert.ThrowsAsync<PostgresException>(() => _registry.Database.ScalarAsync<object>(sql));

        Assert.Contains("append-only", fault.MessageText);
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

    /// <summary>Six entries: blob, version, approval, two aliases set, one removed.</summary>
    private async Task WriteAsync()
    {
        await _registry.RegisterAsync("m", RegistryFixture.Onnx("audit"));
        (await _registry.ApproveAsync("m", 1)).EnsureSuccessStatusCode();
        (await _registry.SetAliasAsync("m", "staging", 1)).EnsureSuccessStatusCode();
        (await _registry.SetAliasAsync("m", "production", 1)).EnsureSuccessStatusCode();
        (await _registry.Ann.DeleteAsync("/api/v1/models/m/aliases/production")).EnsureSuccessStatusCode();
    }

    private Task<AuditVerdict> VerifyAsync() => _registry.GetAsync<AuditVerdict>("/api/v1/audit/verify");
}
