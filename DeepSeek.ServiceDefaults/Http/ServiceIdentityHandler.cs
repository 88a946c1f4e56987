using DeepSeek.ServiceDefaults.Identity;

namespace DeepSeek.ServiceDefaults.Http;

/// <summary>Signs outgoing calls as <c>service:&lt;area&gt;</c>, on behalf of the person whose request is being served, if any.</summary>
internal sealed class ServiceIdentityHandler(ServiceArea area, IdentityTokens tokens, IHttpContextAccessor http) : DelegatingHandler
{
    protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var name = "service:" + area.Name;
        var user = http.HttpContext?.User;
        var identity = new PlatformIdentity
        {
            Sub = name,
            Name = name,
            Role = Roles.Service,
            OnBehalfOf = user?.Identity?.IsAuthenticated == true ? user.Actor() : null,
        };
        request.Headers.Remove(IdentityTokens.Header);
        request.Headers.Add(IdentityTokens.Header, tokens.Mint(identity, IdentityTokens.ServiceLife));
        return base.SendAsync(request, cancellationToken);
    }
}
