using System.IO.Compression;
using DeepSeek.Preprocessing.Images;
using DeepSeek.Testing;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Preprocessing.Tests;

public sealed class JpegTests
{
    private const long NoLimit = 1L << 40;

    /// <summary>
    /// One block of 8 × 8 grey written out by hand from T.81: quantiser 8 throughout; the DC code '0' of category 6 and 110010 = +50, then
    /// the end of block '0'. The inverse transform of a lone DC term is DC · 8 / 8 + 128 = 178 in every pixel.
    /// </summary>
    private static byte[] FlatGrey =>
    [
        0xFF, 0xD8,
        0xFF, 0xDB, 0, 67, 0, .. Enumerable.Repeat((byte)8, 64),
        0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0,
        0xFF, 0xC4, 0, 20, 0x00, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6,
        0xFF, 0xC4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0xFF, 0xDA, 0, 8, 1, 1, 0x00, 0, 63, 0,
        0b0110_0100,
        0xFF, 0xD9,
    ];

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Jpeg_OneFlatBlockByHand_HasItsPixels(int channels)
    {
        var pixels = new byte[channels * 64];
        Pictures.Decode(FlatGrey, new ImageShape(channels, 8, 8), pixels);
        Assert.All(pixels, pixel => Assert.Equal(178, pixel));
    }

    /// <summary>At quality 100 without subsampling a smooth picture loses what rounding takes: of the transform 1, of the two conversions of colour 1 to 2 each.</summary>
    [Theory]
    [InlineData(1, false, 2)]
    [InlineData(1, true, 2)]
    [InlineData(3, false, 5)]
    [InlineData(3, true, 5)]
    public void Jpeg_BaselineAndProgressive_DecodeToTheirPixels(int channels, bool progressive, int tolerance)
    {
        var shape = new ImageShape(channels, 37, 53); // whole blocks neither way
        var expected = Smooth(shape);
        var file = TestJpeg.Make(expected, shape, progressive);
        Assert.Equal(progressive, file.AsSpan().IndexOf<byte>([0xFF, 0xC2]) > 0);

        Assert.Equal(new PictureHeader(53, 37, channels), Pictures.Header(new MemoryStream(file)));
        var pixels = new byte[shape.Bytes];
        Pictures.Decode(file, shape, pixels);
        Assert.All(expected.Zip(pixels), pair => Assert.InRange(Math.Abs(pair.First - pair.Second), 0, tolerance));
    }

    /// <summary>What the standard says of each value (EXIF 2.32, 4.6.4): where the first row and the first column are seen.</summary>
    [Theory]
    [InlineData(1, "top", "left")]
    [InlineData(2, "top", "right")]
    [InlineData(3, "bottom", "right")]
    [InlineData(4, "bottom", "left")]
    [InlineData(5, "left", "top")]
    [InlineData(6, "right", "top")]
    [InlineData(7, "right", "bottom")]
    [InlineData(8, "left", "bottom")]
    public void Jpeg_WithAnOrientation_IsDecodedUpright(int orientation, string firstRow, string firstColumn)
    {
        var stored = new ImageShape(3, 37, 53);
        var upright = firstRow is "top" or "bottom" ? stored : new ImageShape(3, 53, 37);
        var file = TestJpeg.Make(Smooth(stored), stored, progressive: false);
        var plain = new byte[stored.Bytes];
        Pictures.Decode(file, stored, plain);

        foreach (var little in new[] { true, false })
        {
            var tagged = TestJpeg.Oriented(file, orientation, little);
            var pixels = new byte[upright.Bytes];
            Assert.Equal(new PictureHeader(upright.Width, upright.Height, 3, orientation), Pictures.Header(new MemoryStream(tagged)));
            Pictures.Decode(tagged, upright, pixels);

            for (var i = 0; i < plain.Length; i++)
            {
                var (c, row, column) = (i / (37 * 53), i / 53 % 37, i % 53);
                var (y, x) = (0, 0);
                foreach (var (side, distance) in new[] { (firstRow, row), (firstColumn, column) })
                {
                    (y, x) = side switch
                    {
                        "top" => (distance, x),
                        "bottom" => (upright.Height - 1 - distance, x),
                        "left" => (y, distance),
                        _ => (y, upright.Width - 1 - distance),
                    };
                }
                Assert.Equal(plain[i], pixels[(((c * upright.Height) + y) * upright.Width) + x]);
            }
        }
    }

