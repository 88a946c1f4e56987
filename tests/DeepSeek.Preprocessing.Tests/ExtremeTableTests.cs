using System.Globalization;
using System.Text;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Preparation;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>Tables at the ends of the number range, and wider than a block likes.</summary>
public sealed class ExtremeTableTests
{
    private const int Rows = 60;

    [Theory]
    [InlineData("1e200")]
    [InlineData("-1.7e308")]
    [InlineData("1e999")]
    public async Task Prepare_NumberWhoseSquareOverflows_NamesRowAndColumn(string cell)
    {
        var fault = await Assert.ThrowsAsync<DataFault>(() => PrepareAsync(Prepared.Spec("y"), (17, cell)));

        Assert.StartsWith("row 18, column 'x'", fault.Detail);
        Assert.DoesNotContain(cell, fault.Detail);
    }

    [Fact]
    public async Task Prepare_UnscaledNumberBeyondSinglePrecision_NamesRowAndColumn()
    {
        var fault = await Assert.ThrowsAsync<DataFault>(() => PrepareAsync(Prepared.Spec("y") with { Scaling = Scaling.None }, (30, "-4e38")));

        Assert.StartsWith("row 31, column 'x'", fault.Detail);
    }

    [Fact]
    public async Task Prepare_RegressionTargetBeyondSinglePrecision_NamesRowAndColumn()
    {
        var fault = await Assert.ThrowsAsync<DataFault>(() => PrepareAsync(Prepared.Spec("x") with { Task = LearningTask.Regression }, (5, "3.5e38")));

        Assert.StartsWith("row 6, column 'x'", fault.Detail);
    }

    [Fact]
    public async Task Prepare_LargeNumbersWithinTheRange_GiveFiniteFeaturesAndStatistics()
    {
        using var prepared = await PrepareAsync(Prepared.Spec("y"), (17, "1e149"), (18, "-1e149"));

        Assert.All(prepared.Features("train").SelectMany(row => row), value => Assert.True(float.IsFinite(value)));
        Assert.True(double.IsFinite(prepared.Column("x").GetProperty("std").GetDouble()));
    }

    [Fact]
    public async Task Prepare_WideRows_MakesBlocksOfFewRows()
    {
        // Two features, 8 bytes a row: 100 bytes hold 12 rows.
        using var prepared = await Prepared.FromCsvAsync(Prepared.Spec("y"), Table(), new PreparationSizes(BlockBytes: 100));

        var blocks = prepared.Blocks("train").ToList();
        Assert.All(blocks, block => Assert.InRange(block.Rows, 1, 12));
        Assert.Equal(prepared.Manifest.Splits["train"].Rows, blocks.Sum(block => block.Rows));
    }

    [Fact]
    public async Task Prepare_AsManyColumnsAsAreAllowed_IsRead()
    {
        const int Columns = 4095; // and the target
        var csv = new StringBuilder(string.Join(',', Enumerable.Range(0, Columns).Select(c => $"c{c}"))).Append(",y\n");
        for (var row = 0; row < 30; row++)
        {
            csv.AppendJoin(',', Enumerable.Range(0, Columns).Select(c => (row * c % 7 + 0.5).ToString(CultureInfo.InvariantCulture))).Append(row % 2 == 0 ? ",a\n" : ",b\n");
        }

        using var prepared = await Prepared.FromCsvAsync(Prepared.Spec("y"), csv.ToString());

        Assert.Equal(30, prepared.Manifest.Rows);
    }

    [Fact]
    public async Task Prepare_RowsThatDoNotFitTheReader_IsRefusedWithTheRemedy()
    {
        // Of 256 MB, 400 rows of 900 KB ask for 360; they all fall into one of the reader's batches.
        var text = new byte[900_000];
        Array.Fill(text, (byte)'x');
        using var csv = new MemoryStream();
        csv.Write("x,text,y\n"u8);
        for (var row = 0; row < 400; row++)
        {
            csv.Write(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{row % 13 + 0.5},{row}")));
            csv.Write(text);
            csv.Write(row % 2 == 0 ? ",a\n"u8 : ",b\n"u8);
        }

        var fault = await Assert.ThrowsAsync<DataFault>(() => Prepared.FromTextAsync(Prepared.Spec("y"), csv.ToArray()));

        Assert.Equal("file", fault.Field);
        Assert.Contains("Preprocessing:DuckDbMegabytes", fault.Detail);
    }

    private static Task<Prepared> PrepareAsync(DatasetSpec spec, params (int Row, string Cell)[] cells) => Prepared.FromCsvAsync(spec, Table(cells));

    private static string Table(params (int Row, string Cell)[] cells)
    {
        var csv = new StringBuilder("x,z,y\n");
        for (var row = 0; row < Rows; row++)
        {
            var own = cells.FirstOrDefault(c => c.Row == row && c.Cell is not null).Cell ?? (row * 0.5 + 0.25).ToString(CultureInfo.InvariantCulture);
            csv.Append(CultureInfo.InvariantCulture, $"{own},{row % 7 + 0.5},{(row % 2 == 0 ? "a" : "b")}\n");
        }
        return csv.ToString();
    }
}
