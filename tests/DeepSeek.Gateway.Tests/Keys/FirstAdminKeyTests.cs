using System.Net;

namespace DeepSeek.Gateway.Tests.Keys;

/// <summary>Changes the console's output, so nothing may run beside it.</summary>
[Collection(nameof(AloneCollection))]
public sealed class FirstAdminKeyTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task FirstKey_IsPrintedOnceAndWorksAfterARestart()
    {
        var console = Console.Out;
        using var printed = new StringWriter();
        Console.SetOut(TextWriter.Synchronized(printed));
        try
        {
            await using var gateway = new GatewayFixture();
            await gateway.InitializeAsync();
            var key = gateway.AdminKey;
            Assert.Equal(1, Count(printed, key));
            if (!OperatingSystem.IsWindows())
            {
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(gateway.KeyFile));
            }

            File.Delete(gateway.KeyFile);
            await using var restarted = new Replica(gateway);
            using var client = restarted.With(key);
            Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("/api/v1/keys", Token)).StatusCode);
            Assert.Equal(1, Count(printed, key));
            Assert.Equal(1, Count(printed, "First admin key"));
            Assert.False(File.Exists(gateway.KeyFile));
        }
        finally
        {
            Console.SetOut(console);
        }
    }

    [Fact]
    public async Task LastAdminKey_CannotBeRevoked()
    {
        await using var gateway = new GatewayFixture();
        await gateway.InitializeAsync();
        using var admin = gateway.Admin();
        var me = await admin.GetStringAsync("/api/v1/me", Token);
        var id = System.Text.Json.JsonDocument.Parse(me).RootElement.GetProperty("keyId").GetString();
        using var response = await admin.DeleteAsync($"/api/v1/keys/{id}", Token);
        Assert.Equal(HttpStatusCode.Conflict, response.StatusCode);
        await gateway.NewKeyAsync("admin", "second");
        Assert.Equal(HttpStatusCode.NoContent, (await admin.DeleteAsync($"/api/v1/keys/{id}", Token)).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await admin.GetAsync("/api/v1/me", Token)).StatusCode);
    }

    private static int Count(StringWriter printed, string text) => printed.ToString().Split(text).Length - 1;
}

[CollectionDefinition(nameof(AloneCollection), DisableParallelization = true)]
public sealed class AloneCollection;
