using System.Runtime.CompilerServices;
using System.Text.Json;
using DeepSeek.Compression.Graphs;
using DeepSeek.Data;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Compression.Measurement;

/// <summary>Raw rows of a dataset's splits as model inputs: tables from the split's sample, images and text from its shards.</summary>
public sealed class DatasetRows(DatasetManifest dataset, BlobClient blobs)
{
    private const int BatchRows = 256;

    /// <summary>Bytes of image data, or of logits, in one batch at most.</summary>
    private const long BatchBytes = 64 << 20;

    /// <summary>Shards that calibration reads at most: enough to see the whole split, few enough to fetch.</summary>
    private const int CalibrationShards = 16;

    /// <summary>The split's rows in order, at most so many.</summary>
    public IAsyncEnumerable<LabelledBatch> ReadAsync(string split, int most, CancellationToken cancelled) => ReadAsync(split, dataset.Splits[split], most, cancelled);

    private async IAsyncEnumerable<LabelledBatch> ReadAsync(string split, DatasetSplit part, int most, [EnumeratorCancellation] CancellationToken cancelled)
    {
        if (!IsRaw)
        {
            var sample = part.Sample ?? throw new InvalidDataException($"Split '{split}' of dataset '{dataset.Name}' has no sample of raw rows; prepare the dataset again.");
            await using var stream = await blobs.OpenAsync(sample.Sha256, cancelled);
            foreach (var rows in SampleRows.Read(stream).Take(most).Chunk(BatchRows))
                yield return Table(rows);
            yield break;
        }
        foreach (var shard in part.Shards)
        {
            if (most <= 0)
                yield break;
            await using var stream = await blobs.OpenAsync(shard.Sha256, cancelled);
            foreach (var block in ShardReader.Read(stream))
            {
                var all = dataset.IsText ? Texts(block) : Images(block);
                // What limits a batch of text are the logits of all its tokens, two bytes each here.
                var bytes = dataset.IsText ? block.Features.Data.Length / sizeof(short) * (long)sizeof(float) * dataset.Classes.Count : block.Features.Data.Length;
                foreach (var rows in Enumerable.Range(0, Math.Min(block.Rows, most)).Chunk(RowsPerBatch(bytes, block.Rows)))
                    yield return all.Take(rows);
                most -= Math.Min(block.Rows, most);
                if (most <= 0)
                    break;
            }
        }
    }

    /// <summary>
    /// Rows to calibrate with: evenly spread over the split, in its order, without those whose inputs equal a row of
    /// <paramref name="exclude"/>.
    /// </summary>
    /// <returns>The rows, and how many candidates were excluded.</returns>
    public async Task<(LabelledBatch? Rows, int Excluded)> SpreadAsync(string split, int samples, IReadOnlySet<UInt128> exclude, CancellationToken cancelled)
    {
        var part = dataset.Splits[split];
        if (part.Shards.Count > CalibrationShards)
            part = part with { Shards = [.. Enumerable.Range(0, CalibrationShards).Select(i => part.Shards[(int)((long)i * part.Shards.Count / CalibrationShards)])] };
        var total = IsRaw ? part.Shards.Sum(s => (long)s.Rows) : part.Sample?.Rows ?? part.Rows;
        var kept = new List<LabelledBatch>();
        var (index, taken, excluded) = (0L, 0, 0);
        // The k-th sample is the first admissible row at or after its place k · total / samples.
        await foreach (var batch in ReadAsync(split, part, int.MaxValue, cancelled))
        {
            var rows = new List<int>();
            for (var row = 0; row < batch.Rows && taken < samples; row++, index++)
            {
                if (index < taken * total / samples)
                    continue;
                if (exclude.Contains(batch.Fingerprint(row)))
                {
                    excluded++;
                    continue;
                }
                rows.Add(row);
                taken++;
            }
            if (rows.Count > 0)
                kept.Add(batch.Take(rows));
            if (taken == samples)
                break;
        }
        return (kept.Count == 0 ? null : LabelledBatch.Concat(kept), excluded);
    }

    /// <summary>Rows of a batch, from a block's bytes and rows: 256, or as many as 64 MB hold.</summary>
    public static int RowsPerBatch(long blockBytes, int blockRows) => (int)Math.Clamp(BatchBytes * blockRows / Math.Max(1, blockBytes), 1, BatchRows);

    /// <summary>The shards hold what the model takes.</summary>
    private bool IsRaw => dataset.IsImage || dataset.IsText;

    private LabelledBatch Texts(ShardBlock block)
    {
        long[] tokens = [.. block.Features.As<short>().ToArray().Select(t => (long)t)];
        return new(new ModelBatch(block.Rows, [new ModelInput(dataset.Inputs[0].Name, [.. block.Features.Shape.Select(d => (long)d)], tokens)]), [.. block.Target.As<long>().ToArray().Select(t => (double)t)]);
    }

    private LabelledBatch Table(SampleRow[] rows)
    {
        var inputs = dataset.Inputs.Select(input =>
        {
            var values = rows.Select(r => r.Inputs.TryGetValue(input.Name, out var value) ? value : default);
            return new ModelInput(input.Name, [rows.Length, 1], input.Datatype == "BYTES"
                ? values.Select(SampleRows.ToText).ToArray()
                : values.Select(v => SampleRows.ToNumber(v, input.Type)).ToArray());
        });
        return new LabelledBatch(new ModelBatch(rows.Length, [.. inputs]), [.. rows.Select(r => Target(r.Target))]);
    }

    private double Target(JsonElement value)
    {
        if (!dataset.IsClassification)
            return SampleRows.ToNumber(value, "numeric");
        var name = SampleRows.ToText(value);
        for (var i = 0; i < dataset.Classes.Count; i++)
        {
            if (dataset.Classes[i] == name)
                return i;
        }
        throw new InvalidDataException($"A row's target '{name}' is none of the dataset's classes {string.Join(", ", dataset.Classes)}.");
    }

    private LabelledBatch Images(ShardBlock block) => new(
        new ModelBatch(block.Rows, [new ModelInput(dataset.Inputs[0].Name, [.. block.Features.Shape.Select(d => (long)d)], block.Features.Descriptor == "|u1" ? block.Features.Data : throw new InvalidDataException($"An image shard holds '{block.Features.Descriptor}' values, bytes were expected."))]),
        block.Target.Descriptor == "<i8" ? [.. block.Target.As<long>().ToArray().Select(t => (double)t)] : [.. block.Target.As<float>().ToArray().Select(t => (double)t)]);
}
