using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>Computes the operators that occur on constants: arithmetic, and everything that moves elements about.</summary>
internal static class ConstantEvaluator
{
    /// <summary>
    /// The node's result; null where the operator is not known here, breaks its own rules (the runtime says how) or would take
    /// more bytes than the limit.
    /// </summary>
    internal static TensorProto? Run(NodeProto node, IReadOnlyList<TensorProto?> inputs, long limit)
    {
        if (node.Domain.Length > 0)
        {
            return null;
        }
        if (node.OpType == "Constant")
        {
            return Held(node);
        }
        ConstantTensor?[] values = [.. inputs.Select(i => i is null ? null : ConstantTensor.Of(i))];
        if (values.Length == 0 || values[0] is not { } x || values.Any(v => v is { Supported: false }))
        {
            return null;
        }
        try
        {
            return Compute(node, x, values, limit)?.ToProto("");
        }
        catch (Exception e) when (e is ArgumentException or IndexOutOfRangeException or ArithmeticException or InvalidOnnxException)
        {
            return null;
        }
    }

    /// <summary>The value of a Constant node.</summary>
    private static TensorProto? Held(NodeProto node) => node.Attribute is not [{ } held] ? null : held.Name switch
    {
        "value" => held.T?.Clone(),
        "value_float" => OnnxTensors.Of("", [held.F]),
        "value_int" => OnnxTensors.Of("", [held.I]),
        "value_floats" => OnnxTensors.Of("", held.Floats.ToArray(), held.Floats.Count),
        "value_ints" => OnnxTensors.Of("", held.Ints.ToArray(), held.Ints.Count),
        _ => null,
    };

    private static ConstantTensor? Compute(NodeProto node, ConstantTensor x, ConstantTensor?[] inputs, long limit)
    {
        var y = inputs.Length > 1 ? inputs[1] : null;
        return node.OpType switch
        {
            "Identity" => x,
            "Add" when y is not null => Combine(x, y, limit, (a, b) => a + b),
            "Sub" when y is not null => Combine(x, y, limit, (a, b) => a - b),
            "Mul" when y is not null => Combine(x, y, limit, (a, b) => a * b),
            "Div" when y is not null && x.Type is OnnxType.Float or OnnxType.Double => Combine(x, y!, limit, (a, b) => a / b),
            "Neg" => Map(x, a => -a),
            "Sqrt" => Map(x, Math.Sqrt),
            "Reciprocal" => Map(x, a => 1 / a),
            "Cast" => Cast(x, (OnnxType)node.Int("to", 0)),
            "Shape" => Shape(node, x),
            "Transpose" => Transpose(x, node.Ints("perm") ?? [.. Enumerable.Range(0, x.Dims.Length).Select(i => (long)i).Reverse()]),
            "Reshape" when y is not null => Reshape(node, x, y),
            "Unsqueeze" when y is not null => Unsqueeze(x, y.Longs()),
            "Squeeze" when y is not null => Squeeze(x, y.Longs()),
            "Concat" when inputs.All(i => i is not null) => Concat(inputs!, node.Int("axis", 0)),
            "Gather" when y is not null => Gather(x, y, node.Int("axis", 0), limit),
            "Slice" => Slice(inputs),
            "ConstantOfShape" => Filled(node, x, limit),
            "Trilu" => Trilu(node, x, y),
            _ => null,
        };
    }

    private static ConstantTensor Map(ConstantTensor x, Func<double, double> function) => ConstantTensor.FromNumbers(x.Type, x.Dims, [.. x.Numbers().Select(function)]);

    private static ConstantTensor? Cast(ConstantTensor x, OnnxType type)
    {
        var empty = new ConstantTensor(type, x.Dims, []);
        return empty.Supported ? ConstantTensor.FromNumbers(type, x.Dims, x.Numbers()) : null;
    }

