using System.Security.Cryptography;
using System.Text;
using DeepSeek.Data;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.DuckDb;
using DeepSeek.Preprocessing.Images;
using DeepSeek.Preprocessing.Sources;
using Microsoft.Extensions.Options;

namespace DeepSeek.Preprocessing.Uploads;

/// <summary>One upload: takes its files as streams, checks all of them and leaves a spool folder a job can start from.</summary>
internal sealed class Upload(string directory, DatasetSpec spec, PreprocessingOptions options)
{
    private const int MaxFiles = 4;
    private readonly List<(string Name, string Path, string Sha256, long Bytes)> _files = [];
    private TableFile? _table;

    /// <summary>Spools a file; text is checked byte by byte on the way.</summary>
    /// <exception cref="DataFault">At the first fault.</exception>
    public async Task AddAsync(string name, Stream content, CancellationToken cancellationToken)
    {
        CheckName(name);
        if (_files.Count == (spec.Format == DatasetFormat.Idx ? MaxFiles : 1))
        {
            throw new DataFault("file", spec.Format == DatasetFormat.Idx ? $"an IDX dataset has at most {MaxFiles} files." : $"the format {spec.Format.ToString().ToLowerInvariant()} takes one file.");
        }
        var path = Path.Combine(directory, $"part-{_files.Count}");
        await using var file = Spool.CreateFile(path);
        var intake = TextIntake(file, Path.GetFileName(path));
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[1 << 18];
        long bytes = _files.Sum(f => f.Bytes), before = bytes;
        for (int read; (read = await content.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken)) > 0;)
        {
            bytes += read;
            if (bytes > options.MaxUploadBytes)
            {
                throw new DataFault("file", $"larger than {options.MaxUploadBytes:N0} bytes; upload a part of it.");
            }
            hash.AppendData(buffer, 0, read);
            if (intake is not null)
            {
                intake.Append(buffer.AsSpan(0, read));
            }
            else
            {
                file.Write(buffer, 0, read);
            }
        }
        if (bytes == before)
        {
            throw new DataFault("file", $"'{DataFault.Shown(name)}' is empty.");
        }
        _table = intake?.Complete();
        file.Flush(flushToDisk: true);
        _files.Add((name, path, Convert.ToHexStringLower(hash.GetHashAndReset()), bytes - before));
    }

    /// <summary>Checks what only whole files can tell and writes the description.</summary>
    public Intake Complete()
    {
        if (_files.Count == 0)
        {
            throw new DataFault("file", "is missing: send the data as a part named 'file' after the part 'spec'.");
        }
        var intake = new Intake { Source = Source() };
        intake = spec.Format switch
        {
            DatasetFormat.Csv or DatasetFormat.Jsonl => intake with { Table = _table },
            DatasetFormat.Parquet => intake with { Table = Parquet() },
            DatasetFormat.Idx => intake with { Idx = Idx() },
            _ => intake with { Zip = ZipIntake.Inspect(_files[0].Path, spec.Privacy.Detect, options.MaxUnpackedBytes) },
        };
        intake.Save(directory);
        return intake;
    }

    private ITableIntake? TextIntake(Stream output, string file)
    {
        var limits = new TextLimits(options.MaxFieldBytes, 2 << 20, options.MaxColumns);
        return spec.Format switch
        {
            DatasetFormat.Csv => new CsvIntake(output, file, spec.Csv, DatasetSpecRules.TargetOf(spec)!, Ignored, limits),
            DatasetFormat.Jsonl => new JsonLinesIntake(output, file, DatasetSpecRules.TargetOf(spec)!, Ignored, limits),
            _ => null,
        };
    }

    private TableFile Parquet()
    {
        var temporary = Directory.CreateDirectory(Path.Combine(directory, "duckdb")).FullName;
        var limits = new DuckDbLimits(options.DuckDbMegabytes, options.DuckDbThreads, temporary);
        var table = ParquetIntake.Inspect(_files[0].Path, limits, DatasetSpecRules.TargetOf(spec)!, Ignored, new TextLimits(MaxColumns: options.MaxColumns));
        Directory.Delete(temporary, recursive: true);
        return table;
    }

    private IReadOnlyList<IdxPair> Idx()
    {
        var pairs = IdxImages.Pair([.. _files.Select(f => IdxFile.Inspect(f.Path, f.Name, options.MaxUnpackedBytes))]);
        return new IdxImages(directory, pairs).Classes.Count > 1
            ? pairs
            : throw new DataFault("file", "all images have one label; there must be at least two classes.");
    }

    /// <summary>One file goes by its own hash; several by the hash of the list of theirs, sorted by name.</summary>
    private DatasetSource Source()
    {
        if (_files.Count == 1)
        {
            return new DatasetSource(_files[0].Name, _files[0].Sha256, _files[0].Bytes);
        }
        var sorted = _files.OrderBy(f => f.Name, StringComparer.Ordinal).ToList();
        var list = string.Concat(sorted.Select(f => $"{f.Sha256}  {f.Name}\n"));
        return new DatasetSource(string.Join(" + ", sorted.Select(f => f.Name)), Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(list))), sorted.Sum(f => f.Bytes));
    }

    // A language model learns from its texts alone.
    private bool Ignored(string column) => spec.Task == LearningTask.LanguageModeling || spec.Columns.GetValueOrDefault(column)?.Role == ColumnRole.Ignore;

    private void CheckName(string name)
    {
        if (name.Length is 0 or > 255 || name is "." or ".." || name.AsSpan().IndexOfAny("/\\") >= 0 || name.Any(char.IsControl))
        {
            throw new DataFault("file", "the file name must be a plain name of at most 255 characters, without '/' or '\\'.");
        }
        if (_files.Any(f => f.Name == name))
        {
            throw new DataFault("file", $"the name '{DataFault.Shown(name)}' is there twice.");
        }
    }
}
