using DeepSeek.Inference.Data;
using DeepSeek.Inference.Predictions;
using DeepSeek.Testing;
using Microsoft.Extensions.DependencyInjection;

namespace DeepSeek.Inference.Tests;

public sealed class PredictionLogTests(InferenceFixture service) : IClassFixture<InferenceFixture>
{
    [Fact]
    public async Task Entries_OneThatTheDatabaseRefuses_AreWrittenButForThatOne()
    {
        var log = service.Services.GetRequiredService<PredictionLog>();
        var deployment = "d-" + Guid.NewGuid().ToString("N");
        for (var row = 0; row < 20; row++)
        {
            log.Add(Entry(deployment, row, results: row == 7 ? "no JSON" : "[1]"));
        }

        await Eventually.True(async () => await CountAsync() == 19);
        log.Add(Entry(deployment, 20, results: null));
        await Eventually.True(async () => await CountAsync() == 20);
        Assert.Equal(0, await service.Database.ScalarAsync<long>($"select count(*) from predictions where deployment = '{deployment}' and rows = 7"));

        Task<long> CountAsync() => service.Database.ScalarAsync<long>($"select count(*) from predictions where deployment = '{deployment}'");
    }

    [Fact]
    public async Task Requests_OfRowsAndTensors_LeaveNoInputBehind()
    {
        const string planted = "planted-city-5e1c";
        var name = await service.DeployAsync(Models.Classifier(bias: -5));
        using var rows = await service.PredictAsync(name, $$"""{"rows": [{"age": 41.0625, "member": true, "since": "1961-07-23", "city": "{{planted}}"}]}""");
        using var refused = await service.PredictAsync(name, $$"""{"rows": [{"age": "{{planted}}", "member": true, "since": null, "city": null}]}""");
        using var tensors = await service.InferAsync(name, $$"""
            {"inputs": [{"name": "age", "datatype": "FP64", "shape": [1, 1], "data": [41.0625]}, {"name": "member", "datatype": "FP64", "shape": [1, 1], "data": [1]},
                        {"name": "since", "datatype": "FP64", "shape": [1, 1], "data": [0]}, {"name": "city", "datatype": "BYTES", "shape": [1, 1], "data": ["{{planted}}"]}]}
            """);
        Assert.Equal([200, 400, 200], new[] { rows, refused, tensors }.Select(response => (int)response.StatusCode));

        await Eventually.True(async () => await service.Database.ScalarAsync<long>($"select count(*) from predictions where deployment = '{name}'") == 2);
        var stored = await service.Database.DumpAsync();
        Assert.Contains(name, stored, StringComparison.Ordinal);
        foreach (var text in new[] { planted, "41.0625", "1961-07-23" })
        {
            Assert.DoesNotContain(text, stored, StringComparison.Ordinal);
            Assert.Empty(TestFolder.FilesWith(service.DataFolder, text));
        }
    }

    private static Prediction Entry(string deployment, int rows, string? results) => new()
    {
        Id = Guid.CreateVersion7(), VersionId = Guid.NewGuid(), Deployment = deployment, Model = "m", Version = 1, Kind = "rows", Rows = rows,
        Actor = "ada", DurationUs = 1, Results = results, CreatedAt = DateTimeOffset.UtcNow,
    };
}
