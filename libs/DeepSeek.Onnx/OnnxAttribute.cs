using Google.Protobuf;
using Onnx;
using static Onnx.AttributeProto.Types;

namespace DeepSeek.Onnx;

/// <summary>Node attributes to and from C# values.</summary>
public static class OnnxAttribute
{
    public static AttributeProto Of(string name, long value) => new() { Name = name, Type = AttributeType.Int, I = value };
    public static AttributeProto Of(string name, int value) => Of(name, (long)value);
    public static AttributeProto Of(string name, float value) => new() { Name = name, Type = AttributeType.Float, F = value };
    public static AttributeProto Of(string name, string value) => new() { Name = name, Type = AttributeType.String, S = ByteString.CopyFromUtf8(value) };
    public static AttributeProto Of(string name, TensorProto value) => new() { Name = name, Type = AttributeType.Tensor, T = value };
    public static AttributeProto Of(string name, GraphProto value) => new() { Name = name, Type = AttributeType.Graph, G = value };
    public static AttributeProto Of(string name, IEnumerable<long> values) => new() { Name = name, Type = AttributeType.Ints, Ints = { values } };
    public static AttributeProto Of(string name, IEnumerable<float> values) => new() { Name = name, Type = AttributeType.Floats, Floats = { values } };

    public static AttributeProto Of(string name, IEnumerable<string> values) =>
        new() { Name = name, Type = AttributeType.Strings, Strings = { values.Select(ByteString.CopyFromUtf8) } };

    public static AttributeProto? Attribute(this NodeProto node, string name) => node.Attribute.FirstOrDefault(a => a.Name == name);

    public static long Int(this NodeProto node, string name, long fallback) => node.Attribute(name)?.I ?? fallback;

    public static float Float(this NodeProto node, string name, float fallback) => node.Attribute(name)?.F ?? fallback;

    public static string Text(this NodeProto node, string name, string fallback) => node.Attribute(name)?.S.ToStringUtf8() ?? fallback;

    public static long[]? Ints(this NodeProto node, string name) => node.Attribute(name)?.Ints.ToArray();
}
