using DeepSeek.Gateway.Data;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Gateway.Keys;

/// <summary>Making and telling of keys.</summary>
internal static class ApiKeys
{
    public static (ApiKey Key, string Secret) Create(string name, string role, string createdBy, DateTimeOffset now)
    {
        var secret = ApiKeySecret.Create();
        var key = new ApiKey
        {
            Id = Guid.CreateVersion7(now),
            Name = name,
            Role = role,
            Hash = ApiKeySecret.Hash(secret),
            Hint = ApiKeySecret.Hint(secret),
            CreatedBy = createdBy,
            CreatedAt = now,
        };
        return (key, secret);
    }

    public static void AuditCreated(GatewayDb db, ApiKey key) =>
        db.Audit(key.CreatedBy, "key.created", $"keys/{key.Id}", new { key.Name, key.Role });

    public static void AuditRevoked(GatewayDb db, ApiKey key) =>
        db.Audit(key.RevokedBy!, "key.revoked", $"keys/{key.Id}", new { key.Name, key.Role });
}
