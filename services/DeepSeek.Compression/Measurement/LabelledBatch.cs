using System.IO.Hashing;
using System.Runtime.InteropServices;
using DeepSeek.Compression.Graphs;

namespace DeepSeek.Compression.Measurement;

/// <summary>Raw rows with their targets: class indices or numbers.</summary>
public sealed record LabelledBatch(ModelBatch Batch, double[] Targets)
{
    public int Rows => Targets.Length;

    /// <summary>Rows at these places.</summary>
    public LabelledBatch Take(IReadOnlyList<int> rows) => new(
        new ModelBatch(rows.Count, [.. Batch.Inputs.Select(i => Take(i, rows))]), [.. rows.Select(r => Targets[r])]);

    /// <summary>A fingerprint of a row's inputs, to find rows that are in two splits. 128 bits, so that chance never decides.</summary>
    public UInt128 Fingerprint(int row)
    {
        var hash = new XxHash128();
        foreach (var input in Batch.Inputs)
        {
            if (input.Values is string[] texts)
            {
                hash.Append(MemoryMarshal.AsBytes(texts[row].AsSpan()));
                hash.Append([0, 0]);
            }
            else
            {
                var size = Buffer.ByteLength(input.Values) / Rows;
                hash.Append(Bytes(input.Values).Slice(row * size, size));
            }
        }
        return hash.GetCurrentHashAsUInt128();
    }

    public static LabelledBatch Concat(IReadOnlyList<LabelledBatch> parts)
    {
        var rows = parts.Sum(p => p.Rows);
        var inputs = parts[0].Batch.Inputs.Select((first, i) =>
        {
            var values = Array.CreateInstance(first.Values.GetType().GetElementType()!, parts.Sum(p => p.Batch.Inputs[i].Values.Length));
            var offset = 0;
            foreach (var part in parts)
            {
                part.Batch.Inputs[i].Values.CopyTo(values, offset);
                offset += part.Batch.Inputs[i].Values.Length;
            }
            return new ModelInput(first.Name, [rows, .. first.Shape[1..]], values);
        });
        return new LabelledBatch(new ModelBatch(rows, [.. inputs]), [.. parts.SelectMany(p => p.Targets)]);
    }

    private static ModelInput Take(ModelInput input, IReadOnlyList<int> rows)
    {
        var width = (int)input.Shape[1..].Aggregate(1L, (a, b) => a * b);
        var values = Array.CreateInstance(input.Values.GetType().GetElementType()!, rows.Count * width);
        for (var i = 0; i < rows.Count; i++)
            Array.Copy(input.Values, rows[i] * width, values, i * width, width);
        return new ModelInput(input.Name, [rows.Count, .. input.Shape[1..]], values);
    }

    private static ReadOnlySpan<byte> Bytes(Array values) => values switch
    {
        double[] doubles => MemoryMarshal.AsBytes(doubles.AsSpan()),
        byte[] bytes => bytes,
        long[] tokens => MemoryMarshal.AsBytes(tokens.AsSpan()),
        _ => throw new NotSupportedException($"Rows of {values.GetType()}."),
    };
}
