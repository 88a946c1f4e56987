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
