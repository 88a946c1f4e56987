using System.Diagnostics;

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
}
