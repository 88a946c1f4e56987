using System.Text;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Sources;

namespace DeepSeek.Preprocessing.Tests;

public sealed class CsvIntakeTests
{
    private static readonly TextLimits Small = new(MaxFieldBytes: 100, MaxRowBytes: 1000, MaxColumns: 5);

    [Theory]
    [InlineData("a,y\n1,0\n2\n", "row 2 (line 3) has 1 fields where the header has 2")]
    [InlineData("a,y\n1,0\n2,1,3\n", "row 2 (line 3) has 3 fields where the header has 2")]
    [InlineData("a,y\n1,0\n2\"x\",1\n", "row 2 (line 3), column 'a': a \" stands inside an unquoted field")]
    [InlineData("a,y\n1,0\n\"2\"x,1\n", "row 2 (line 3), column 'a': text follows the closing \"")]
    [InlineData("a,y\n1,0\n\"2,1\n3,0\n", "row 2 (line 5) the file ends inside a quoted field")]
    [InlineData("a,y\n1,0\n2\0,1\n", "row 2 (line 3), column 'a': holds a NUL byte")]
    [InlineData("a,a\n1,0\n", "the name 'a' stands twice in the header, in columns 1 and 2")]
    [InlineData("a,b\n1,0\n2,1\n", "target: the file has no column 'y'. It has: 'a', 'b'.")]
    [InlineData("a,y\n1,0\n2,0\n", "target: column 'y' has the same value in every row")]
    [InlineData("a,y\n,0\nNA,1\n", "column 'a' has no value in any row; drop it or give it the role ignore")]
    [InlineData("a,y\n1,\n2,NA\n", "column 'y' has no value in any row; it is the target; label the rows")]
    [InlineData("a,y\n", "holds no data rows")]
    [InlineData("", "is empty")]
    [InlineData("a,b,c,d,e,y\n", "has 6 columns; at most 5 are read")]
    public void Csv_Broken_NamesRowAndColumn(string csv, string expected)
    {
        foreach (var piece in new[] { 1, 3, int.MaxValue })
        {
            var fault = Assert.Throws<DataFault>(() => Read(Encoding.UTF8.GetBytes(csv), piece));
            Assert.Contains(expected, fault.Message);
        }
    }

    [Fact]
    public void Csv_BadUtf8_NamesRowAndColumn()
    {
        var fault = Assert.Throws<DataFault>(() => Read([.. "a,y\n1,0\n"u8, 0xC3, 0x28, .. ",1\n"u8], 2));
        Assert.Contains("row 2 (line 3), column 'a': is not valid UTF-8", fault.Message);
    }

    [Fact]
    public void Csv_FieldOfTenMegabytes_IsRefusedEarly()
    {
        var bare = Assert.Throws<DataFault>(() => Read(Encoding.UTF8.GetBytes("a,y\n1,0\n" + new string('7', 10 << 20) + ",1\n"), 4096));
        Assert.Contains("row 2 (line 3), column 'a': longer than 100 bytes", bare.Message);
        var quoted = Assert.Throws<DataFault>(() => Read(Encoding.UTF8.GetBytes("a,y\n1,0\n\"" + new string('\n', 10 << 20)), 4096));
        Assert.Contains("a closing \" may be missing", quoted.Message);
    }

    [Fact]
    public void Csv_LongRow_IsRefused()
    {
        var fault = Assert.Throws<DataFault>(() => Read(Encoding.UTF8.GetBytes("a;y;b;c;d\n" + string.Join(';', Enumerable.Repeat("\"" + new string('"', 98) + "\"", 5)) + "\n"), 4096, new TextLimits(100, 200, 5)));
        Assert.Contains("row 1: longer than 200 bytes", fault.Message);
    }

    [Theory]
    [InlineData("a,y\r\n1,0\r\n2,1\r\n")]
    [InlineData("a,y\r1,0\r2,1\r")]
    [InlineData("\uFEFFa,y\n1,0\n\n2,1")]
    [InlineData("\n\na;y\n1;0\n2;1\n\n")]
    [InlineData("a\ty\n\"1\"\t0\n2\t1\n")]
    public void Csv_Dialects_GiveTheSameTable(string csv)
    {
        foreach (var piece in new[] { 1, 2, int.MaxValue })
        {
            var (table, spooled) = Read(Encoding.UTF8.GetBytes(csv), piece);
            Assert.Equal(["a", "y"], table.Columns.Select(c => c.Name));
            Assert.Equal(2, table.Rows);
            Assert.Equal("1,0\n2,1\n", spooled);
        }
    }

    [Fact]
    public void Csv_QuotesAndLineEndsInside_AreKept()
    {
        var (_, spooled) = Read("a,y\n\"say \"\"hi\"\",\nyou\",0\n\"\",1\n"u8.ToArray(), 3);
        Assert.Equal("\"say \"\"hi\"\",\nyou\",0\n,1\n", spooled);
    }

    [Theory]
    [InlineData("latin1")]
    [InlineData("windows-1252")]
    [InlineData("utf-16")]
    [InlineData("utf-16be")]
    public void Csv_OtherEncoding_BecomesUtf8(string name)
    {
        var encoding = TextEncodings.Find(name)!;
        byte[] bytes = [.. name == "utf-16" ? Encoding.Unicode.GetPreamble() : [], .. encoding.GetBytes("a,y\nÄpfel,0\nbirne,1\n")];
        var (_, spooled) = Read(bytes, 3, csv: new CsvSpec { Encoding = name });
        Assert.Equal("Äpfel,0\nbirne,1\n", spooled);
    }

    [Fact]
    public void Csv_WithoutHeader_NumbersTheColumns()
    {
        var (table, spooled) = Read("1,0\n2,1\n"u8.ToArray(), 1, csv: new CsvSpec { Header = false }, target: "column2");
        Assert.Equal(["column1", "column2"], table.Columns.Select(c => c.Name));
        Assert.Equal("1,0\n2,1\n", spooled);
    }

    private static (TableFile Table, string Spooled) Read(byte[] bytes, int piece, TextLimits? limits = null, CsvSpec? csv = null, string target = "y")
    {
        using var output = new MemoryStream();
        var intake = new CsvIntake(output, "table", csv ?? new CsvSpec(), target, _ => false, limits ?? Small);
        for (var start = 0; start < bytes.Length; start += Math.Min(piece, bytes.Length))
        {
            intake.Append(bytes.AsSpan(start, Math.Min(piece, bytes.Length - start)));
        }
        var table = intake.Complete();
        return (table, Encoding.UTF8.GetString(output.ToArray()));
    }
}
