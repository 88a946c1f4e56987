using System.IO.Compression;
using System.Text;
using DeepSeek.Data;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Privacy;

namespace DeepSeek.Preprocessing.Tests;

public sealed class PrivacyTests
{
    [Theory]
    [InlineData("ada.lovelace@example.co.uk", PersonalKind.Email)]
    [InlineData("jürgen+tag@bücher.example", PersonalKind.Email)]
    [InlineData("+49 30 901820", PersonalKind.Phone)]
    [InlineData("+4930901820", PersonalKind.Phone)]
    [InlineData("(555) 123-4567", PersonalKind.Phone)]
    [InlineData("555-123-4567", PersonalKind.Phone)]
    [InlineData("06 12 34 56 78", PersonalKind.Phone)]
    [InlineData("555-1234", PersonalKind.Phone)]
    [InlineData("4111111111111111", PersonalKind.Card)]
    [InlineData("5500 0000 0000 0004", PersonalKind.Card)]
    [InlineData("3782-822463-10005", PersonalKind.Card)]
    [InlineData("DE89 3704 0044 0532 0130 00", PersonalKind.Iban)]
    [InlineData("GB29NWBK60161331926819", PersonalKind.Iban)]
    [InlineData("078-05-1120", PersonalKind.NationalId)]
    [InlineData("AB 12 34 56 C", PersonalKind.NationalId)]
    [InlineData("12345678Z", PersonalKind.NationalId)]
    [InlineData("11010519491231002X", PersonalKind.NationalId)]
    [InlineData("192.168.10.254", PersonalKind.IpAddress)]
    internal void Value_Personal_IsRecognised(string text, PersonalKind kind)
    {
        Assert.Equal(kind, PersonalData.OfValue(text.AsSpan()));
        Assert.Equal(kind, PersonalData.OfValue(Encoding.UTF8.GetBytes($" {text} ")));
        var inside = PersonalData.RedactInside($"see {text}, thanks");
        Assert.Equal($"see {kind.Placeholder()}, thanks", inside);
    }

    [Theory]
    [InlineData("2024-05-31")]
    [InlineData("2024-05-31 14:05:09")]
    [InlineData("31.05.2024")]
    [InlineData("05/31/2024")]
    [InlineData("1234567")]
    [InlineData("3.14159265")]
    [InlineData("-12345678.25")]
    [InlineData("1.5e+10")]
    [InlineData("1 234 567")]
    [InlineData("4111111111111112")] // wrong check digit
    [InlineData("1234567812345670")] // right check digit, no network
    [InlineData("DE88370400440532013000")]
    [InlineData("12345678A")]
    [InlineData("1990-1995")]
    [InlineData("user@host")]
    [InlineData("550e8400-e29b-41d4-a716-446655440000")]
    [InlineData("malignant")]
    [InlineData("300.1.2.3")]
    public void Value_NotPersonal_IsLeftAlone(string text)
    {
        Assert.Null(PersonalData.OfValue(text.AsSpan()));
        Assert.Null(PersonalData.RedactInside(text));
    }

    [Theory]
    [InlineData("Email", PersonalKind.Email)]
    [InlineData("customerEmailAddress", PersonalKind.Email)]
    [InlineData("home_phone", PersonalKind.Phone)]
    [InlineData("Phone Number", PersonalKind.Phone)]
    [InlineData("SSN", PersonalKind.NationalId)]
    [InlineData("social-security-no", PersonalKind.NationalId)]
    [InlineData("passport_number", PersonalKind.NationalId)]
    [InlineData("dateOfBirth", PersonalKind.BirthDate)]
    [InlineData("last name", PersonalKind.PersonName)]
    [InlineData("street", PersonalKind.Address)]
    [InlineData("ip", PersonalKind.IpAddress)]
    [InlineData("creditCard", PersonalKind.Card)]
    [InlineData("cell size", null)]
    [InlineData("name", null)]
    [InlineData("age", null)]
    [InlineData("tip", null)]
    [InlineData("mean radius", null)]
    internal void Name_OfColumn_TellsItsKind(string name, PersonalKind? kind) => Assert.Equal(kind, PersonalData.FromName(name));

