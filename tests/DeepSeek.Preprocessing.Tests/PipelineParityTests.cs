using System.Globalization;
using DeepSeek.Data;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Features;
using DeepSeek.Preprocessing.Privacy;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>The exported graph in ONNX Runtime against our own arithmetic. Both compute in double and round once, so 1e-6 is generous.</summary>
public sealed class PipelineParityTests
{
    private const double Tolerance = 1e-6;

    [Theory]
    [InlineData(Scaling.Standard, MissingPolicy.Median, MissingPolicy.Mode)]
    [InlineData(Scaling.MinMax, MissingPolicy.Mean, MissingPolicy.Constant)]
    [InlineData(Scaling.None, MissingPolicy.Constant, MissingPolicy.Mode)]
    internal async Task Graph_RandomRows_EqualsTransform(Scaling scaling, MissingPolicy numeric, MissingPolicy categorical)
    {
        var spec = Prepared.Spec("y") with
        {
            Scaling = scaling,
            Missing = new MissingSpec { Numeric = numeric, Categorical = categorical },
            MaxCategories = 4,
        };
        using var prepared = await Prepared.FromCsvAsync(spec, MixedTable(rows: 800, seed: 11));
        using var session = new InferenceSession(prepared.Blob(prepared.Manifest.Pipeline.Sha256));
        Assert.Equal(prepared.Manifest.Inputs.Select(i => i.Name).Order(), session.InputMetadata.Keys.Order());

        foreach (var split in new[] { "validation", "test" })
        {
            var sample = prepared.Sample(split);
            var features = prepared.Features(split);
            Assert.Equal(features.Length, sample.Length);
            Compare(features, Run(session, prepared.Manifest, [.. sample.Select(s => s.Inputs)]));
        }
    }

    [Fact]
    public void Graph_HostileValues_EqualsTransform()
    {
        var pipeline = new FeaturePipeline
        {
            Numbers = [new(0, "x", false, 2.5, 1.0 / 3, 7.7), new(1, "on", true, 1, 0, 1)],
            Dates =
            [
                new(2, "when", 1e9, 9.4e8, [2000.5, 6.1, 3, 11.7, 812.25], [7.5, 3.3, 2, 6.9, 900.1]),
                new(3, "until", 0, 0, [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]),
            ],
            Categories = [new(4, "city", ["Paris", "Åre", "日本", "a=b", ""[..0] + "x y"], 2)],
        };
        using var session = new InferenceSession(DeepSeek.Onnx.OnnxModels.ToBytes(PipelineGraph.Of(pipeline)));
        double[] numbers = [0, -0.0, 1e-310, 1e300, -1e300, double.NaN, 12345.678, 1.0 / 3];
        double[] seconds =
        [
            double.NaN, 0, -1, -0.5, 86399.999, 86400, 951782400 /* 2000-02-29 */, 951868799.999, 4107542400 /* 2100-03-01 */, 4107456000,
            -62135596800 /* 0001-01-01 */, -62135596801, 253402300799.999 /* 9999-12-31 */, 253402300800, -1e13, 1e13, -12219292800 /* 1582-10-15 */,
        ];
        string[] cities = ["", "Paris", "paris", "Åre", "日本", "a=b", "unseen", new string('z', 5000), "(other)"];
        var random = new SeededRandom(5, "parity");
        const int Rows = 1000;
        var batch = new RowBatch(PlanOf()) { Rows = Rows };
        for (var row = 0; row < Rows; row++)
        {
            batch.Numbers[0][row] = numbers[random.Next(numbers.Length)];
            batch.Numbers[1][row] = new[] { 0, 1, double.NaN }[random.Next(3)];
            batch.Numbers[2][row] = row < seconds.Length ? seconds[row] : (random.Next(1_000_000_000_000) - 500_000_000_000) / 8.0;
            batch.Numbers[3][row] = seconds[random.Next(seconds.Length)];
            batch.Texts[4][row] = cities[random.Next(cities.Length)];
        }
        var transform = new FeatureTransform(pipeline);
        var expected = new float[Rows][];
        for (var row = 0; row < Rows; row++)
        {
            transform.Apply(batch, row, expected[row] = new float[transform.Count]);
        }
        NamedOnnxValue Doubles(string name, int column) => NamedOnnxValue.CreateFromTensor(name, new DenseTensor<double>(batch.Numbers[column][..Rows], [Rows, 1]));
        using var outputs = session.Run(
        [
            Doubles("x", 0), Doubles("on", 1), Doubles("when", 2), Doubles("until", 3),
            NamedOnnxValue.CreateFromTensor("city", new DenseTensor<string>(batch.Texts[4][..Rows], [Rows, 1])),
        ]);
        Compare(expected, [.. outputs.Single().AsTensor<float>().ToArray().Chunk(transform.Count)]);
    }

