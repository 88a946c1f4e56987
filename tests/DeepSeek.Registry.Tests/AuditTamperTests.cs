using System.Net.Http.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.Registry.Audit;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Npgsql;

namespace DeepSeek.Registry.Tests;

/// <summary>A registry with a log of six entries: blob, version, approval, two aliases set, one removed.</summary>
public sealed class AuditLog : RegistryFixture
{
    private static readonly string[] s_tables = ["audit_entries", "audit_head"];

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        await WriteAsync(this);
        await TamperAsync(string.Join(';', s_tables.Select(t => $"create table kept_{t} as select * from {t}")));
    }

    /// <summary>Puts the log's rows back as they were written.</summary>
    public Task RestoreAsync() => TamperAsync(string.Join(';', s_tables.Select(t => $"delete from {t}; insert into {t} select * from kept_{t}")));

    internal static async Task WriteAsync(RegistryFixture registry)
    {
        await registry.RegisterAsync("m", Onnx("audit"));
        (await registry.ApproveAsync("m", 1)).EnsureSuccessStatusCode();
        (await registry.SetAliasAsync("m", "staging", 1)).EnsureSuccessStatusCode();
        (await registry.SetAliasAsync("m", "production", 1)).EnsureSuccessStatusCode();
        (await registry.Ann.DeleteAsync("/api/v1/models/m/aliases/production")).EnsureSuccessStatusCode();
    }
}

/// <summary>The log at rest: read, and tampered with, always the same six entries.</summary>
public sealed class AuditTamperTests(AuditLog registry) : IClassFixture<AuditLog>, IAsyncLifetime
{
    private readonly AuditLog _registry = registry;

    public async ValueTask InitializeAsync() => await _registry.RestoreAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task Log_OfAllChanges_TellsWhoDidWhatAndVerifies()
    {
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

    [Theory]
    [InlineData("update audit_entries set actor = 'x'")]
    [InlineData("delete from audit_entries")]
    [InlineData("truncate audit_entries")]
    [InlineData("update alias_moves set actor = 'x'")]
    public async Task Database_ChangeOfTheLog_IsRefused(string sql)
    {
        var fault = await Assert.ThrowsAsync<PostgresException>(() => _registry.Database.ScalarAsync<object>(sql));

        Assert.Contains("append-only", fault.MessageText);
    }

    private Task<AuditVerdict> VerifyAsync() => _registry.GetAsync<AuditVerdict>("/api/v1/audit/verify");
}
