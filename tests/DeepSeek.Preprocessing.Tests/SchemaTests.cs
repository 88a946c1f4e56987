using System.Globalization;
using DeepSeek.Preprocessing.Datasets;

namespace DeepSeek.Preprocessing.Tests;

public sealed class SchemaTests
{
    [Fact]
    public async Task Types_OfAMixedTable_AreInferred()
    {
        var rows = Enumerable.Range(0, 200).Select(i =>
            $"{i + 1},{i * 7 % 90}.5,{(i % 3 == 0 ? "Yes" : "no")},2024-01-{(i % 28) + 1:D2},c{i % 5},word{i} and another,same,{i % 4},{(i % 2 == 0 ? "B" : "M")}");
        using var prepared = await Prepared.FromCsvAsync(Prepared.Spec("diagnosis"), "id,age,smoker,seen,city,comment,fixed,grade,diagnosis\n" + string.Join('\n', rows) + "\n");
        string Type(string column) => prepared.Column(column).GetProperty("type").GetString()!;
        string Role(string column) => prepared.Column(column).GetProperty("role").GetString()!;
        string Reason(string column) => prepared.Column(column).GetProperty("reason").GetString()!;
        Assert.Equal(("numeric", "id"), (Type("id"), Role("id")));
        Assert.Contains("identifier", Reason("id"));
        Assert.Equal(("numeric", "feature"), (Type("age"), Role("age")));
        Assert.Equal("boolean", Type("smoker"));
        Assert.Equal("dateTime", Type("seen"));
        Assert.Equal("categorical", Type("city"));
        Assert.Equal(("text", "ignore"), (Type("comment"), Role("comment")));
        Assert.Contains("free text: 200 distinct values in 200 rows", Reason("comment"));
        Assert.Contains("same value in every row", Reason("fixed"));
        Assert.Equal(("categorical", "target"), (Type("diagnosis"), Role("diagnosis")));
        Assert.Equal(["B", "M"], prepared.Manifest.Classes);
        Assert.Equal(["age", "smoker", "grade", "seen", "city"], prepared.Manifest.Inputs.Select(i => i.Name));
        Assert.Equal(3 + 5 + 6, prepared.Manifest.FeatureShape[0]);
        Assert.Equal(prepared.Manifest.FeatureShape[0], prepared.Manifest.FeatureNames.Count);
    }

    [Fact]
    public async Task Types_TheUserFixes_WinOverInference()
    {
        var rows = Enumerable.Range(0, 100).Select(i => $"{i % 3},{i},{(i % 2 == 0 ? "p" : "q")}");
        var spec = Prepared.Spec("y") with
        {
            Columns = new()
            {
                ["grade"] = new ColumnSpec { Type = ColumnType.Categorical },
                ["id"] = new ColumnSpec { Role = ColumnRole.Feature },
            },
        };
        using var prepared = await Prepared.FromCsvAsync(spec, "grade,id,y\n" + string.Join('\n', rows) + "\n");
        Assert.Equal(["id", "grade=0", "grade=1", "grade=2", "grade=(other)"], prepared.Manifest.FeatureNames.Select(n => n).Order(StringComparer.Ordinal).OrderBy(n => n == "id" ? 0 : 1).ThenBy(n => n.EndsWith("(other)")));
    }

    [Fact]
    public async Task Target_Numbers_AreARegression()
    {
        var rows = Enumerable.Range(0, 300).Select(i => $"{i}.5,{i * 2}");
        using var prepared = await Prepared.FromCsvAsync(Prepared.Spec("y"), "x,y\n" + string.Join('\n', rows) + "\n");
        Assert.Equal("regression", prepared.Manifest.Task);
        Assert.Empty(prepared.Manifest.Classes);
        Assert.Equal([240L, 0L, 60L], prepared.Manifest.Splits.Values.Select(s => s.Rows));
        var block = prepared.Blocks("test").Single();
        Assert.Equal("<f4", block.Target.Descriptor);
        Assert.Equal(prepared.Sample("test").Select(s => (float)s.Target.GetDouble()), block.Target.As<float>().ToArray());
        Assert.Equal(["x"], prepared.Profile.GetProperty("leakage").GetProperty("targetCopies").EnumerateArray().Select(c => c.GetString()));
    }

    [Fact]
    public async Task Target_ClassesThatAreNumbers_AreInNumericOrder()
    {
        var rows = Enumerable.Range(0, 300).Select(i => $"{i % 7}.5,{(i % 3) switch { 0 => 2, 1 => 10, _ => 1 }}");
        using var prepared = await Prepared.FromCsvAsync(Prepared.Spec("y"), "x,y\n" + string.Join('\n', rows) + "\n");
        Assert.Equal(["1", "2", "10"], prepared.Manifest.Classes);
    }

    [Fact]
    public async Task Pipeline_IsFittedOnTheTrainPartOnly()
    {
        // Test rows are the latest; their values lie far off and must not move mean or deviation.
        var rows = Enumerable.Range(0, 1000).Select(i => $"{i},{(i < 800 ? i % 2 : 1e6).ToString(CultureInfo.InvariantCulture)},{(i % 2 == 0 ? "p" : "q")}");
        var spec = Prepared.Spec("y") with { Split = new SplitSpec { Method = SplitMethod.Time, Column = "t" } };
        using var prepared = await Prepared.FromCsvAsync(spec, "t,x,y\n" + string.Join('\n', rows) + "\n");
        // Train: 400 zeros, 400 ones: mean 0.5, deviation 0.5.
        Assert.Equal([-1f, 1f], prepared.Features("train").Select(f => f[0]).Distinct().Order());
        Assert.Equal((float)((1e6 - 0.5) / 0.5), prepared.Features("test")[0][0]);
    }

