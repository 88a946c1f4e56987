using System.Text.Json;

namespace DeepSeek.Client;

/// <summary>An API key without its secret. Roles: <c>reader</c>, <c>operator</c>, <c>approver</c>, <c>admin</c>.</summary>
public sealed record ApiKey(Guid Id, string Name, string Role, DateTimeOffset CreatedAt, DateTimeOffset? RevokedAt = null);

/// <summary>A new key with its secret, which is told only this once.</summary>
public sealed record CreatedApiKey(Guid Id, string Name, string Role, string Key);

/// <summary>Who a key belongs to.</summary>
public sealed record Identity(string Name, string Role);

/// <summary>API keys: <c>/api/v1/keys</c> (administrators).</summary>
public sealed class KeysClient
{
    private readonly ApiTransport _api;
    internal KeysClient(ApiTransport api) => _api = api;

    public Task<Identity> WhoAmIAsync(CancellationToken cancellationToken = default) => _api.GetAsync<Identity>("api/v1/me", cancellationToken);
    public Task<CreatedApiKey> CreateAsync(string name, string role, CancellationToken cancellationToken = default) => _api.SendAsync<CreatedApiKey>(HttpMethod.Post, "api/v1/keys", new { name, role }, cancellationToken);
    public IAsyncEnumerable<ApiKey> ListAsync(CancellationToken cancellationToken = default) => _api.ListAsync<ApiKey>("api/v1/keys", cancellationToken);
    public Task RevokeAsync(Guid id, CancellationToken cancellationToken = default) => _api.SendAsync(HttpMethod.Delete, $"api/v1/keys/{id}", null, cancellationToken);
}

/// <summary>Outcome of checking the audit log's chain of hashes.</summary>
public sealed record AuditVerification(bool Valid, long Entries, AuditFault? FirstBroken = null);

/// <summary>The first entry that does not hold, and why.</summary>
public sealed record AuditFault(long Sequence, string Reason);

/// <summary>One entry of the audit log: who did what to what, and its place in the chain of hashes.</summary>
public sealed record AuditEntry(
    long Sequence, Guid EntryId, DateTimeOffset At, DateTimeOffset RecordedAt, string Actor, string Action, string Subject, JsonElement Details, string PreviousHash, string Hash);

/// <summary>The audit log: <c>/api/v1/audit</c>.</summary>
public sealed class AuditClient
{
    private readonly ApiTransport _api;
    internal AuditClient(ApiTransport api) => _api = api;

    public IAsyncEnumerable<JsonElement> ListAsync(CancellationToken cancellationToken = default) => _api.ListAsync<JsonElement>("api/v1/audit", cancellationToken);

    /// <summary>Entries of one actor, action or subject (which may end in <c>*</c>), newest first.</summary>
    public IAsyncEnumerable<AuditEntry> SearchAsync(string? actor = null, string? action = null, string? subject = null, CancellationToken cancellationToken = default) =>
        _api.ListAsync<AuditEntry>("api/v1/audit?" + string.Join('&', new (string Name, string? Value)[] { ("actor", actor), ("action", action), ("subject", subject) }
            .Where(filter => filter.Value is not null).Select(filter => $"{filter.Name}={Uri.EscapeDataString(filter.Value!)}")), cancellationToken);

    public Task<AuditVerification> VerifyAsync(CancellationToken cancellationToken = default) => _api.GetAsync<AuditVerification>("api/v1/audit/verify", cancellationToken);
}
