using System.Security.Claims;
using DeepSeek.ServiceDefaults.Identity;

namespace DeepSeek.ServiceDefaults;

public static class PrincipalExtensions
{
    /// <summary>The name under which this principal owns and does things; a service that acts for a person is that person.</summary>
    public static string Actor(this ClaimsPrincipal principal) =>
        principal.FindFirstValue(IdentityExtensions.OnBehalfOfClaim)
        ?? principal.FindFirstValue(ClaimTypes.NameIdentifier)
        ?? throw new InvalidOperationException("No authenticated principal here: the endpoint must not allow anonymous calls.");

    /// <summary>Id of the API key behind the request; null for a service's own call.</summary>
    public static string? ApiKeyId(this ClaimsPrincipal principal) => principal.FindFirstValue(IdentityExtensions.KeyClaim);
}
