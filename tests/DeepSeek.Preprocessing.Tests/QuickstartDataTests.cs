using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Images;
using DeepSeek.Preprocessing.Preparation;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>The quickstart's own data, which set-up fetches (eng/setup prerequisites data); without them these tests fail.</summary>
public sealed class QuickstartDataTests
{
    private const string Fashion = "/usr/share/datasets/fashion-mnist";

    [Fact]
    public async Task BreastCancer_AsShipped_IsAllFeatures()
    {
        var csv = await File.ReadAllBytesAsync(Path.Combine(Repository(), "artifacts", "data", "breast_cancer.csv"));
        using var prepared = await Prepared.FromTextAsync(Prepared.Spec("diagnosis"), csv);
        Assert.Equal(569, prepared.Manifest.Rows);
        Assert.Equal(30, prepared.Manifest.Inputs.Count);
        Assert.Equal([30], prepared.Manifest.FeatureShape);
        Assert.Equal(["benign", "malignant"], prepared.Manifest.Classes);
        Assert.Empty(prepared.Warnings);
        // 357 benign and 212 malignant; a stratified fifth of each, to one row.
        var test = prepared.Classes("test");
        Assert.Equal(114, test.Length);
        Assert.InRange(test.Count(c => c == 1), 42, 43);
        Assert.Equal(14.127, prepared.Column("mean radius").GetProperty("mean").GetDouble(), 3); // scikit-learn's description
    }

    [Fact]
    public async Task FashionMnist_OfficialFiles_KeepTheirTestPart()
    {
        using var prepared = new Prepared();
        var spool = prepared.NewSpool();
        var files = new[] { "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz" }.Select(name =>
        {
            File.Copy(Path.Combine(Fashion, name), Path.Combine(spool, name));
            return IdxFile.Inspect(Path.Combine(spool, name), name, 1 << 30);
        }).ToList();
        var source = new IdxImages(spool, IdxImages.Pair(files));
        var spec = new DatasetSpec { Name = "fashion", Format = DatasetFormat.Idx };
        await prepared.RunAsync(spec, spool, context => new ImagePreparation(context, source).RunAsync(CancellationToken.None));
        Assert.Equal([60_000L, 0, 10_000], prepared.Manifest.Splits.Values.Select(s => s.Rows));
        Assert.Equal([1, 28, 28], prepared.Manifest.FeatureShape);
        Assert.Equal(10, prepared.Manifest.Classes.Count);
        var images = prepared.Profile.GetProperty("images");
        // The train set's known channel statistics.
        Assert.Equal(0.2860, images.GetProperty("mean")[0].GetDouble(), 4);
        Assert.Equal(0.3530, images.GetProperty("std")[0].GetDouble(), 4);
    }

    private static string Repository()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "DeepSeek.Platform.sln")))
        {
            directory = directory.Parent!;
        }
        return directory.FullName;
    }
}