    [Theory]
    [InlineData(MissingPolicy.Mode)]
    [InlineData(MissingPolicy.Constant)]
    internal async Task Graph_MissingByAnyNameTheTableKnows_EqualsNull(MissingPolicy policy)
    {
        var spec = Prepared.Spec("y") with { Missing = new MissingSpec { Categorical = policy } };
        using var prepared = await Prepared.FromCsvAsync(spec, MixedTable(rows: 200, seed: 4));
        using var session = new InferenceSession(prepared.Blob(prepared.Manifest.Pipeline.Sha256));
        var row = prepared.Sample("test")[0].Inputs;
        float[] Features(string? city) => Run(session, prepared.Manifest,
            [new Dictionary<string, System.Text.Json.JsonElement>(row) { ["city"] = System.Text.Json.JsonSerializer.SerializeToElement(city) }])[0];

        var missing = Features(null);

        Assert.NotEqual(missing, Features("never seen"));
        Assert.All((string[])["NA", "na", "n/a", "#N/A", "NaN", "null", "NULL", "None", "nil", "?", ""], token => Assert.Equal(missing, Features(token)));
    }

    [Theory]
    [InlineData("1970-01-01T00:00:00", 1970, 1, 3, 0)]
    [InlineData("2000-02-29T23:59:59", 2000, 2, 1, 23)]
    [InlineData("1900-03-01T12:00:00", 1900, 3, 3, 12)]
    [InlineData("2100-12-31T06:30:00", 2100, 12, 4, 6)]
    [InlineData("0001-01-01T00:00:00", 1, 1, 0, 0)]
    public void DateParts_KnownDays_MatchTheCalendar(string date, int year, int month, int dayOfWeek, int hour)
    {
        var seconds = (DateTime.Parse(date, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal) - DateTime.UnixEpoch).TotalSeconds;
        Assert.Equal(new DateParts(year, month, dayOfWeek, hour), DateParts.Of(seconds));
    }

    [Fact]
    public void DateParts_EveryDayOfFourCenturies_MatchesDateTime()
    {
        for (var day = new DateTime(1800, 1, 1, 5, 0, 0, DateTimeKind.Utc); day.Year < 2210; day = day.AddDays(1))
        {
            var parts = DateParts.Of((day - DateTime.UnixEpoch).TotalSeconds);
            Assert.Equal(new DateParts(day.Year, day.Month, ((int)day.DayOfWeek + 6) % 7, 5), parts);
        }
    }

    internal static string MixedTable(int rows, int seed)
    {
        var random = new SeededRandom((ulong)seed, "table");
        string[] cities = ["Lyon", "Paris", "Åre", "\"quoted, city\"", "Nice", "Rome", "Oslo", "Bonn"];
        var lines = new List<string> { "age,member,joined,city,y" };
        for (var row = 0; row < rows; row++)
        {
            var missing = random.Next(12);
            var age = missing == 0 ? "" : (random.Next(80_000) / 1000.0).ToString(CultureInfo.InvariantCulture);
            var member = missing == 1 ? "NA" : random.Next(2) == 0 ? "yes" : "no";
            var joined = missing == 2 ? "" : DateTime.UnixEpoch.AddSeconds(random.Next(2_000_000_000)).ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture);
            var city = missing == 3 ? "" : cities[Math.Min(random.Next(cities.Length), random.Next(cities.Length))];
            lines.Add($"{age},{member},{joined},{city},{(random.Next(3) == 0 ? "pos" : "neg")}");
        }
        return string.Join('\n', lines) + "\n";
    }

    internal static float[][] Run(InferenceSession session, DatasetManifest manifest, IReadOnlyList<IReadOnlyDictionary<string, System.Text.Json.JsonElement>> rows)
    {
        var inputs = manifest.Inputs.Select(input => input.Datatype == "BYTES"
            ? NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<string>(rows.Select(r => SampleRows.ToText(r[input.Name])).ToArray(), [rows.Count, 1]))
            : NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<double>(rows.Select(r => SampleRows.ToNumber(r[input.Name], input.Type)).ToArray(), [rows.Count, 1]))).ToList();
        using var outputs = session.Run(inputs);
        return [.. outputs.Single().AsTensor<float>().ToArray().Chunk(manifest.FeatureShape[0])];
    }

    private static void Compare(float[][] expected, float[][] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (var row = 0; row < expected.Length; row++)
        {
            for (var f = 0; f < expected[row].Length; f++)
            {
                var (a, b) = (expected[row][f], actual[row][f]);
                Assert.True(a.Equals(b) || Math.Abs(a - b) <= Tolerance * Math.Max(1, Math.Abs(a)), $"row {row}, feature {f}: {a:R} against {b:R}");
            }
        }
    }

    private static TablePlan PlanOf()
    {
        ColumnPlan Plan(int index, ColumnType type) => new() { Index = index, Name = $"c{index}", Type = type, Role = ColumnRole.Feature };
        List<ColumnPlan> columns = [Plan(0, ColumnType.Numeric), Plan(1, ColumnType.Boolean), Plan(2, ColumnType.DateTime), Plan(3, ColumnType.DateTime), Plan(4, ColumnType.Categorical)];
        return new TablePlan(columns, LearningTask.Classification, columns[0], [], [], []);
    }
}
