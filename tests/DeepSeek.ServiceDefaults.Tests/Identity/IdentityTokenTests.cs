using System.Buffers.Text;
using System.Text;
using DeepSeek.ServiceDefaults.Identity;

namespace DeepSeek.ServiceDefaults.Tests.Identity;

public sealed class IdentityTokenTests
{
    private static readonly byte[] s_key = Encoding.UTF8.GetBytes(TestIdentity.SigningKey);
    private static readonly PlatformIdentity s_ada = new() { Sub = "ada", Name = "Ada", Role = Roles.Operator, Key = "k1" };
    private readonly Clock _clock = new();

    private IdentityTokens Tokens => new(s_key, _clock);

    [Fact]
    public void Token_OfOurs_GivesTheIdentityBack()
    {
        var identity = Tokens.Validate(Tokens.Mint(s_ada, IdentityTokens.RequestLife));
        Assert.Equal(s_ada with { Exp = _clock.Now.ToUnixTimeSeconds() + 60 }, identity);
    }

    [Fact]
    public void Token_AfterItsLife_IsVoid()
    {
        var token = Tokens.Mint(s_ada, IdentityTokens.RequestLife);
        _clock.Now += TimeSpan.FromSeconds(60);
        Assert.NotNull(Tokens.Validate(token));
        _clock.Now += TimeSpan.FromSeconds(1);
        Assert.Null(Tokens.Validate(token));
    }

    [Fact]
    public void Token_SignedWithAnotherKey_IsVoid() =>
        Assert.Null(Tokens.Validate(new IdentityTokens(Encoding.UTF8.GetBytes(new string('x', 44)), _clock).Mint(s_ada, IdentityTokens.RequestLife)));

    [Fact]
    public void Token_WithARaisedRole_IsVoid()
    {
        var parts = Tokens.Mint(s_ada, IdentityTokens.RequestLife).Split('.');
        var raised = Encoding.UTF8.GetString(Base64Url.DecodeFromChars(parts[0])).Replace("operator", "admin");
        Assert.Null(Tokens.Validate(Base64Url.EncodeToString(Encoding.UTF8.GetBytes(raised)) + "." + parts[1]));
    }

    [Fact]
    public void Token_WithAnyOneCharacterChanged_IsVoid()
    {
        var token = Tokens.Mint(s_ada, IdentityTokens.RequestLife);
        for (var i = 0; i < token.Length - 1; i++) // The last character's low bits are padding.
        {
            var changed = token[..i] + (token[i] == 'A' ? 'B' : 'A') + token[(i + 1)..];
            Assert.True(changed == token || Tokens.Validate(changed) is null, $"Character {i}: {changed}");
        }
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData(".")]
    [InlineData("e30.")]
    [InlineData("e30.AAAA")]
    [InlineData("no-dot")]
    [InlineData("%%%.%%%")]
    public void Token_ThatIsNone_IsVoid(string? token) => Assert.Null(Tokens.Validate(token));

    [Fact]
    public void Token_OfAbsurdLength_IsVoid() => Assert.Null(Tokens.Validate(new string('a', 1 << 20) + ".b"));

    private sealed class Clock : TimeProvider
    {
        public DateTimeOffset Now { get; set; } = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);
        public override DateTimeOffset GetUtcNow() => Now;
    }
}
