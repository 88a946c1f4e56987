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

    private static Prediction Entry(string deployment, int rows, string? results) => new()
    {
        Id = Guid.CreateVersion7(), VersionId = Guid.NewGuid(), Deployment = deployment, Model = "m", Version = 1, Kind = "rows", Rows = rows,
        Actor = "ada", DurationUs = 1, Results = results, CreatedAt = DateTimeOffset.UtcNow,
    };
}
