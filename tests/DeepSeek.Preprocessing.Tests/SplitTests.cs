using System.Globalization;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Splitting;
using DeepSeek.Testing;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Preprocessing.Tests;

public sealed class SplitTests
{
    private static readonly SplitShares Shares = new(0.7, 0.1, 0.2);

    [Fact]
    public void Stratified_AnyCounts_HoldsSharesInEveryClassToOneRow()
    {
        Prop.ForAll(Gen.Choose(1, 400).ArrayOf(5).ToArbitrary(), Gen.Choose(0, 1000).ToArbitrary(), (counts, seed) =>
        {
            var splitter = new StratifiedSplitter([.. counts.Select(c => (long)c)], Shares, (ulong)seed);
            for (var c = 0; c < counts.Length; c++)
            {
                var parts = Enumerable.Range(0, counts[c]).Select(_ => splitter.Next(new SplitKey(c, 0, 0))).ToList();
                var test = parts.Count(p => p == SplitPart.Test);
                Assert.True(Math.Abs(test - (0.2 * counts[c])) <= 1.0001, $"class of {counts[c]} has {test} test rows");
                Assert.Contains(SplitPart.Train, parts);
            }
        }).Holds();
    }

    [Fact]
    public void Stratified_SameSeed_SameParts_OtherSeed_OtherParts()
    {
        SplitPart[] Parts(ulong seed)
        {
            var splitter = new StratifiedSplitter([1000], Shares, seed);
            return [.. Enumerable.Range(0, 1000).Select(_ => splitter.Next(default))];
        }
        Assert.Equal(Parts(7), Parts(7));
        Assert.NotEqual(Parts(7), Parts(8));
        Assert.Equal(200, Parts(7).Count(p => p == SplitPart.Test));
        Assert.Equal(100, Parts(7).Count(p => p == SplitPart.Validation));
    }

    [Fact]
    public void Random_SequenceOfTheSeed_IsFrozen()
    {
        // First numbers of xoshiro256** for this seed and label: if they change, every stored split changes with them.
        var random = new SeededRandom(7, "split");
        ulong[] first = [random.NextUInt64(), random.NextUInt64(), random.NextUInt64()];
        Assert.Equal(Frozen, first);
        Assert.True(new SeededRandom(1, "x").NextUInt64() != new SeededRandom(1, "y").NextUInt64());
    }

    private static readonly ulong[] Frozen = [7765196459196009874, 1633443421501403518, 10975593073516756677];

    [Fact]
    public async Task Grouped_ManyGroups_NeverShareAPart()
    {
        var random = new SeededRandom(3, "groups");
        var lines = Enumerable.Range(0, 3000).Select(i => $"{i}.5,g{random.Next(150)},{(i % 2 == 0 ? "a" : "b")}");
        var spec = Prepared.Spec("y") with { Split = new SplitSpec { Method = SplitMethod.Grouped, Column = "g", Train = 0.7, Validation = 0.1, Test = 0.2 } };
        using var prepared = await Prepared.FromCsvAsync(spec, "x,g,y\n" + string.Join('\n', lines) + "\n");
        Assert.Equal(0, prepared.Profile.GetProperty("leakage").GetProperty("groupsAcrossParts").GetInt64());
        Assert.Equal(3000, prepared.Manifest.Rows);
        // 150 groups of about 20 rows: each part comes out within one group of its share.
        Assert.InRange(prepared.Manifest.Splits["test"].Rows, 560, 640);
        Assert.InRange(prepared.Manifest.Splits["validation"].Rows, 260, 340);
        Assert.Equal(["x"], prepared.Manifest.Inputs.Select(i => i.Name));
    }

    [Fact]
    public async Task Grouped_FewerGroupsThanParts_IsRefused()
    {
        var spec = Prepared.Spec("y") with { Split = new SplitSpec { Method = SplitMethod.Grouped, Column = "g" } };
        var fault = await Assert.ThrowsAsync<DataFault>(() => Prepared.FromCsvAsync(spec, "x,g,y\n1,a,p\n2,a,q\n3,a,p\n"));
        Assert.Equal("split.column", fault.Field);
    }