    [Fact]
    public async Task Table_WithPersonalData_StoresNoneOfIt()
    {
        string[] secrets = ["ada@example.org", "+49 30 901820", "4111111111111111", "078-05-1120", "DE89370400440532013000", "Lovelace"];
        var rows = Enumerable.Range(0, 400).Select(i =>
            $"{secrets[0].Replace("ada", "ada" + i)},{secrets[1]}{i},{secrets[2]},{secrets[3]},{secrets[4]},{secrets[5]}{i % 7},{20 + (i % 50)},"
            + $"\"{(i % 90 == 3 ? $"call {secrets[1]} or {secrets[0]}" : i % 2 == 0 ? "none" : "some")}\",{i % 10}.25,{(i % 3 == 0 ? "yes" : "no")}");
        var csv = "contact,mobile,payment,code,account,last_name,age,note,x,y\n" + string.Join('\n', rows) + "\n";
        var spec = Prepared.Spec("y") with
        {
            Privacy = new PrivacySpec { Columns = new() { ["age"] = MaskMethod.Generalise, ["last_name"] = MaskMethod.Hash, ["account"] = MaskMethod.Generalise } },
        };
        using var prepared = await Prepared.FromCsvAsync(spec, csv);

        foreach (var (name, content) in Stored(prepared))
        {
            foreach (var secret in secrets)
            {
                Assert.False(content.AsSpan().IndexOf(Encoding.UTF8.GetBytes(secret)) >= 0, $"'{secret}' stands in {name}");
            }
        }
        Assert.Equal("redact", prepared.Column("contact").GetProperty("masked").GetProperty("method").GetString());
        Assert.Contains("e-mail addresses", prepared.Column("contact").GetProperty("masked").GetProperty("why").GetString());
        Assert.Equal("ignore", prepared.Column("payment").GetProperty("role").GetString());
        // Ages move to the middle of their decade, and exact ones can still be asked with.
        Assert.All(prepared.Sample("train"), row => Assert.Equal(5, row.Inputs["age"].GetDouble() % 10));
        var masks = ColumnMask.Of(prepared.Manifest);
        Assert.Equal((new ColumnMask("generalise", 10), new ColumnMask("hash")), (masks["age"], masks["last_name"]));
        var name5 = "h_" + Convert.ToHexStringLower(System.Security.Cryptography.HMACSHA256.HashData(Prepared.Key, "Lovelace5"u8))[..24];
        Assert.Contains(prepared.Manifest.FeatureNames, f => f == $"last_name={name5}");
        // A DE* for every row is the same value in every row.
        Assert.Equal("DE*", new Mask(MaskMethod.Generalise, PersonalKind.Iban, "").Apply("DE89370400440532013000", MaskingKey.FromBytes(Prepared.Key)));
        Assert.Contains(prepared.Manifest.FeatureNames, f => f.Contains("[phone] or [e-mail]"));
        Assert.Contains(prepared.Warnings, w => w.Contains("'note'") && w.Contains("personal data inside other text"));
    }

    [Fact]
    public async Task Table_DetectionOff_KeepsWhatIsThere()
    {
        var csv = "mail,y\n" + string.Concat(Enumerable.Range(0, 40).Select(i => $"a{i % 4}@example.org,{i % 2}\n"));
        using var prepared = await Prepared.FromCsvAsync(Prepared.Spec("y") with { Privacy = new PrivacySpec { Detect = false } }, csv);
        Assert.Contains("mail=a1@example.org", prepared.Manifest.FeatureNames);
        using var kept = await Prepared.FromCsvAsync(Prepared.Spec("y") with { Privacy = new PrivacySpec { Columns = new() { ["mail"] = MaskMethod.Keep } } }, csv);
        Assert.Equal(4, kept.Column("mail").GetProperty("distinct").GetInt64());
    }

    [Fact]
    public async Task Table_PersonalTarget_IsRefused()
    {
        var csv = "x,y\n" + string.Concat(Enumerable.Range(0, 40).Select(i => $"{i % 7}.5,a{i % 2}@example.org\n"));
        var fault = await Assert.ThrowsAsync<DataFault>(() => Prepared.FromCsvAsync(Prepared.Spec("y"), csv));
        Assert.Equal("target", fault.Field);
        Assert.DoesNotContain("example.org", fault.Message);
    }

    [Theory]
    [InlineData(0, 99, 10)]
    [InlineData(0, 1000, 100)]
    [InlineData(10_000, 99_999, 10_000)]
    [InlineData(-3, 3, 0.5)]
    public void Bands_OfARange_AreRoundAndAboutTen(double min, double max, double width) => Assert.Equal(width, Mask.WidthFor(min, max), 12);

    [Fact]
    public void Key_OpenedTwice_IsTheSameAndPrivate()
    {
        using var folder = new Testing.TestFolder();
        var path = Path.Combine(folder.Path, "masking.key");
        Assert.Equal(MaskingKey.Open(path).Hash("x"u8), MaskingKey.Open(path).Hash("x"u8));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        Assert.NotEqual(MaskingKey.Open(path).Hash("x"u8), MaskingKey.FromBytes(Prepared.Key).Hash("x"u8));
        Assert.Single(Directory.EnumerateFiles(folder.Path));
    }

    /// <summary>All blobs, compressed ones also unpacked.</summary>
    internal static IEnumerable<(string Name, byte[] Content)> Stored(Prepared prepared)
    {
        foreach (var path in Directory.EnumerateFiles(prepared.Blobs))
        {
            var bytes = File.ReadAllBytes(path);
            yield return (path, bytes);
            if (bytes is [0x1F, 0x8B, ..])
            {
                using var unpacked = new MemoryStream();
                using var gzip = new GZipStream(new MemoryStream(bytes), CompressionMode.Decompress);
                gzip.CopyTo(unpacked);
                yield return (path + " (unpacked)", unpacked.ToArray());
            }
        }
    }
}
