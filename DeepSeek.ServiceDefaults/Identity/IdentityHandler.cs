using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;

namespace DeepSeek.ServiceDefaults.Identity;

/// <summary>Authenticates a request by its identity token.</summary>
internal sealed class IdentityHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, IdentityTokens tokens)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (!Request.Headers.TryGetValue(IdentityTokens.Header, out var header))
        {
            return Task.FromResult(AuthenticateResult.NoResult());
        }

        return Task.FromResult(header.Count == 1 && tokens.Validate(header[0]) is { } identity
            ? AuthenticateResult.Success(new AuthenticationTicket(identity.ToPrincipal(), Scheme.Name))
            : AuthenticateResult.Fail("The identity token is forged or has expired."));
    }
}