    [Theory]
    [InlineData("yyyy-MM-dd")]
    [InlineData("dd.MM.yyyy")]
    [InlineData("dd/MM/yyyy")]
    [InlineData("MM/dd/yyyy HH:mm")]
    public async Task Time_ShuffledRows_TrainLiesBeforeTest(string format)
    {
        var random = new SeededRandom(9, "time");
        var days = Enumerable.Range(0, 1000).Select(i => (Day: DateTime.UnixEpoch.AddDays(15_000 + (i / 2)), Key: random.NextUInt64())).OrderBy(d => d.Key);
        var csv = "when,x,y\n" + string.Join('\n', days.Select((d, i) => $"{d.Day.ToString(format, CultureInfo.InvariantCulture)},{i % 17}.5,{(i % 3 == 0 ? "p" : "q")}")) + "\n";
        var spec = Prepared.Spec("y") with { Split = new SplitSpec { Method = SplitMethod.Time, Column = "when", Train = 0.6, Validation = 0.2, Test = 0.2 } };
        using var prepared = await Prepared.FromCsvAsync(spec, csv);
        Assert.True(prepared.Profile.GetProperty("leakage").GetProperty("timeOrdered").GetBoolean());
        Assert.Equal([600, 200, 200], prepared.Manifest.Splits.Values.Select(s => s.Rows));
        var cut = prepared.Manifest.Split!.Value.GetProperty("testFrom").GetDouble();
        Assert.InRange(cut, 86400 * 15_399.0, 86400 * 15_400.0);
    }

    [Fact]
    public async Task Table_PreparedTwice_GivesTheSameBytes()
    {
        var csv = PipelineParityTests.MixedTable(5000, seed: 4);
        using var first = await Prepared.FromCsvAsync(Prepared.Spec("y"), csv);
        using var second = await Prepared.FromCsvAsync(Prepared.Spec("y"), csv);
        Assert.Equal(first.Dataset.ManifestSha256, second.Dataset.ManifestSha256);
        using var other = await Prepared.FromCsvAsync(Prepared.Spec("y") with { Split = new SplitSpec { Seed = 8 } }, csv);
        Assert.NotEqual(first.Manifest.Splits["train"].Shards[0].Sha256, other.Manifest.Splits["train"].Shards[0].Sha256);
    }

    [Fact]
    public async Task Table_ManyShards_HoldEveryRowOnceAndShuffled()
    {
        var csv = "x,y\n" + string.Concat(Enumerable.Range(0, 10_000).Select(i => $"{i},{(i < 5000 ? "a" : "b")}\n"));
        var spec = Prepared.Spec("y") with { Scaling = Scaling.None, Columns = new() { ["x"] = new ColumnSpec { Role = ColumnRole.Feature } } };
        using var prepared = await Prepared.FromCsvAsync(spec, csv, new Preparation.PreparationSizes(ShardBytes: 16_000, BlockRows: 100));
        Assert.InRange(prepared.Manifest.Splits["train"].Shards.Count, 5, 7);
        var values = new[] { "train", "test" }.SelectMany(s => prepared.Features(s).Select(f => (int)f[0])).ToList();
        Assert.Equal(Enumerable.Range(0, 10_000), values.Order());
        var train = prepared.Features("train").Select(f => f[0]).Zip(prepared.Classes("train")).ToList();
        Assert.All(train, t => Assert.Equal(t.First < 5000 ? 0 : 1, t.Second));
        // Of a sorted file, a block of 100 rows has both classes about evenly once shuffled; 5 σ = 25.
        Assert.All(prepared.Blocks("train"), b => Assert.InRange(b.Target.As<long>().ToArray().Sum(), b.Rows / 2.0 - 25, b.Rows / 2.0 + 25));
        Assert.Equal(prepared.Manifest.Splits["test"].Rows, prepared.Sample("test").Length);
    }

    [Fact]
    public async Task Table_SortedTest_KeepsTheOrderOfTheFile()
    {
        var csv = "x,y\n" + string.Concat(Enumerable.Range(0, 1000).Select(i => $"{i}.5,{i % 2}\n"));
        using var prepared = await Prepared.FromCsvAsync(Prepared.Spec("y") with { Scaling = Scaling.None }, csv);
        var test = prepared.Features("test").Select(f => f[0]).ToList();
        Assert.Equal(test.Order(), test);
        Assert.Equal(test, prepared.Sample("test").Select(s => (float)s.Inputs["x"].GetDouble()));
    }

    [Fact]
    public void Duplicates_MoreRowsThanRemembered_AreEstimated()
    {
        var finder = new DuplicateFinder();
        const int Rows = 3_000_000;
        for (var i = 0; i < Rows; i++)
        {
            finder.Add(SeededRandom.Mix((ulong)i), SplitPart.Train);
        }
        for (var i = 0; i < 300_000; i++)
        {
            finder.Add(SeededRandom.Mix((ulong)i * 10), i % 2 == 0 ? SplitPart.Test : SplitPart.Train);
        }
        Assert.False(finder.Exact);
        // A sample of half the hashes: the estimate's deviation is about 550 and 390 rows.
        Assert.InRange(finder.Duplicates, 296_000, 304_000);
        Assert.InRange(finder.Crossing, 147_000, 153_000);
    }
}
