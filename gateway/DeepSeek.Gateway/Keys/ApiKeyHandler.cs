using System.Text.Encodings.Web;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;

namespace DeepSeek.Gateway.Keys;

/// <summary>Authenticates by API key: <c>Authorization: Bearer dsk_…</c> or <c>X-Api-Key: dsk_…</c>.</summary>
internal sealed class ApiKeyHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, ActiveKeys keys)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    public const string SchemeName = "ApiKey";
    public const string Header = "X-Api-Key";
    private const string Bearer = "Bearer ";

    protected override Task<AuthenticateResult> HandleAuthenticateAsync() => Task.FromResult(Authenticate());

    protected override async Task HandleChallengeAsync(AuthenticationProperties properties)
    {
        Response.Headers.WWWAuthenticate = "Bearer";
        await base.HandleChallengeAsync(properties);
    }

    private AuthenticateResult Authenticate()
    {
        var sent = new List<string>();
        foreach (var value in Request.Headers.Authorization)
        {
            if (value?.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase) == true)
            {
                sent.Add(value[Bearer.Length..].Trim());
            }
        }

        sent.AddRange(Request.Headers[Header].OfType<string>());
        return sent.Distinct().ToList() switch
        {
            [] => AuthenticateResult.NoResult(),
            [var secret] when keys.Find(secret) is { } key => AuthenticateResult.Success(new AuthenticationTicket(Principal(key), Scheme.Name)),
            [_] => AuthenticateResult.Fail("The key is unknown or revoked."),
            _ => AuthenticateResult.Fail("Two different keys were sent."),
        };
    }

    private static System.Security.Claims.ClaimsPrincipal Principal(ActiveKey key) =>
        new PlatformIdentity { Sub = key.Name, Name = key.Name, Role = key.Role, Key = key.Id.ToString() }.ToPrincipal();
}
