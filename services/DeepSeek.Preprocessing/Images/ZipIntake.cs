using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using DeepSeek.Preprocessing.Privacy;
using DeepSeek.Preprocessing.Sources;

namespace DeepSeek.Preprocessing.Images;

/// <summary>Checks an archive of labelled pictures: folder per class, or a labels.csv with the columns file and label.</summary>
internal static class ZipIntake
{
    public const int MaxEntries = 1_000_000;
    public const long MaxEntryBytes = 64L << 20;

    /// <summary>Deflate reaches 1 032 : 1 on zeros; real pictures are compressed already.</summary>
    public const int MaxRatio = 200;
    private const string LabelsFile = "labels.csv";

    public static ZipFile Inspect(string path, bool detect, long maxBytes)
    {
        if (EntryCount(path) is var announced && announced > MaxEntries)
        {
            throw new DataFault("file", $"the archive has {announced:N0} entries; at most {MaxEntries:N0} are read.");
        }
        try
        {
            using var archive = new ZipArchive(File.OpenRead(path), ZipArchiveMode.Read);
            var entries = Entries(archive, maxBytes);
            var labels = Labels(entries);
            var pictures = entries.Where(e => e != labels).ToList();
            var named = labels is null ? pictures.Select(e => (Entry: e, Label: Folder(e))).ToList() : Labelled(labels, pictures);
            var classes = named.Select(n => Clean(n.Label, detect)).Distinct().Order(StringComparer.Ordinal).ToList();
            if (classes.Count < 2)
            {
                throw new DataFault("file", pictures.Count == 0 ? "the archive holds no pictures." : "all pictures of the archive have one class; there must be at least two.");
            }
            var index = classes.Select((name, i) => (name, i)).ToDictionary(p => p.name, p => p.i, StringComparer.Ordinal);
            return new ZipFile(Path.GetFileName(path), Shape(named.Select(n => n.Entry)), classes,
                [.. named.OrderBy(n => n.Entry.FullName, StringComparer.Ordinal).Select(n => new ZipPicture(n.Entry.FullName, index[Clean(n.Label, detect)]))]);
        }
        catch (InvalidDataException)
        {
            throw new DataFault("file", "is not a readable zip archive; make it again.");
        }
    }

    /// <summary>The bytes of an entry, never more than it announces.</summary>
    public static byte[] ReadEntry(ZipArchiveEntry entry)
    {
        var bytes = new byte[entry.Length];
        using var stream = entry.Open();
        var read = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        return read == bytes.Length && stream.ReadByte() < 0
            ? bytes
            : throw new DataFault("file", $"'{DataFault.Shown(entry.FullName)}' has another size than the archive announces.");
    }

    private static string Clean(string label, bool detect) => detect ? PersonalData.RedactInside(label) ?? label : label;

    private static List<ZipArchiveEntry> Entries(ZipArchive archive, long maxBytes)
    {
        var entries = new List<ZipArchiveEntry>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        long total = 0;
        foreach (var entry in archive.Entries)
        {
            var name = entry.FullName;
            DataFault Fault(string what) => new("file", $"the archive's entry '{DataFault.Shown(name)}' {what}");
            if (name.Contains('\\') || name.StartsWith('/') || name.Contains(':') || name.Any(char.IsControl) || name.Split('/').Any(part => part is ".." or "."))
            {
                throw Fault("has a path that leads out of the archive; entries must have plain relative paths.");
            }
            if (name.EndsWith('/') || name.StartsWith("__MACOSX/", StringComparison.Ordinal) || Path.GetFileName(name) is ".DS_Store" or "Thumbs.db")
            {
                continue;
            }
            if (!names.Add(name))
            {
                throw Fault("is there twice.");
            }
            if (entry.IsEncrypted)
            {
                throw Fault("is encrypted; send the archive without a password.");
            }
            total += entry.Length;
            if (entry.Length > MaxEntryBytes || total > maxBytes)
            {
                throw Fault($"unpacks to too much: an entry may have {MaxEntryBytes:N0} bytes, all of them {maxBytes:N0}.");
            }
            if (entry.Length > 1 << 16 && entry.Length / Math.Max(1, entry.CompressedLength) > MaxRatio)
            {
                throw Fault($"unpacks to more than {MaxRatio} times its size; pictures do not, so it is refused.");
            }
            if (!Pictures.IsNamed(name) && Path.GetFileName(name) != LabelsFile)
            {
                throw Fault($"is neither a PNG or JPEG picture nor {LabelsFile}; take it out.");
            }
            entries.Add(entry);
        }
        return entries;
    }

    private static ZipArchiveEntry? Labels(List<ZipArchiveEntry> entries) =>
        entries.Where(e => Path.GetFileName(e.FullName) == LabelsFile).ToList() switch
        {
            [] => null,
            [var only] => only,
            [var first, var second, ..] => throw new DataFault("file",
                $"the archive has two files of labels, '{DataFault.Shown(first.FullName)}' and '{DataFault.Shown(second.FullName)}'; put all labels into one."),
        };

