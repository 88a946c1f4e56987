using System.Globalization;
using DeepSeek.Preprocessing.Splitting;

namespace DeepSeek.Preprocessing.Images;

/// <param name="Images">Pictures.</param>
/// <param name="Labels">Their classes.</param>
/// <param name="Test">The official test part.</param>
internal sealed record IdxPair(IdxFile Images, IdxFile Labels, bool Test);

/// <summary>One or two pairs of IDX files, the train pair first.</summary>
internal sealed class IdxImages : IImageSource
{
    private readonly string _directory;
    private readonly IReadOnlyList<IdxPair> _pairs;
    private readonly int[] _classOf = new int[256];

    public IdxImages(string directory, IReadOnlyList<IdxPair> pairs)
    {
        (_directory, _pairs) = (directory, pairs);
        var seen = new bool[256];
        foreach (var label in RawLabels())
        {
            seen[label.Value] = true;
        }
        var values = Enumerable.Range(0, 256).Where(v => seen[v]).ToArray();
        for (var i = 0; i < values.Length; i++)
        {
            _classOf[values[i]] = i;
        }
        Classes = [.. values.Select(v => v.ToString(CultureInfo.InvariantCulture))];
        Shape = new ImageShape(1, pairs[0].Images.Dimensions[1], pairs[0].Images.Dimensions[2]);
    }

    public ImageShape Shape { get; }

    public IReadOnlyList<string> Classes { get; }

    public long Count => _pairs.Sum(p => (long)p.Images.Count);

    /// <summary>Pairs images with labels by number and by name.</summary>
    /// <exception cref="DataFault">They do not match.</exception>
    public static IReadOnlyList<IdxPair> Pair(IReadOnlyList<IdxFile> files)
    {
        if (files.Count is not (2 or 4) || files.Count(f => f.IsImages) * 2 != files.Count)
        {
            throw new DataFault("file", "an IDX dataset is one file of images and one of labels, or two of each with t10k or test in the names of the test part.");
        }
        var pairs = files.GroupBy(f => f.IsTest && files.Count == 4).OrderBy(g => g.Key).Select(group =>
        {
            var images = group.Where(f => f.IsImages).ToList();
            var labels = group.Where(f => !f.IsImages).ToList();
            if (images.Count != 1 || labels.Count != 1)
            {
                throw new DataFault("file", "the names do not tell which images belong to which labels: of four files, t10k or test must stand in the names of exactly one pair.");
            }
            return images[0].Count == labels[0].Count
                ? new IdxPair(images[0], labels[0], group.Key)
                : throw new DataFault("file", $"'{DataFault.Shown(images[0].Name)}' holds {images[0].Count:N0} images and '{DataFault.Shown(labels[0].Name)}' {labels[0].Count:N0} labels.");
        }).ToList();
        return pairs.Count == 1 || pairs[0].Images.Dimensions.Skip(1).SequenceEqual(pairs[1].Images.Dimensions.Skip(1))
            ? pairs
            : throw new DataFault("file", "the images of the test part have another size than those of the train part.");
    }

    public IEnumerable<(int Class, SplitPart? Part)> Labels() => RawLabels().Select(l => (_classOf[l.Value], l.Part));

    public IEnumerable<bool> Read(byte[] pixels)
    {
        foreach (var pair in _pairs)
        {
            using var stream = pair.Images.OpenData(_directory);
            for (var i = 0; i < pair.Images.Count; i++)
            {
                stream.ReadExactly(pixels);
                yield return true;
            }
        }
    }

    private IEnumerable<(byte Value, SplitPart? Part)> RawLabels()
    {
        foreach (var pair in _pairs)
        {
            using var stream = pair.Labels.OpenData(_directory);
            for (var i = 0; i < pair.Labels.Count; i++)
            {
                yield return ((byte)stream.ReadByte(), pair.Test ? SplitPart.Test : null);
            }
        }
    }
}
