using System.IO.Compression;
using DeepSeek.Preprocessing.Splitting;

namespace DeepSeek.Preprocessing.Images;

/// <summary>One picture of an archive.</summary>
internal sealed record ZipPicture(string Entry, int Class);

/// <summary>What was found in an archive of pictures.</summary>
internal sealed record ZipFile(string File, ImageShape Shape, IReadOnlyList<string> Classes, IReadOnlyList<ZipPicture> Pictures);

/// <summary>PNG and JPEG pictures in a zip archive. Entries are read in place: nothing is ever unpacked to a path that an archive names.</summary>
internal sealed class ZipImages(string directory, ZipFile zip) : IImageSource
{
    public ImageShape Shape => zip.Shape;

    public IReadOnlyList<string> Classes => zip.Classes;

    public long Count => zip.Pictures.Count;

    public IEnumerable<(int Class, SplitPart? Part)> Labels() => zip.Pictures.Select(p => (p.Class, (SplitPart?)null));

    public IEnumerable<bool> Read(byte[] pixels)
    {
        using var archive = new ZipArchive(File.OpenRead(Path.Combine(directory, zip.File)), ZipArchiveMode.Read);
        foreach (var picture in zip.Pictures)
        {
            var bytes = ZipIntake.ReadEntry(archive.GetEntry(picture.Entry)!);
            try
            {
                Pictures.Decode(bytes, Shape, pixels);
            }
            catch (InvalidDataException fault)
            {
                throw new DataFault("file", $"'{DataFault.Shown(picture.Entry)}' {fault.Message}.");
            }
            yield return true;
        }
    }
}