    /// <summary>Metadata that say nothing, or nothing that can be, leave a picture as it is stored.</summary>
    [Fact]
    public void Jpeg_OrientationThatCannotBeRead_CountsAsUpright()
    {
        var shape = new ImageShape(1, 8, 16);
        var file = TestJpeg.Make(Smooth(shape), shape, progressive: false);
        var good = TestJpeg.Exif(6, little: true);
        byte[][] bad =
        [
            TestJpeg.Exif(0, little: true), TestJpeg.Exif(9, little: false), good[..^6], good[..14], [], "http://ns.adobe.com/xap/1.0/"u8.ToArray(),
            Changed(good, 6, (byte)'J'), Changed(good, 13, 0x80), Changed(good, 30, 4), Changed(good, 32, 2),
        ];
        Assert.All(bad, exif => Assert.Equal(new PictureHeader(16, 8, 1), Pictures.Header(new MemoryStream(TestJpeg.WithMetadata(file, exif)))));
        Assert.Equal(6, Pictures.Header(new MemoryStream(TestJpeg.WithMetadata(TestJpeg.WithMetadata(file, good), bad[5]))).Orientation);

        static byte[] Changed(byte[] bytes, int at, byte value) => [.. bytes[..at], value, .. bytes[(at + 1)..]];
    }

    /// <summary>Whatever stands in the metadata, or in the whole file: a picture or the one error.</summary>
    [Fact]
    public void Jpeg_RandomMetadataAndFiles_AreReadOrRefused()
    {
        var shape = new ImageShape(1, 8, 16);
        var file = TestJpeg.Make(Smooth(shape), shape, progressive: false);
        var exif = TestJpeg.Exif(6, little: false);
        Prop.ForAll<byte[], byte>((noise, cut) =>
        {
            // Noise alone, behind a true beginning of metadata, and as the file itself.
            byte[] behind = [.. exif.AsSpan(0, cut % exif.Length), .. noise];
            var value = ExifOrientation.Read(behind);
            var header = Pictures.Header(new MemoryStream(TestJpeg.WithMetadata(file, behind)));
            Assert.InRange(value, 1, 8);
            Assert.Equal(value, header.Orientation);
            foreach (var whole in new[] { noise, [0xFF, 0xD8, 0xFF, .. noise], [0xFF, 0xD8, 0xFF, 0xE1, 0, .. behind] })
            {
                var fault = Record.Exception(() => Pictures.Header(new MemoryStream(whole)));
                Assert.True(fault is null or InvalidDataException, $"{fault}");
            }
        }).Holds(2000);
    }

    [Fact]
    public void Jpeg_Damaged_IsNamed()
    {
        var shape = new ImageShape(3, 64, 64);
        var file = TestJpeg.Make(Smooth(shape), shape, progressive: false);
        Refused("damaged JPEG", file[..(file.Length / 2)]);
        Refused("ends before its frame", file[..20]);
        Refused("without a frame", [0xFF, 0xD8, 0xFF, 0xDA, 0, 2]);
        Refused("impossible length", [0xFF, 0xD8, 0xFF, 0xE0, 0, 1]);
        Refused("where none may be", [0xFF, 0xD8, 0xFF, 0xE0, 0, 2, 0x00]);
        Refused("is no PNG", "GIF89a"u8.ToArray());
        Refused("rare kind", Frame(0xC9, 8, 64, 64, 3));
        Refused("rare kind", Frame(0xC1, 12, 64, 64, 3));
        Refused("for print (CMYK)", Frame(0xC0, 8, 64, 64, 4));
        Refused("measures 65535 × 65535", Frame(0xC2, 8, 65535, 65535, 3));
        Refused("measures 64 × 0", Frame(0xC0, 8, 0, 64, 3)); // the height would come behind the picture

        void Refused(string expected, byte[] bytes) =>
            Assert.Contains(expected, Assert.Throws<InvalidDataException>(() => Pictures.Decode(bytes, shape, new byte[shape.Bytes])).Message, StringComparison.Ordinal);
    }

