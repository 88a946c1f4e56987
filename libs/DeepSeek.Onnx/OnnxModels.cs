using Google.Protobuf;
using Onnx;

namespace DeepSeek.Onnx;

/// <summary>Loads, saves, validates and joins models.</summary>
public static class OnnxModels
{
    /// <summary>Reads and validates a model.</summary>
    /// <exception cref="InvalidOnnxException">Not a model, too large, or refused by <see cref="Validate(ModelProto, OnnxLimits?)"/>.</exception>
    public static ModelProto Load(string path, OnnxLimits? limits = null)
    {
        using var file = File.OpenRead(path);
        return Load(file, limits);
    }

    /// <inheritdoc cref="Load(string, OnnxLimits?)"/>
    public static ModelProto Load(Stream stream, OnnxLimits? limits = null)
    {
        limits ??= OnnxLimits.Default;
        if (stream.CanSeek && stream.Length - stream.Position > limits.MaxBytes)
            throw TooLarge(limits);
        return Parse(new LimitedStream(stream, limits.MaxBytes, () => TooLarge(limits)), limits);
    }

    /// <inheritdoc cref="Load(string, OnnxLimits?)"/>
    public static ModelProto Load(byte[] bytes, OnnxLimits? limits = null) => Load(new MemoryStream(bytes, writable: false), limits);

    public static void Save(ModelProto model, string path)
    {
        using var file = File.Create(path);
        model.WriteTo(file);
    }

    public static void Save(ModelProto model, Stream stream) => model.WriteTo(stream);

    public static byte[] ToBytes(ModelProto model) => model.ToByteArray();

    /// <summary>
    /// Checks a model without running it: versions, operator domains, unique names, execution order, tensor sizes,
    /// and that no tensor points outside the file.
    /// </summary>
    /// <exception cref="InvalidOnnxException">The first fault found.</exception>
    public static void Validate(ModelProto model, OnnxLimits? limits = null) => new OnnxValidator(model, limits ?? OnnxLimits.Default).Run();

    /// <summary>Reads a model only to check it.</summary>
    public static void Validate(Stream stream, OnnxLimits? limits = null) => Load(stream, limits);

    /// <summary>
    /// One model that runs <paramref name="first"/> and then <paramref name="second"/>.
    /// Nodes, constants and inner values of the first get <paramref name="prefix"/> before their names; its inputs keep theirs,
    /// and a joined value has the name of the second model's input. Outputs of the first that are not joined are dropped.
    /// </summary>
    /// <param name="ioMap">Outputs of the first → inputs of the second.</param>
    public static ModelProto Join(ModelProto first, ModelProto second, IReadOnlyDictionary<string, string> ioMap, string prefix) =>
        OnnxJoin.Run(first, second, ioMap, prefix);

    public static string? Metadata(this ModelProto model, string key) => model.MetadataProps.FirstOrDefault(p => p.Key == key)?.Value;

    public static long Opset(this ModelProto model, string domain = "") =>
        model.OpsetImport.FirstOrDefault(o => Domain(o.Domain) == domain)?.Version ?? 0;

    internal static string Domain(string domain) => domain == "ai.onnx" ? "" : domain;

    private static ModelProto Parse(Stream stream, OnnxLimits limits)
    {
        ModelProto model;
        try
        {
            model = ModelProto.Parser.ParseFrom(stream);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidOnnxException("The bytes are not an ONNX model: " + e.Message, e);
        }
        Validate(model, limits);
        return model;
    }

    private static InvalidOnnxException TooLarge(OnnxLimits limits) =>
        new($"The model is larger than the limit of {limits.MaxBytes} bytes.");
}
