using System.Globalization;
using System.Text;
using DeepSeek.Preprocessing.Columns;

namespace DeepSeek.Preprocessing.Tests;

public sealed class DateFormTests
{
    [Theory]
    [InlineData("2024-05-31", "2024-05-31T00:00:00Z")]
    [InlineData("2024/05/31", "2024-05-31T00:00:00Z")]
    [InlineData("2024-05-31 14:05", "2024-05-31T14:05:00Z")]
    [InlineData("2024-05-31T14:05:09Z", "2024-05-31T14:05:09Z")]
    [InlineData("2024-05-31T14:05:09.25", "2024-05-31T14:05:09.25Z")]
    [InlineData("2024-05-31T14:05:09.1234567+02:30", "2024-05-31T11:35:09.1234567Z")]
    [InlineData("2024-02-29 00:00:00-14:00", "2024-02-29T14:00:00Z")]
    [InlineData("0001-01-01", "0001-01-01T00:00:00Z")]
    [InlineData("31.5.2024 14:05:09", "2024-05-31T14:05:09Z")]
    [InlineData("31/05/2024", "2024-05-31T00:00:00Z")]
    [InlineData("05/31/2024 23:59", "2024-05-31T23:59:00Z")]
    public void Date_InAKnownForm_IsThatInstant(string text, string expected)
    {
        var cell = Encoding.ASCII.GetBytes(text);
        var form = DateForms.Choose(DateForms.Match(cell));
        Assert.True(DateForms.TryParse(cell, form, out var seconds));
        var instant = DateTime.Parse(expected, CultureInfo.InvariantCulture, DateTimeStyles.AdjustToUniversal);
        Assert.Equal((instant - DateTime.UnixEpoch).Ticks / 1e7, seconds);
    }

    [Theory]
    [InlineData("2023-02-29")]
    [InlineData("2024-13-01")]
    [InlineData("2024-00-10")]
    [InlineData("2024-05-31T24:00")]
    [InlineData("2024-05-31T14:60")]
    [InlineData("2024-05-31T14:05:09.12345678")]
    [InlineData("2024-05-31T14:05:09+2")]
    [InlineData("2024-05-31 ")]
    [InlineData("2024-05/31")]
    [InlineData("0000-01-01")]
    [InlineData("31.05.24")]
    [InlineData("31.05.2024T10:00")]
    [InlineData("32/13/2024")]
    [InlineData("12345678")]
    [InlineData("1-2-3-4-5")]
    public void Date_InNoForm_IsNone(string text) => Assert.Equal(DateForm.None, DateForms.Match(Encoding.ASCII.GetBytes(text)));

    [Fact]
    public void Date_DaysUpToTwelve_FitBothSlashForms() =>
        Assert.Equal(DateForm.MonthSlashDay | DateForm.DaySlashMonth, DateForms.Match("05/12/2024"u8));
}