    /// <summary>Whatever bit is flipped: decoded or refused, and the process lives.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Jpeg_EveryByteSpoiled_IsDecodedOrRefused(bool progressive)
    {
        var shape = new ImageShape(3, 24, 24);
        var file = TestJpeg.Make(Smooth(shape), shape, progressive);
        var pixels = new byte[shape.Bytes];
        for (var at = 0; at < file.Length; at++)
        {
            var spoiled = file.ToArray();
            spoiled[at] ^= 0xFF;
            var fault = Record.Exception(() => Pictures.Decode(spoiled, shape, pixels));
            Assert.True(fault is null or InvalidDataException, $"byte {at}: {fault}");
        }
    }

    [Fact]
    public void Zip_OfJpegAndPng_ReadsBoth()
    {
        using var folder = new TestFolder();
        var shape = new ImageShape(3, 9, 13);
        var (png, expected) = TestPng.Make(13, 9, 2, 8, false, seed: 3);
        using (var archive = new ZipArchive(File.Create(Path.Combine(folder.Path, "part-0")), ZipArchiveMode.Create))
        {
            Add(archive, "cat/a.JPG", TestJpeg.Make(Smooth(shape), shape, progressive: true));
            Add(archive, "dog/b.png", png);
            var lying = shape with { Width = shape.Height, Height = shape.Width };
            Add(archive, "dog/d.jpg", TestJpeg.Oriented(TestJpeg.Make(Smooth(lying), lying, progressive: false), 6, little: true));
            Add(archive, "dog/c.jpeg", TestJpeg.Make(Smooth(shape with { Channels = 1 }), shape with { Channels = 1 }, progressive: false));
        }

        var zip = ZipIntake.Inspect(Path.Combine(folder.Path, "part-0"), detect: true, NoLimit);
        Assert.Equal(shape, zip.Shape);
        var source = new ZipImages(folder.Path, zip);
        var pixels = new byte[shape.Bytes];
        var read = source.Read(pixels).Select(_ => pixels.ToArray()).ToList();
        Assert.Equal(expected, read[1]);
        Assert.All(Smooth(shape).Zip(read[0]), pair => Assert.InRange(Math.Abs(pair.First - pair.Second), 0, 5));
        Assert.Equal(read[2][..117], read[2][117..234]); // grey in every channel
    }

    private static byte[] Frame(byte marker, byte precision, int height, int width, byte components) =>
        [0xFF, 0xD8, 0xFF, marker, 0, (byte)(8 + (3 * components)), precision, (byte)(height >> 8), (byte)height, (byte)(width >> 8), (byte)width, components];

    /// <summary>[C, H, W], slopes and a bow that differ by channel.</summary>
    private static byte[] Smooth(ImageShape shape)
    {
        var pixels = new byte[shape.Bytes];
        for (var i = 0; i < pixels.Length; i++)
        {
            var (c, y, x) = (i / (shape.Height * shape.Width), i / shape.Width % shape.Height, i % shape.Width);
            pixels[i] = (byte)(60 + (40 * c) + (x * (2 + c) / 2) + (10 * Math.Sin(y / 5.0)));
        }
        return pixels;
    }

    private static void Add(ZipArchive archive, string name, byte[] content)
    {
        using var stream = archive.CreateEntry(name).Open();
        stream.Write(content);
    }
}