    private static string Folder(ZipArchiveEntry entry) => entry.FullName.Split('/') is { Length: > 1 } parts
        ? parts[^2]
        : throw new DataFault("file", $"'{DataFault.Shown(entry.FullName)}' lies in no folder: put each picture into a folder named after its class, or add {LabelsFile} with the columns file and label.");

    private static List<(ZipArchiveEntry Entry, string Label)> Labelled(ZipArchiveEntry labels, List<ZipArchiveEntry> pictures)
    {
        var root = labels.FullName[..^LabelsFile.Length];
        var byName = pictures.ToDictionary(p => p.FullName, StringComparer.Ordinal);
        var result = new List<(ZipArchiveEntry, string)>();
        try
        {
            foreach (var row in LabelRows(ReadEntry(labels)))
            {
                var entry = byName.Remove(root + row.File, out var found) ? found
                    : throw new DataFault("file", $"{LabelsFile}, row {result.Count + 1}: the archive has no picture of that name, or it is named twice.");
                result.Add((entry, row.Label));
            }
        }
        catch (DataFault fault) when (!fault.Detail.StartsWith(LabelsFile, StringComparison.Ordinal))
        {
            throw new DataFault("file", $"{LabelsFile}: {fault.Detail}");
        }
        return byName.Count == 0
            ? result
            : throw new DataFault("file", $"{LabelsFile} does not name '{DataFault.Shown(byName.Keys.Order(StringComparer.Ordinal).First())}'{(byName.Count > 1 ? $" and {byName.Count - 1:N0} more" : "")}.");
    }

    private static IEnumerable<(string File, string Label)> LabelRows(byte[] csv)
    {
        // The strict reader checks; its canonical output has one dialect that is simple to take apart.
        using var canonical = new MemoryStream();
        var intake = new CsvIntake(canonical, LabelsFile, new Datasets.CsvSpec(), "label", _ => false, new TextLimits());
        intake.Append(csv);
        var names = intake.Complete().Columns.Select(c => c.Name).ToList();
        var file = names.IndexOf("file");
        if (file < 0)
        {
            throw new DataFault("file", "has no column 'file'.");
        }
        var label = names.IndexOf("label");
        foreach (var fields in CanonicalRows(Encoding.UTF8.GetString(canonical.ToArray())))
        {
            yield return (fields[file], fields[label]);
        }
    }

    private static IEnumerable<List<string>> CanonicalRows(string text)
    {
        var fields = new List<string>();
        var field = new StringBuilder();
        var quoted = false;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (c == '"')
            {
                if (quoted && i + 1 < text.Length && text[i + 1] == '"')
                {
                    field.Append(text[++i]);
                    continue;
                }
                quoted = !quoted;
            }
            else if (!quoted && (c is ',' or '\n'))
            {
                fields.Add(field.ToString());
                field.Clear();
                if (c == '\n')
                {
                    yield return fields;
                    fields = [];
                }
            }
            else
            {
                field.Append(c);
            }
        }
    }

    private static ImageShape Shape(IEnumerable<ZipArchiveEntry> pictures)
    {
        ImageShape? shape = null;
        var first = "";
        foreach (var picture in pictures)
        {
            PictureHeader header;
            try
            {
                using var stream = picture.Open();
                header = Pictures.Header(stream);
            }
            catch (InvalidDataException fault)
            {
                throw new DataFault("file", $"'{DataFault.Shown(picture.FullName)}' {fault.Message}.");
            }
            if (shape is null)
            {
                (shape, first) = (new ImageShape(header.Channels, header.Height, header.Width), picture.FullName);
            }
            else if (shape.Width != header.Width || shape.Height != header.Height)
            {
                throw new DataFault("file", $"'{DataFault.Shown(picture.FullName)}' measures {header.Width} × {header.Height} and '{DataFault.Shown(first)}' {shape.Width} × {shape.Height}; scale all pictures to one size.");
            }
            // One coloured picture gives all of them three channels.
            shape = shape with { Channels = Math.Max(shape.Channels, header.Channels) };
        }
        return shape!;
    }

    // ZipArchive reads the whole directory at once; its announced size is looked at first.
    private static long EntryCount(string path)
    {
        using var file = File.OpenRead(path);
        var tail = new byte[Math.Min(file.Length, 65_557)];
        file.Seek(-tail.Length, SeekOrigin.End);
        file.ReadExactly(tail);
        var at = tail.AsSpan().LastIndexOf("PK\x05\x06"u8);
        if (at < 0 || tail.Length - at < 22)
        {
            throw new DataFault("file", "is not a zip archive: it has no directory at its end.");
        }
        // Beyond 65 535 entries the true number stands elsewhere; no entry of the directory is shorter than 46 bytes.
        return Math.Max(BinaryPrimitives.ReadUInt16LittleEndian(tail.AsSpan(at + 10)), BinaryPrimitives.ReadUInt32LittleEndian(tail.AsSpan(at + 12)) / 46);
    }
}
