using DeepSeek.Client;

namespace DeepSeek.Cli.Quickstart;

/// <summary>Data and settings of one quickstart, and what must come out.</summary>
internal sealed record QuickstartPlan
{
    private const string DataVariable = "DEEPSEEK_QUICKSTART_DATA";
    private const string FashionFolder = "/usr/share/datasets/fashion-mnist";

    public required string Name { get; init; }
    public required IReadOnlyList<string> Files { get; init; }
    public required DatasetSpec Dataset { get; init; }
    public required Func<Guid, object> Run { get; init; }
    public required CompressionSpec Compression { get; init; }
    public required ExplanationSpec Explanation { get; init; }

    /// <summary>Test accuracy below which the quickstart fails.</summary>
    public required double LeastAccuracy { get; init; }

    /// <summary>How many times smaller the INT8 file must be; 1 where the net is too small for its weights to weigh most.</summary>
    public required double LeastCompression { get; init; }

    /// <summary>Breast cancer Wisconsin (diagnostic): 569 rows, 30 measurements.</summary>
    public static QuickstartPlan Table(DirectoryInfo? folder)
    {
        const string name = "breast-cancer";
        return new QuickstartPlan
        {
            Name = name,
            Files = [Find(folder, "breast_cancer.csv", "eng/data fetches it")],
            Dataset = new DatasetSpec
            {
                Name = name,
                Format = "csv",
                Target = "diagnosis",
                Split = new DatasetSplitSpec { Method = "stratified", Train = 0.7, Validation = 0.1, Test = 0.2, Seed = 7 },
            },
            Run = dataset => new
            {
                specVersion = 1,
                name = "quickstart",
                modelName = name,
                datasetId = dataset,
                model = new { family = "tabularMlp", width = 128, blocks = 2, dropout = 0.3 },
                optimizer = new { name = "adamW", learningRate = 1e-3, weightDecay = 5e-2 },
                schedule = new { name = "cosine", warmup = 0.1 },
                epochs = 20,
                batchSize = 32,
                labelSmoothing = 0.1,
                seed = 1,
            },
            Compression = Int8(name, maxDrop: 0.01),
            Explanation = new ExplanationSpec
            {
                Deployment = name,
                Count = 10,
                Output = "malignant",
                Background = new ExplanationBackground(Rows: 50),
                Sampling = new ExplanationSampling(MaxPairs: 16),
            },
            LeastAccuracy = 0.96,
            LeastCompression = 1,
        };
    }

    /// <summary>Fashion-MNIST: 60 000 + 10 000 images of 28 × 28 in ten classes.</summary>
    public static QuickstartPlan Images(DirectoryInfo? folder)
    {
        const string name = "fashion-mnist";
        var place = folder ?? new DirectoryInfo(FashionFolder);
        return new QuickstartPlan
        {
            Name = name,
            Files = [.. new[] { "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz" }
                .Select(file => Find(place, file, "the Debian package dataset-fashion-mnist holds it"))],
            Dataset = new DatasetSpec { Name = name, Format = "idx", Split = new DatasetSplitSpec { Seed = 7 } },
            Run = dataset => new
            {
                specVersion = 1,
                name = "quickstart-images",
                modelName = name,
                datasetId = dataset,
                model = new { family = "convNet" },
                optimizer = new { name = "adamW", learningRate = 2e-3 },
                schedule = new { name = "oneCycle" },
                epochs = 6,
                batchSize = 128,
                seed = 1,
            },
            Compression = Int8(name, maxDrop: 0.005),
            Explanation = new ExplanationSpec { Deployment = name, Count = 4 },
            LeastAccuracy = 0.905,
            LeastCompression = 3.5,
        };
    }

    private static CompressionSpec Int8(string model, double maxDrop) =>
        new() { ModelName = model, Version = "", Budget = new AccuracyBudget("accuracy", maxDrop) };

    private static string Find(DirectoryInfo? folder, string file, string remedy)
    {
        var place = folder?.FullName ?? Environment.GetEnvironmentVariable(DataVariable) ?? Path.Combine(Environment.CurrentDirectory, "artifacts", "data");
        var path = Path.Combine(place, file);
        return File.Exists(path) ? path : throw new UsageException($"There is no {path}: {remedy}, or name its folder with --data.");
    }
}
