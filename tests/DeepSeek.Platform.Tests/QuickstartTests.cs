using System.Text.Json;

namespace DeepSeek.Platform.Tests;

/// <summary>The main job on real data, through the gateway, by the command line client.</summary>
[Collection(PlatformCollection.Name)]
public sealed class QuickstartTests(PlatformHost platform)
{
    /// <summary>Breast cancer, 569 rows; logistic regression reaches .977, the least asked is .96 on the held-out fifth.</summary>
    [Fact]
    public async Task Quickstart_OfTheTable_MeetsItsNumbersAndTracesItsPrediction()
    {
        var (exitCode, output, error) = await platform.CliAsync("quickstart", "--data", Repository.Data, "--output", "quickstart.json");

        Assert.True(exitCode == 0, $"exit code {exitCode}\n{output}\n{error}\n{platform.LastLines()}");
        using var report = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(platform.DataFolder, "quickstart.json")));
        var root = report.RootElement;
        Assert.Equal(569, root.GetProperty("rows").GetInt64());
        Assert.InRange(root.GetProperty("accuracy").GetDouble(), 0.96, 1);
        Assert.InRange(root.GetProperty("auc").GetDouble(), 0.98, 1);
        Assert.InRange(root.GetProperty("accuracyInt8").GetDouble(), root.GetProperty("accuracy").GetDouble() - 0.01, 1);
        Assert.True(root.GetProperty("modelBytesInt8").GetInt64() < root.GetProperty("modelBytesFp32").GetInt64());
        Assert.InRange(root.GetProperty("p50MsFp32").GetDouble(), 0.001, 1000);
        Assert.InRange(root.GetProperty("additivityError").GetDouble(), 0, 1e-6);
        Assert.Contains(root.GetProperty("datasetHash").GetString()!, root.GetProperty("lineage").GetRawText(), StringComparison.Ordinal);

        var audit = await platform.CliAsync("audit", "verify", "--json");
        Assert.Equal(0, audit.ExitCode);
        Assert.Contains("\"valid\": true", audit.Output, StringComparison.Ordinal);
    }
}