    [Fact]
    public async Task Profile_KnownColumn_HasKnownNumbers()
    {
        var rows = Enumerable.Range(1, 100).Select(i => $"{(i % 10 == 0 ? "" : i)},{(i <= 50 ? "a" : "b")},{(i <= 50 ? "p" : "q")}");
        using var prepared = await Prepared.FromCsvAsync(Prepared.Spec("y"), "x,copy,y\n" + string.Join('\n', rows) + "\n,a,p\n,b,\n");
        var x = prepared.Column("x");
        Assert.Equal(101, x.GetProperty("count").GetInt64());
        Assert.Equal(11, x.GetProperty("missing").GetInt64());
        Assert.Equal(90, x.GetProperty("distinct").GetInt64());
        Assert.Equal(50, x.GetProperty("mean").GetDouble(), 12);
        Assert.Equal(1, x.GetProperty("min").GetDouble());
        Assert.Equal(99, x.GetProperty("max").GetDouble());
        Assert.Equal(50, x.GetProperty("quantiles").GetProperty("0.5").GetDouble());
        Assert.Equal(90, x.GetProperty("histogram").GetProperty("counts").EnumerateArray().Sum(c => c.GetInt64()));
        Assert.Equal("copy", prepared.Profile.GetProperty("leakage").GetProperty("targetCopies")[0].GetString());
        Assert.Equal(1, prepared.Profile.GetProperty("rowsWithoutTarget").GetInt64());
        Assert.Contains(prepared.Warnings, w => w.StartsWith("1 rows have no target"));
        var top = prepared.Column("copy").GetProperty("top")[0];
        Assert.Equal(("a", 51L), (top.GetProperty("value").GetString(), top.GetProperty("count").GetInt64()));
        Assert.Equal(1, prepared.Column("copy").GetProperty("association").GetProperty("value").GetDouble(), 12);
    }

    [Fact]
    public async Task Profile_DuplicatesAcrossParts_AreCountedAndWarned()
    {
        var rows = Enumerable.Range(0, 500).Select(i => $"{i % 250},{(i % 250 % 2 == 0 ? "p" : "q")}");
        using var prepared = await Prepared.FromCsvAsync(Prepared.Spec("y"), "x,y\n" + string.Join('\n', rows) + "\n");
        var leakage = prepared.Profile.GetProperty("leakage");
        Assert.Equal(250, leakage.GetProperty("duplicateRows").GetInt64());
        // Two copies fall into different parts with 2 · 0.8 · 0.2 = 0.32: 80 of 250, 5 σ = 37.
        Assert.InRange(leakage.GetProperty("duplicatesAcrossParts").GetInt64(), 43, 117);
        Assert.Contains(prepared.Warnings, w => w.Contains("easier than new data"));
    }

    [Theory]
    [InlineData("x,y\n1,a\nfoo,b\n", "numeric", "row 2, column 'x': is not a number, though the spec says numeric")]
    [InlineData("x,y\n1,a\ninf,b\n3,a\n", null, "row 2, column 'x': is infinite or too large")]
    [InlineData("x,y\n1,a\n1e999,b\n3,a\n", null, "row 2, column 'x': is infinite or too large")]
    [InlineData("x,y\nyes,a\nmaybe,b\n", "boolean", "row 2, column 'x': is neither true nor false")]
    [InlineData("x,y\n2024-01-01,a\n01.02.2024,b\n2024-01-03,b\n", "dateTime", "is no date in the form")]
    [InlineData("x,y\n1,a\n1,b\n1,a\n", null, "no column is left to learn from: 'x' the same value in every row")]
    public async Task Cells_ThatDoNotFit_AreNamedByRowAndColumn(string csv, string? type, string expected)
    {
        var spec = Prepared.Spec("y");
        if (type is not null)
        {
            spec.Columns["x"] = new ColumnSpec { Type = Enum.Parse<ColumnType>(type, ignoreCase: true) };
        }
        var fault = await Assert.ThrowsAsync<DataFault>(() => Prepared.FromCsvAsync(spec, csv));
        Assert.Contains(expected, fault.Message);
    }

    [Fact]
    public async Task Spec_NamesNoColumnOfTheFile_IsRefused()
    {
        var spec = Prepared.Spec("y") with { Columns = new() { ["nope"] = new ColumnSpec { Type = ColumnType.Numeric } } };
        var fault = await Assert.ThrowsAsync<DataFault>(() => Prepared.FromCsvAsync(spec, "x,y\n1,a\n2,b\n"));
        Assert.Equal("columns.nope", fault.Field);
        var reserved = await Assert.ThrowsAsync<DataFault>(() => Prepared.FromCsvAsync(Prepared.Spec("y"), "logits,y\n1,a\n2,b\n"));
        Assert.Equal("columns.logits", reserved.Field);
    }
}
