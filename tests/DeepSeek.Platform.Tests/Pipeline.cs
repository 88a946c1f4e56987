using DeepSeek.Client;

namespace DeepSeek.Platform.Tests;

/// <summary>The way from rows to an explanation, small; what it leaves behind is counted at the end.</summary>
internal sealed class Pipeline(DeepSeekClient client, string name, int seed)
{
    /// <summary>The registry may be the part that was killed.</summary>
    private static readonly TimeSpan s_arrival = TimeSpan.FromMinutes(2);

    /// <summary>Of everything it makes.</summary>
    public string Name => name;

    public Guid Dataset { get; private set; }
    public Guid Run { get; private set; }
    public Guid Compression { get; private set; }
    public Guid Explanation { get; private set; }
    public List<Guid> Jobs { get; } = [];

    public async Task RunAsync(CancellationToken cancelled)
    {
        var csv = Rows();
        var dataset = await client.Datasets.CreateAsync(
            new DatasetSpec { Name = name, Format = "csv", Target = "label" }, [new UploadFile("rows.csv", () => new MemoryStream(csv))], cancellationToken: cancelled);
        Dataset = dataset.Id;
        await EndAsync(dataset.JobId, cancelled);

        var run = await client.Runs.CreateAsync(
            new
            {
                specVersion = 1,
                name,
                modelName = name,
                datasetId = Dataset,
                model = new { family = "tabularMlp", width = 32, blocks = 1 },
                epochs = 60,
                batchSize = 16,
                checkpointEvery = 20,
                seed = 1,
            },
            cancelled);
        Run = run.Id;
        await EndAsync(run.JobId, cancelled);
        var version = (await client.Models.WaitForSourceAsync(name, Run, s_arrival, cancelled)).Version;

        var compression = await client.Compressions.CreateAsync(new CompressionSpec { ModelName = name, Version = $"{version}", Budget = new AccuracyBudget("accuracy", 0.5) }, cancelled);
        Compression = compression.Id;
        await EndAsync(compression.JobId, cancelled);
        await client.Models.WaitForSourceAsync(name, Compression, s_arrival, cancelled);

        var explanation = await client.Explanations.CreateAsync(new ExplanationSpec { ModelName = name, Version = $"{version}", Count = 10 }, cancelled);
        Explanation = explanation.Id;
        await EndAsync(explanation.JobId, cancelled);
    }

    /// <summary>Versions that came from a run or a compression.</summary>
    public async Task<List<ModelVersion>> VersionsAsync()
    {
        var versions = new List<ModelVersion>();
        await foreach (var version in client.Models.ListVersionsAsync(name))
        {
            versions.Add(version);
        }

        return versions;
    }

    private async Task EndAsync(Guid job, CancellationToken cancelled)
    {
        Jobs.Add(job);
        var ended = await client.Jobs.WaitAsync(job, cancellationToken: cancelled);
        Assert.True(ended.Succeeded, $"{ended.Kind} job {job} {ended.State}: {ended.Error}");
    }

    private byte[] Rows()
    {
        var random = new Random(seed);
        var lines = new List<string> { "x,y,colour,label" };
        for (var i = 0; i < 400; i++)
        {
            var (x, y) = (random.NextDouble() * 4 - 2, random.NextDouble() * 4 - 2);
            lines.Add(FormattableString.Invariant($"{x:F4},{y:F4},{(i % 3 == 0 ? "red" : "blue")},{(x + y > 0 ? "up" : "down")}"));
        }

        return System.Text.Encoding.UTF8.GetBytes(string.Join('\n', lines));
    }
}
