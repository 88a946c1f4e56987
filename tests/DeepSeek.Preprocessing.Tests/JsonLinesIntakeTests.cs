using System.Text;
using DeepSeek.Preprocessing.Sources;

namespace DeepSeek.Preprocessing.Tests;

public sealed class JsonLinesIntakeTests
{
    [Theory]
    [InlineData("{\"a\":1,\"y\":0}\n{\"a\":2,\"y\":\n", "row 2 (line 2) is not valid JSON")]
    [InlineData("{\"a\":1,\"y\":0}\n[1]\n", "row 2 (line 2) is not a JSON object")]
    [InlineData("{\"a\":1,\"y\":0}\n{\"a\":{\"b\":1},\"y\":1}\n", "row 2, column 'a': is an object or array")]
    [InlineData("{\"a\":1,\"a\":2,\"y\":0}\n", "row 1 (line 1) names the key 'a' twice")]
    [InlineData("{\"a\":1,\"y\":0} {}\n", "row 1 (line 1)")]
    [InlineData("{\"a\":\"x\\u0000\",\"y\":0}\n", "row 1, column 'a': holds a NUL character")]
    [InlineData("{\"a\":\"\\ud800\",\"y\":0}\n", "row 1 (line 1) holds text that is not valid Unicode")]
    [InlineData("{\"a\":1}\n{\"a\":2}\n", "target: the file has no column 'y'")]
    [InlineData("{\"a\":1,\"y\":0}\n{\"a\":2,\"y\":0}\n", "the same value in every row")]
    [InlineData("{\"a\":NaN,\"y\":0}\n", "is not valid JSON")]
    [InlineData("", "holds no data rows")]
    public void JsonLines_Broken_NamesRowAndColumn(string text, string expected)
    {
        var fault = Assert.Throws<DataFault>(() => Read(text));
        Assert.Contains(expected, fault.Message);
    }

    [Fact]
    public void JsonLines_ThousandLevelsDeep_IsRefused()
    {
        var fault = Assert.Throws<DataFault>(() => Read("{\"a\":" + new string('[', 1000) + new string(']', 1000) + "}\n"));
        Assert.Contains("row 1", fault.Message);
    }

    [Fact]
    public void JsonLines_KeysThatComeLate_AreMissingBefore()
    {
        var (table, spooled) = Read("{\"a\":1.50,\"y\":\"n\"}\n\n{\"y\":\"p\",\"b\":\"q,\\\"r\",\"a\":null}\r\n{\"b\":true,\"y\":\"n\",\"a\":2}");
        Assert.Equal(["a", "y", "b"], table.Columns.Select(c => c.Name));
        Assert.Equal("1.50,n\n,p,\"q,\"\"r\"\n2,n,true\n", spooled);
        Assert.Equal(3, table.Rows);
    }

    private static (TableFile Table, string Spooled) Read(string text)
    {
        using var output = new MemoryStream();
        var intake = new JsonLinesIntake(output, "table", "y", _ => false, new TextLimits());
        foreach (var b in Encoding.UTF8.GetBytes(text))
        {
            intake.Append([b]);
        }
        return (intake.Complete(), Encoding.UTF8.GetString(output.ToArray()));
    }
}
