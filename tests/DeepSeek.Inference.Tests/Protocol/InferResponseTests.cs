using System.Buffers;
using System.Runtime.InteropServices;
using System.Text.Json;
using DeepSeek.Inference.Protocol;
using DeepSeek.Testing;
using FsCheck;
using FsCheck.Fluent;

namespace DeepSeek.Inference.Tests.Protocol;

public sealed class InferResponseTests
{
    [Fact]
    public void Doubles_WrittenAndReadAgain_AreBitEqual() => Prop.ForAll<double[]>(values =>
    {
        var written = Write(new Tensor("y", DataType.Fp64, [values.Length], MemoryMarshal.AsBytes(values.AsSpan()).ToArray()));
        var request = $$"""{"inputs": [{"name": "y", "datatype": "FP64", "shape": [{{values.Length}}], "data": {{written}}}]}""";
        var read = JsonInferRequest.Read(System.Text.Encoding.UTF8.GetBytes(request), default).Inputs[0];
        return MemoryMarshal.Cast<byte, double>(read.Data.Span).SequenceEqual(values);
    }).Holds();

    [Fact]
    public void Floats_WrittenAndReadAgain_AreBitEqual() => Prop.ForAll<int[]>(bits =>
    {
        // Every bit pattern of a float but NaN's, whose payload JSON cannot carry.
        var values = bits.Select(BitConverter.Int32BitsToSingle).Select(v => float.IsNaN(v) ? 0 : v).ToArray();
        var written = Write(new Tensor("y", DataType.Fp32, [values.Length], MemoryMarshal.AsBytes(values.AsSpan()).ToArray()));
        var request = $$"""{"inputs": [{"name": "y", "datatype": "FP32", "shape": [{{values.Length}}], "data": {{written}}}]}""";
        var read = JsonInferRequest.Read(System.Text.Encoding.UTF8.GetBytes(request), default).Inputs[0];
        return MemoryMarshal.AsBytes(values.AsSpan()).SequenceEqual(read.Data.Span);
    }).Holds();

    [Fact]
    public void Floats_NotFinite_AreStrings() => Assert.Equal(
        """["NaN","Infinity","-Infinity"]""",
        Write(new Tensor("y", DataType.Fp32, [3],
            MemoryMarshal.AsBytes(new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity }.AsSpan()).ToArray())));

    [Fact]
    public void Bytes_ThatAreNoText_AskForBinaryData()
    {
        var tensor = new Tensor("y", DataType.Bytes, [1], new byte[] { 2, 0, 0, 0, 0xFF, 0xFE });

        var fault = Assert.Throws<InferenceException>(() => Write(tensor));

        Assert.Contains("binary data", fault.Message, StringComparison.Ordinal);
    }

    private static string Write(Tensor tensor)
    {
        var response = new InferResponse { ModelName = "m", ModelVersion = "1", PredictionId = "p", Outputs = [new(tensor, false)] };
        var target = new ArrayBufferWriter<byte>();
        response.WriteJson(target);
        return JsonElement.Parse(target.WrittenSpan).GetProperty("outputs")[0].GetProperty("data").GetRawText();
    }
}
