using System.Security.Claims;
using System.Text.RegularExpressions;
using DeepSeek.Gateway.Data;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Gateway.Keys;

internal static partial class KeysApi
{
    private const long RevocationLock = 0x7265_766F_6B65; // "revoke"

    public static void AddApiKeys(this WebApplicationBuilder builder)
    {
        // The base class tells of every refused request.
        builder.Logging.AddFilter(typeof(ApiKeyHandler).FullName, LogLevel.Warning);
        builder.Services.AddHostedService<FirstAdminKey>();
        builder.Services.AddSingleton<ActiveKeys>();
        builder.Services.AddHostedService(services => services.GetRequiredService<ActiveKeys>());
        builder.Services.AddAuthentication(ApiKeyHandler.SchemeName)
            .AddScheme<AuthenticationSchemeOptions, ApiKeyHandler>(ApiKeyHandler.SchemeName, null);
    }

    public static void MapKeysApi(this WebApplication app)
    {
        app.MapGet("/api/v1/me", Me).RequireAuthorization(Policies.Reader).WithTags("keys").WithSummary("Who this key is");
        var keys = app.MapGroup("/api/v1/keys").RequireAuthorization(Policies.Admin).WithTags("keys");
        keys.MapPost("/", CreateAsync).WithSummary("Makes a key; its secret is shown in this response only");
        keys.MapGet("/", ListAsync).WithSummary("Lists keys, newest first, revoked ones included");
        keys.MapDelete("/{id:guid}", RevokeAsync).WithSummary("Revokes a key; it stops working within two seconds");
    }

    private static Principal Me(ClaimsPrincipal user) =>
        new(user.Actor(), user.FindFirstValue(ClaimTypes.Role)!, user.ApiKeyId()!);

    private static async Task<Created<NewKey>> CreateAsync(
        KeyRequest request, ClaimsPrincipal user, HttpContext http, GatewayDb db, ActiveKeys keys, TimeProvider time, CancellationToken cancellationToken)
    {
        if (!NamePattern().IsMatch(request.Name))
        {
            throw Problems.Invalid("name", "must be 1 to 64 of a-z, 0-9, '.', '_', '-', '@' and begin with a letter or digit.");
        }

        if (!Roles.OfKeys.Contains(request.Role))
        {
            throw Problems.Invalid("role", $"must be one of {string.Join(", ", Roles.OfKeys)}.");
        }

        var (key, secret) = ApiKeys.Create(request.Name, request.Role, user.Actor(), time.GetUtcNow());
        db.ApiKeys.Add(key);
        ApiKeys.AuditCreated(db, key);
        await db.SaveChangesAsync(cancellationToken);
        // The key is made: a client that goes now must not turn that into a failure, after which a repeat would make another.
        await keys.RefreshAsync(CancellationToken.None);
        http.Response.Headers.CacheControl = "no-store";
        return TypedResults.Created($"/api/v1/keys/{key.Id}", new NewKey(key.Id, key.Name, key.Role, secret, key.CreatedAt));
    }

    private static Task<Page<KeyInfo>> ListAsync([AsParameters] PageRequest page, GatewayDb db, CancellationToken cancellationToken) =>
        db.ApiKeys.AsNoTracking().ToPageAsync(key => key.Id, page,
            key => new KeyInfo(key.Id, key.Name, key.Role, key.Hint, key.CreatedBy, key.CreatedAt, key.RevokedBy, key.RevokedAt), cancellationToken);

    private static async Task<NoContent> RevokeAsync(
        Guid id, ClaimsPrincipal user, GatewayDb db, ActiveKeys keys, TimeProvider time, CancellationToken cancellationToken)
    {
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        // Two admins who revoke each other at once must not leave the platform without any.
        await db.Database.ExecuteSqlAsync($"select pg_advisory_xact_lock({RevocationLock})", cancellationToken);
        var key = await db.ApiKeys.SingleOrDefaultAsync(key => key.Id == id, cancellationToken) ?? throw Problems.NotFound("key", id);
        if (key.RevokedAt is not null)
        {
            return TypedResults.NoContent();
        }

        if (key.Role == Roles.Admin
            && !await db.ApiKeys.AnyAsync(other => other.Id != id && other.Role == Roles.Admin && other.RevokedAt == null, cancellationToken))
        {
            throw Problems.Conflict("This is the last admin key; make another one first.");
        }

        (key.RevokedBy, key.RevokedAt) = (user.Actor(), time.GetUtcNow());
        ApiKeys.AuditRevoked(db, key);
        await db.SaveChangesAsync(cancellationToken);
        await transaction.CommitAsync(cancellationToken);
        await keys.RefreshAsync(cancellationToken);
        return TypedResults.NoContent();
    }

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9._@-]{0,63}\z")]
    private static partial Regex NamePattern();
}

/// <param name="Name">The person or program; owner, author and actor of what the key does.</param>
/// <param name="Role">reader, operator, approver or admin.</param>
public sealed record KeyRequest(string Name, string Role);

/// <param name="Key">The secret; it cannot be read again.</param>
public sealed record NewKey(Guid Id, string Name, string Role, string Key, DateTimeOffset CreatedAt);

/// <param name="Hint">The secret's first characters.</param>
public sealed record KeyInfo(
    Guid Id, string Name, string Role, string Hint, string CreatedBy, DateTimeOffset CreatedAt, string? RevokedBy, DateTimeOffset? RevokedAt);

public sealed record Principal(string Name, string Role, string KeyId);
