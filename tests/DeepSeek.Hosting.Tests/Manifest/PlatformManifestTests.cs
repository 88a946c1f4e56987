using System.Diagnostics;
using System.Text.Json;
using DeepSeek.Contracts;

namespace DeepSeek.Hosting.Tests;

public sealed class PlatformManifestTests
{
    [Fact]
    public async Task CheckedInManifest_EqualsWhatTheAppHostPublishes()
    {
        // Beside the checked-in one, because the paths in it are relative to it.
        var path = Path.Combine(Repository.Root, $"aspire-manifest.{Environment.ProcessId}.json");
        try
        {
            using var host = Process.Start("dotnet", [Repository.Assembly("DeepSeek.AppHost"), "--publisher", "manifest", "--output-path", path]);
            await host.WaitForExitAsync(Eventually.Token);

            Assert.Equal(0, host.ExitCode);
            Assert.Equal(File.ReadAllText(Path.Combine(Repository.Root, "aspire-manifest.json")), File.ReadAllText(path));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void CheckedInManifest_HoldsTheResourcesThatServicesAreToldOf()
    {
        using var manifest = JsonDocument.Parse(File.ReadAllText(Path.Combine(Repository.Root, "aspire-manifest.json")));
        var names = typeof(ResourceNames).GetFields().Select(field => (string)field.GetRawConstantValue()!).ToArray();

        // What follows the last resource the AppHost adds is there by reference only: passwords and their encoded forms.
        Assert.Equal(names.Order(), manifest.RootElement.GetProperty("resources").EnumerateObject().Take(names.Length).Select(resource => resource.Name).Order());
    }
}
