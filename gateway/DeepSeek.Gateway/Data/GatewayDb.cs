using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Gateway.Data;

public sealed class GatewayDb(DbContextOptions<GatewayDb> options) : DbContext(options)
{
    public DbSet<ApiKey> ApiKeys => Set<ApiKey>();
}

/// <summary>A key as it is stored: its secret is known to its holder only.</summary>
public sealed class ApiKey
{
    public required Guid Id { get; init; }
    /// <summary>The principal: several keys with the same name are the same person or program.</summary>
    public required string Name { get; init; }
    public required string Role { get; init; }
    /// <summary>SHA-256 of the secret. The secret has 256 random bits, so a slow hash would protect nothing more.</summary>
    public required byte[] Hash { get; init; }
    /// <summary>First characters of the secret, to recognise it by.</summary>
    public required string Hint { get; init; }
    public required string CreatedBy { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public string? RevokedBy { get; set; }
    public DateTimeOffset? RevokedAt { get; set; }
}
