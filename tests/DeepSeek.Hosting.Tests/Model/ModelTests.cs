namespace DeepSeek.Hosting.Tests;

public sealed class ModelTests
{
    [Theory]
    [InlineData("1st", "start with an ASCII letter")]
    [InlineData("a_b", "only ASCII letters, digits, and hyphens")]
    [InlineData("a--b", "consecutive hyphens")]
    [InlineData("a-", "end with a hyphen")]
    public void ResourceName_ThatBreaksARule_IsRefusedWithTheRule(string name, string rule)
    {
        var fault = Assert.Throws<ArgumentException>(() => Builder().AddParameter(name));
        Assert.Contains(rule, fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ResourceName_InAnotherCase_IsADuplicate()
    {
        var builder = Builder();
        builder.AddRedis("cache");

        Assert.Throws<DistributedApplicationException>(() => builder.AddParameter("Cache"));
    }

    [Fact]
    public void Endpoint_OfTheSameName_IsRefused()
        => Assert.Throws<DistributedApplicationException>(() => Builder().AddExecutable("tool", "true", ".").WithHttpEndpoint().WithHttpEndpoint());

    [Fact]
    public void HttpHealthCheck_WithoutAnHttpEndpoint_IsRefused()
        => Assert.Throws<DistributedApplicationException>(() => Builder().AddExecutable("tool", "true", ".").WithHttpHealthCheck("/health"));

    [Fact]
    public void WaitFor_ADatabase_WaitsForItsServerToo()
    {
        var builder = Builder();
        var postgres = builder.AddPostgres("postgres");
        var database = postgres.AddDatabase("db");
        var tool = builder.AddExecutable("tool", "true", ".").WaitFor(database);

        Assert.Equal([postgres.Resource, database.Resource], tool.Resource.Annotations.OfType<WaitAnnotation>().Select(wait => wait.Resource));
    }

    [Fact]
    public void WaitFor_Itself_IsRefused()
    {
        var tool = Builder().AddExecutable("tool", "true", ".");

        Assert.Throws<DistributedApplicationException>(() => tool.WaitFor(tool));
    }

    [Fact]
    public async Task Parameter_IsTakenFromConfigurationBeforeItsDefault()
    {
        var builder = Builder("--Parameters:a-key", "configured", "--Parameters:other_key", "with underscore");

        Assert.Equal("configured", await builder.AddParameter("a-key", "default").Resource.GetValueAsync(Eventually.Token));
        Assert.Equal("with underscore", await builder.AddParameter("other-key").Resource.GetValueAsync(Eventually.Token));
        var fault = Assert.Throws<MissingParameterValueException>(() => builder.AddParameter("no-key").Resource.Value);
        Assert.Contains("Parameters__no_key", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void GeneratedParameter_ThatPersists_IsTheSameNextTime_AndPrivate()
    {
        using var data = new DataFolder();
        string Generate(string name) => TestApplication.CreateBuilder(data).AddParameter(name, new GenerateParameterDefault { MinLength = 44, Special = false }, secret: true, persist: true).Resource.Value;

        var first = Generate("key");

        Assert.Equal(44, first.Length);
        Assert.All(first, c => Assert.True(char.IsAsciiLetterOrDigit(c)));
        Assert.Equal(first, Generate("key"));
        Assert.NotEqual(first, Generate("other"));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(data.Path, "host", "parameters.json")));
    }

    [Fact]
    public void GeneratedParameter_HasTheCharactersItsRulesAskFor()
    {
        var value = new GenerateParameterDefault { MinLength = 8, Lower = false, MinUpper = 3, MinNumeric = 4, MinSpecial = 5 }.GetDefaultValue();

        Assert.Equal(12, value.Length);
        Assert.Equal(3, value.Count(char.IsAsciiLetterUpper));
        Assert.Equal(4, value.Count(char.IsAsciiDigit));
        Assert.Throws<ArgumentException>(() => new GenerateParameterDefault { MinLength = 8, Lower = false, Upper = false, Numeric = false, Special = false }.GetDefaultValue());
    }

    [Fact]
    public async Task ReferenceExpression_EscapesBraces_AndEncodes()
    {
        var builder = Builder("--Parameters:p", "a b/c");
        var p = builder.AddParameter("p");

        var expression = ReferenceExpression.Create($"{{x}} {p} {p:uri}");

        Assert.Equal("{x} a b/c a%20b%2Fc", await expression.GetValueAsync(Eventually.Token));
        Assert.Equal("{x} {p.value} {p.value}", expression.ValueExpression);
    }

    [Fact]
    public async Task References_ToServicesOutside_AreInjectedByName()
    {
        var builder = Builder();
        var tool = builder.AddExecutable("tool", "true", ".").WithReference("weather", new Uri("https://weather.example/"))
            .WithReference(builder.AddExternalService("git-hub", "https://api.github.com/"));

        var variables = await VariablesAsync(builder, tool.Resource);

        Assert.Equal("https://weather.example/", variables["services__weather__default__0"]);
        Assert.Equal("https://weather.example/", variables["weather"]);
        Assert.Equal("https://api.github.com/", variables["services__git-hub__https__0"]);
        Assert.Equal("https://api.github.com/", variables["GIT_HUB"]);
    }

    [Fact]
    public async Task References_CanBeNarrowed()
    {
        var builder = Builder("--ConnectionStrings:db", "Host=there");
        var tool = builder.AddExecutable("tool", "true", ".").WithReference(builder.AddConnectionString("db"))
            .WithReferenceEnvironment(ReferenceEnvironmentInjectionFlags.None);

        Assert.Empty(await VariablesAsync(builder, tool.Resource));
        tool.WithReferenceEnvironment(ReferenceEnvironmentInjectionFlags.ConnectionString);
        Assert.Equal("Host=there", (await VariablesAsync(builder, tool.Resource))["ConnectionStrings__db"]);
    }

    [Theory]
    [InlineData("--a \"b c\" d", new[] { "--a", "b c", "d" })]
    [InlineData("\"\" x", new[] { "", "x" })]
    public void CommandLine_IsSplitAtBlanksOutsideQuotes(string line, string[] words) => Assert.Equal(words, CommandLine.Split(line));

    private static IDistributedApplicationBuilder Builder(params string[] args)
        => DistributedApplication.CreateBuilder(new DistributedApplicationOptions { Args = args, DisableDashboard = true });

    private static async Task<Dictionary<string, string?>> VariablesAsync(IDistributedApplicationBuilder builder, IResource resource)
    {
        var variables = new Dictionary<string, string?>();
        foreach (var (name, value) in await ResourceConfiguration.EnvironmentAsync(resource, builder.ExecutionContext))
        {
            variables[name] = await ResourceConfiguration.TextAsync(value, resource, builder.ExecutionContext, Eventually.Token);
        }

        return variables;
    }
}
