using System.Globalization;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Profiling;

/// <summary>A tensor in a call: element type, kind of device (both as libtorch numbers them) and sizes.</summary>
public sealed record TensorShape(int Type, int DeviceType, IReadOnlyList<long> Sizes)
{
    /// <summary>Number of elements.</summary>
    public long Elements => Sizes.Aggregate(1L, (product, size) => product * size);

    /// <summary>Bytes of all elements; 0 for element types the engine does not know.</summary>
    public long Bytes => Elements * Type switch { 0 or 1 or 11 or 23 or 24 or 25 or 26 => 1, 2 or 5 or 15 => 2, 3 or 6 or 8 => 4, 4 or 7 or 9 => 8, 10 => 16, _ => 0 };

    /// <summary>Such as float32.</summary>
    public string TypeName => Enum.IsDefined((Dtype)Type) ? ((Dtype)Type).ToString().ToLowerInvariant() : Type switch { 23 => "float8_e5m2", 24 => "float8_e4m3", 9 => "complex64", _ => $"type{Type}" };

    /// <inheritdoc/>
    public override string ToString() => $"[{string.Join(',', Sizes)}]";
}

/// <summary>
/// An operator's name, arguments and results as the native recorder writes them (native/include/deepseek/trace.h). An argument is null,
/// a <see cref="TensorShape"/>, a long, double, bool, long[] or a list of arguments; what the recorder did not know is null too.
/// </summary>
public sealed class OperatorSignature
{
    private readonly string _text;
    private int _at;

    private OperatorSignature(string text)
    {
        _text = text;
        var bar = text.IndexOf('|', StringComparison.Ordinal);
        Name = bar < 0 ? text : text[..bar];
        _at = bar < 0 ? text.Length : bar + 1;
        Arguments = List('|');
        Results = List('\0');
    }

    /// <summary>Such as aten::mm.</summary>
    public string Name { get; }

    /// <summary>In the schema's order.</summary>
    public IReadOnlyList<object?> Arguments { get; }

    /// <summary>Empty for nodes of the backward pass.</summary>
    public IReadOnlyList<object?> Results { get; }

    /// <summary>Tensors among the arguments, those in lists too.</summary>
    public IEnumerable<TensorShape> Inputs => Tensors(Arguments);

    /// <summary>Tensors among the results.</summary>
    public IEnumerable<TensorShape> Outputs => Tensors(Results);

    /// <summary>Element type of the first floating-point tensor (else of the first one); null without tensors.</summary>
    public string? TypeName => (Inputs.Concat(Outputs).FirstOrDefault(t => t.Type is 5 or 6 or 7 or 15 or 23 or 24) ?? Inputs.Concat(Outputs).FirstOrDefault())?.TypeName;

    /// <summary>Reads a signature's text.</summary>
    /// <exception cref="FormatException">It is none.</exception>
    public static OperatorSignature Parse(string text) => new(text);

    /// <summary>A tensor argument, or null.</summary>
    public TensorShape? Tensor(int argument) => argument < Arguments.Count ? Arguments[argument] as TensorShape : null;

    /// <summary>A truth value among the arguments; false where there is none.</summary>
    public bool Flag(int argument) => argument < Arguments.Count && Arguments[argument] is true;

    /// <summary>An integer among the arguments, or the default.</summary>
    public long Integer(int argument, long missing = 0) => argument < Arguments.Count && Arguments[argument] is long value ? value : missing;

    /// <inheritdoc/>
    public override string ToString() => _text;

    private static IEnumerable<TensorShape> Tensors(IEnumerable<object?> values) =>
        values.SelectMany(v => v switch { TensorShape tensor => [tensor], List<object?> list => Tensors(list), _ => [] });

    private List<object?> List(char end)
    {
        var values = new List<object?>();
        while (_at < _text.Length && _text[_at] != end)
        {
            if (_text[_at] == ' ')
            {
                _at++;
                continue;
            }
            values.Add(Value());
        }
        _at++;
        return values;
    }

    private object? Value()
    {
        var kind = _text[_at++];
        switch (kind)
        {
            case 'N' or '?':
                return null;
            case 'I':
                return long.Parse(Word(), CultureInfo.InvariantCulture);
            case 'D':
                return Word() switch { "inf" => double.PositiveInfinity, "-inf" => double.NegativeInfinity, "nan" or "-nan" => double.NaN, var word => double.Parse(word, CultureInfo.InvariantCulture) };
            case 'B':
                return _text[_at++] == '1';
            case 'L':
                return Numbers();
            case 'T':
                var type = int.Parse(Word(':'), CultureInfo.InvariantCulture);
                _at++;
                var device = int.Parse(Word('[', '?'), CultureInfo.InvariantCulture);
                if (_text[_at] == '?')
                {
                    _at++;
                    return null;
                }
                return new TensorShape(type, device, Numbers());
            case '{':
                return List('}');
            default:
                throw new FormatException($"'{_text}' is no signature of an operator: unexpected '{kind}' at {_at - 1}.");
        }
    }

    private long[] Numbers()
    {
        var end = _text.IndexOf(']', _at);
        var inside = end > _at ? _text[(_at + 1)..end] : throw new FormatException($"'{_text}' is no signature of an operator: a list does not end.");
        _at = end + 1;
        return inside.Length == 0 ? [] : [.. inside.Split(',').Select(n => long.Parse(n, CultureInfo.InvariantCulture))];
    }

    private string Word(params ReadOnlySpan<char> ends)
    {
        var from = _at;
        while (_at < _text.Length && _text[_at] is not (' ' or '|' or '}') && !ends.Contains(_text[_at]))
        {
            _at++;
        }
        return _text[from.._at];
    }
}