    private static ConstantTensor? Combine(ConstantTensor a, ConstantTensor b, long limit, Func<double, double, double> function)
    {
        if (a.Type != b.Type)
        {
            return null;
        }
        var rank = Math.Max(a.Dims.Length, b.Dims.Length);
        long[] left = [.. Enumerable.Repeat(1L, rank - a.Dims.Length), .. a.Dims];
        long[] right = [.. Enumerable.Repeat(1L, rank - b.Dims.Length), .. b.Dims];
        long[] dims = [.. left.Zip(right, (p, q) => p == 1 ? q : p)];
        if (left.Zip(dims, (p, q) => p != 1 && p != q).Any(bad => bad) || right.Zip(dims, (p, q) => p != 1 && p != q).Any(bad => bad) || OnnxShapes.Count(dims) * a.ElementSize > limit)
        {
            return null;
        }
        var (x, y) = (a.Numbers(), b.Numbers());
        var values = new double[OnnxShapes.Count(dims)];
        for (var i = 0L; i < values.Length; i++)
        {
            long rest = i, p = 0, q = 0, stepP = 1, stepQ = 1;
            for (var d = rank - 1; d >= 0; d--)
            {
                var index = rest % dims[d];
                rest /= dims[d];
                p += left[d] == 1 ? 0 : index * stepP;
                q += right[d] == 1 ? 0 : index * stepQ;
                stepP *= left[d];
                stepQ *= right[d];
            }
            values[i] = function(x[p], y[q]);
        }
        return x.Concat(y).Concat(values).All(v => IsExact(a.Type, v)) ? ConstantTensor.FromNumbers(a.Type, dims, values) : null;
    }

    /// <summary>Whether an integer survives arithmetic in double precision; other types do by rounding once.</summary>
    private static bool IsExact(OnnxType type, double value) => type switch
    {
        OnnxType.Int64 => Math.Abs(value) <= 1L << 53,
        OnnxType.Int32 => value is >= int.MinValue and <= int.MaxValue,
        _ => true,
    };

    private static ConstantTensor Shape(NodeProto node, ConstantTensor x)
    {
        var rank = x.Dims.Length;
        var (start, end) = ((int)At(node.Int("start", 0), rank), (int)At(node.Int("end", rank), rank));
        return ConstantTensor.Of(OnnxType.Int64, [Math.Max(0, end - start)], x.Dims[start..Math.Max(start, end)]);
    }

    /// <summary>A result whose element i is the input's element source(i): copies of whole elements.</summary>
    private static ConstantTensor Pick(ConstantTensor x, long[] dims, Func<long[], long> source)
    {
        var size = x.ElementSize;
        var data = new byte[OnnxShapes.Count(dims) * size];
        var index = new long[dims.Length];
        for (var i = 0L; i < data.Length / size; i++)
        {
            x.Data.AsSpan((int)(source(index) * size), size).CopyTo(data.AsSpan((int)(i * size)));
            for (var d = dims.Length - 1; d >= 0 && ++index[d] == dims[d]; d--)
            {
                index[d] = 0;
            }
        }
        return new ConstantTensor(x.Type, dims, data);
    }

    private static ConstantTensor? Transpose(ConstantTensor x, long[] order)
    {
        if (!order.Order().SequenceEqual(Enumerable.Range(0, x.Dims.Length).Select(d => (long)d)))
        {
            return null;
        }
        var strides = Strides(x.Dims);
        long[] moved = [.. order.Select(d => strides[d])];
        return Pick(x, [.. order.Select(d => x.Dims[d])], index => Dot(index, moved));
    }

    private static ConstantTensor? Reshape(NodeProto node, ConstantTensor x, ConstantTensor y)
    {
        var dims = y.Longs();
        if (node.Int("allowzero", 0) != 0)
        {
            return null;
        }
        for (var d = 0; d < dims.Length; d++)
        {
            dims[d] = dims[d] == 0 ? x.Dims[d] : dims[d];
        }
        var open = Array.IndexOf(dims, -1);
        if (open >= 0)
        {
            dims[open] = x.Count / dims.Where(d => d >= 0).Aggregate(1L, (a, b) => a * b);
        }
        return OnnxShapes.Count(dims) == x.Count ? x with { Dims = dims } : null;
    }

    private static ConstantTensor Unsqueeze(ConstantTensor x, long[] axes)
    {
        var rank = x.Dims.Length + axes.Length;
        var added = axes.Select(a => At(a, rank)).ToHashSet();
        var rest = new Queue<long>(x.Dims);
        return x with { Dims = [.. Enumerable.Range(0, rank).Select(d => added.Contains(d) ? 1 : rest.Dequeue())] };
    }

    private static ConstantTensor? Squeeze(ConstantTensor x, long[] axes)
    {
        var gone = axes.Select(a => At(a, x.Dims.Length)).ToHashSet();
        long[] dims = [.. x.Dims.Where((_, d) => !gone.Contains(d))];
        return OnnxShapes.Count(dims) == x.Count ? x with { Dims = dims } : null;
    }

