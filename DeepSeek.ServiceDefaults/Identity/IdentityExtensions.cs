using System.ComponentModel.DataAnnotations;
using System.Security.Claims;
using System.Text;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.Extensions.Options;

namespace DeepSeek.ServiceDefaults.Identity;

/// <summary>Configuration section <c>Identity</c>; the same for all services of one platform.</summary>
public sealed class IdentityOptions
{
    public const string Section = "Identity";

    /// <summary>Secret that signs identity tokens, at least 32 characters. No default: the application host injects it.</summary>
    [Required(ErrorMessage = "Set Identity__SigningKey to the secret that all services of the platform share (at least 32 characters); the application host injects it.")]
    [MinLength(32, ErrorMessage = "Identity__SigningKey is too short: at least 32 characters.")]
    public string SigningKey { get; set; } = "";
}

public static class IdentityExtensions
{
    public const string Scheme = "DeepSeek";

    internal const string OnBehalfOfClaim = "obo";
    public const string KeyClaim = "key";

    internal static void AddPlatformIdentity(this WebApplicationBuilder builder)
    {
        builder.Services.AddOptions<IdentityOptions>().BindConfiguration(IdentityOptions.Section)
            .ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddSingleton(services => new IdentityTokens(
            Encoding.UTF8.GetBytes(services.GetRequiredService<IOptions<IdentityOptions>>().Value.SigningKey),
            services.GetRequiredService<TimeProvider>()));
        builder.Services.AddHttpContextAccessor();
        builder.Services.AddAuthentication(Scheme)
            .AddScheme<AuthenticationSchemeOptions, IdentityHandler>(Scheme, null);
        builder.Services.AddAuthorizationBuilder()
            .AddPolicy(Policies.Reader, policy => policy.RequireRole(Roles.Reader, Roles.Operator, Roles.Approver, Roles.Admin, Roles.Service))
            .AddPolicy(Policies.Operator, policy => policy.RequireRole(Roles.Operator, Roles.Admin, Roles.Service))
            .AddPolicy(Policies.Approver, policy => policy.RequireRole(Roles.Approver, Roles.Admin))
            .AddPolicy(Policies.Admin, policy => policy.RequireRole(Roles.Admin))
            .AddPolicy(Policies.Service, policy => policy.RequireRole(Roles.Service))
            .SetFallbackPolicy(new AuthorizationPolicyBuilder().RequireAuthenticatedUser().Build());
    }

    public static ClaimsPrincipal ToPrincipal(this PlatformIdentity identity)
    {
        var claims = new List<Claim>
        {
            new(ClaimTypes.NameIdentifier, identity.Sub),
            new(ClaimTypes.Name, identity.Name),
            new(ClaimTypes.Role, identity.Role),
        };
        if (identity.Key is { } key)
        {
            claims.Add(new Claim(KeyClaim, key));
        }

        if (identity is { Role: Roles.Service, OnBehalfOf: { } person })
        {
            claims.Add(new Claim(OnBehalfOfClaim, person));
        }

        return new ClaimsPrincipal(new ClaimsIdentity(claims, Scheme));
    }
}
