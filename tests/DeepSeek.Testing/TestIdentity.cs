using System.Text;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;

namespace DeepSeek.Testing;

/// <summary>Identity tokens as the gateway and other services would mint them.</summary>
public static class TestIdentity
{
    public const string SigningKey = "test-signing-key-of-forty-four-characters-00";

    public static IdentityTokens Tokens { get; } = new(Encoding.UTF8.GetBytes(SigningKey), TimeProvider.System);

    /// <summary>A token for a person (or, with <see cref="Roles.Service"/>, a service), good for an hour.</summary>
    public static string Token(string role, string name = "tester") =>
        Tokens.Mint(new PlatformIdentity { Sub = name, Name = name, Role = role }, TimeSpan.FromHours(1));

    public static HttpClient As(this HttpClient client, string role, string name = "tester")
    {
        client.DefaultRequestHeaders.Remove(IdentityTokens.Header);
        client.DefaultRequestHeaders.Add(IdentityTokens.Header, Token(role, name));
        return client;
    }
}