    private static ConstantTensor? Concat(ConstantTensor[] parts, long axis)
    {
        var first = parts[0];
        var a = At(axis, first.Dims.Length);
        if (parts.Any(p => p.Type != first.Type || p.Dims.Length != first.Dims.Length || p.Dims.Where((d, i) => i != a && d != first.Dims[i]).Any()))
        {
            return null;
        }
        long[] dims = [.. first.Dims];
        dims[a] = parts.Sum(p => p.Dims[a]);
        var outer = dims.Take((int)a).Aggregate(1L, (p, q) => p * q);
        using var data = new MemoryStream();
        for (var i = 0; i < outer; i++)
        {
            foreach (var part in parts)
            {
                var length = (int)(part.Data.Length / outer);
                data.Write(part.Data, i * length, length);
            }
        }
        return new ConstantTensor(first.Type, dims, data.ToArray());
    }

    private static ConstantTensor? Gather(ConstantTensor x, ConstantTensor indices, long axis, long limit)
    {
        var a = (int)At(axis, x.Dims.Length);
        var (places, strides, depth) = (indices.Longs(), Strides(x.Dims), indices.Dims.Length);
        long[] dims = [.. x.Dims[..a], .. indices.Dims, .. x.Dims[(a + 1)..]];
        if (places.Any(p => p < -x.Dims[a] || p >= x.Dims[a]) || OnnxShapes.Count(dims) * x.ElementSize > limit)
        {
            return null;
        }
        var inner = Strides(indices.Dims);
        return Pick(x, dims, index =>
            Dot(index.AsSpan(0, a), strides) + At(places[Dot(index.AsSpan(a, depth), inner)], x.Dims[a]) * strides[a] + Dot(index.AsSpan(a + depth), strides.AsSpan(a + 1)));
    }

    private static ConstantTensor? Slice(ConstantTensor?[] inputs)
    {
        if (inputs is not [{ } x, { } first, { } last, ..])
        {
            return null;
        }
        var (starts, ends) = (first.Longs(), last.Longs());
        var axes = inputs.Length > 3 && inputs[3] is { } given ? given.Longs() : [.. Enumerable.Range(0, starts.Length).Select(i => (long)i)];
        if (inputs.Length > 4 && inputs[4] is { } steps && steps.Longs().Any(s => s != 1))
        {
            return null;
        }
        var (dims, strides, offset) = ((long[])[.. x.Dims], Strides(x.Dims), 0L);
        for (var i = 0; i < axes.Length; i++)
        {
            var a = At(axes[i], dims.Length);
            var start = Math.Clamp(At(starts[i], dims[a]), 0, dims[a]);
            var end = Math.Clamp(At(ends[i], dims[a]), start, dims[a]);
            (dims[a], offset) = (end - start, offset + start * strides[a]);
        }
        return Pick(x, dims, index => offset + Dot(index, strides));
    }

    private static ConstantTensor? Filled(NodeProto node, ConstantTensor shape, long limit)
    {
        var dims = shape.Longs();
        var value = node.Attribute("value")?.T is { } tensor ? ConstantTensor.Of(tensor) : ConstantTensor.Of(OnnxType.Float, [1], [0f]);
        return value.Supported && OnnxShapes.Count(dims) * value.ElementSize <= limit ? Pick(value, dims, _ => 0) : null;
    }

    private static ConstantTensor? Trilu(NodeProto node, ConstantTensor x, ConstantTensor? diagonal)
    {
        if (x.Type != OnnxType.Float)
        {
            return null;
        }
        var (k, upper, values) = (diagonal?.Longs()[0] ?? 0, node.Int("upper", 1) == 1, x.As<float>().ToArray());
        var (rows, columns) = (x.Dims[^2], x.Dims[^1]);
        for (var i = 0L; i < values.Length; i++)
        {
            var distance = i % columns - i / columns % rows;
            values[i] = upper ? distance >= k ? values[i] : 0 : distance <= k ? values[i] : 0;
        }
        return ConstantTensor.Of(x.Type, x.Dims, values);
    }

    private static long At(long index, long length) => index < 0 ? index + length : index;

    private static long[] Strides(long[] dims)
    {
        var strides = new long[dims.Length];
        for (long d = dims.Length - 1, step = 1; d >= 0; step *= dims[d], d--)
        {
            strides[d] = step;
        }
        return strides;
    }

    private static long Dot(ReadOnlySpan<long> a, ReadOnlySpan<long> b)
    {
        var sum = 0L;
        for (var i = 0; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }
        return sum;
    }
}
