using System.Text.Json;

namespace DeepSeek.Data.Tests;

public sealed class ColumnMaskTests
{
    private static readonly DatasetInput Text = new("t", "categorical", "BYTES", [-1, 1]);
    private static readonly DatasetInput Number = new("n", "numeric", "FP64", [-1, 1]);
    private static readonly DatasetInput Time = new("d", "dateTime", "FP64", [-1, 1]);

    [Theory]
    [InlineData(37, 10, 35)]
    [InlineData(-0.5, 10, -5)]
    [InlineData(30, 10, 35)]
    [InlineData(1234, 500, 1250)]
    public void Band_Value_IsTheMiddleOfItsBand(double value, double width, double middle) => Assert.Equal(middle, ColumnMask.Band(value, width));

    [Theory]
    [InlineData(0, 0)]
    [InlineData(-1, -31536000)] // the last second of 1969
    [InlineData(1e15, -62135596800)] // no calendar's year: the year 1
    [InlineData(double.NaN, double.NaN)]
    public void Year_Seconds_IsTheFirstOfJanuary(double seconds, double year) => Assert.Equal(year, ColumnMask.Year(seconds));

    [Theory]
    [InlineData("hash", "h_0123456789abcdef01234567", true)]
    [InlineData("hash", "h_0123", false)]
    [InlineData("hash", "grace@example.org", false)]
    [InlineData("generalise", "*@example.org", true)]
    [InlineData("generalise", "grace@example.org", false)]
    [InlineData("generalise", "[phone]", true)]
    [InlineData("generalise", "+49*", true)]
    [InlineData("generalise", "DE*", true)]
    [InlineData("generalise", "192.168.*", true)]
    [InlineData("generalise", "101*", true)]
    [InlineData("generalise", "10115", false)]
    [InlineData("generalise", "+49 170 1234567", false)]
    [InlineData("generalise", "4*", true)]
    public void Apply_Text_KeepsOnlyMaskedForms(string method, string text, bool kept) =>
        Assert.Equal(kept ? text : ColumnMask.Hidden, new ColumnMask(method).Apply(Text, JsonSerializer.SerializeToElement(text)).GetString());

    [Fact]
    public void Apply_NumberTimeAndMissing_AreAsInTraining()
    {
        Assert.Equal(35, new ColumnMask("generalise", 10).Apply(Number, JsonElement.Parse("37.5")).GetDouble());
        Assert.Equal(31536000, new ColumnMask("generalise").Apply(Time, JsonElement.Parse("\"1971-05-06T07:08:09Z\"")).GetDouble());
        Assert.Equal(JsonValueKind.Null, new ColumnMask("generalise", 10).Apply(Number, JsonElement.Parse("null")).ValueKind);
        Assert.Equal("", new ColumnMask("hash").Apply(Text, JsonElement.Parse("\"\"")).GetString());
        Assert.Throws<InvalidDataException>(() => new ColumnMask("generalise").Apply(Number, JsonElement.Parse("37")));
    }
}
