using System.Runtime.InteropServices;
using System.Text;
using DeepSeek.Inference.Protocol;

namespace DeepSeek.Inference.Tests.Protocol;

public sealed class JsonInferRequestTests
{
    [Theory]
    [InlineData("[1, 2, 3, 4, 5, 6]")]
    [InlineData("[[1, 2, 3], [4, 5, 6]]")]
    public void Data_FlatOrNested_GivesTheSameTensor(string data)
    {
        var tensor = One("FP32", "[2, 3]", data);

        Assert.Equal([2, 3], tensor.Shape);
        Assert.Equal([1f, 2, 3, 4, 5, 6], Values<float>(tensor));
    }

    [Fact]
    public void Data_BeforeNameShapeAndDatatype_IsReadAllTheSame()
    {
        var request = Read("""{"inputs": [{"data": [[7], [8]], "datatype": "INT64", "shape": [2, 1], "name": "x"}], "id": "a"}""");

        Assert.Equal("a", request.Id);
        Assert.Equal([7L, 8], Values<long>(request.Inputs[0]));
    }

    [Theory]
    [InlineData("BOOL", "[true, false]", new byte[] { 1, 0 })]
    [InlineData("UINT8", "[0, 255]", new byte[] { 0, 255 })]
    [InlineData("INT8", "[-128, 127]", new byte[] { 0x80, 0x7F })]
    [InlineData("UINT16", "[1, 65535]", new byte[] { 1, 0, 0xFF, 0xFF })]
    [InlineData("INT16", "[-1, 1]", new byte[] { 0xFF, 0xFF, 1, 0 })]
    [InlineData("INT32", "[-1, 1]", new byte[] { 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0 })]
    [InlineData("UINT32", "[4294967295, 1]", new byte[] { 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0 })]
    [InlineData("FP16", "[1, -2]", new byte[] { 0, 0x3C, 0, 0xC0 })] // IEEE 754 half: 1 = 3C00, -2 = C000
    [InlineData("BF16", "[1, -2]", new byte[] { 0x80, 0x3F, 0, 0xC0 })] // upper half of the float: 3F80, C000
    [InlineData("FP32", "[1, -2]", new byte[] { 0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0 })]
    [InlineData("BYTES", "[\"é\", \"\"]", new byte[] { 2, 0, 0, 0, 0xC3, 0xA9, 0, 0, 0, 0 })]
    public void Data_OfEachDatatype_IsLittleEndian(string datatype, string data, byte[] expected) =>
        Assert.Equal(expected, One(datatype, "[2]", data).Data.ToArray());

    [Fact]
    public void Data_SixtyFourBitIntegersAtTheirBounds_AreExact()
    {
        Assert.Equal([long.MinValue, long.MaxValue], Values<long>(One("INT64", "[2]", "[-9223372036854775808, 9223372036854775807]")));
        Assert.Equal([ulong.MaxValue], Values<ulong>(One("UINT64", "[1]", "[18446744073709551615]")));
    }

    [Fact]
    public void Data_NamedFloats_AreNaNAndInfinities()
    {
        var values = Values<double>(One("FP64", "[3]", """["NaN", "Infinity", "-Infinity"]"""));

        Assert.Equal([double.NaN, double.PositiveInfinity, double.NegativeInfinity], values);
    }

    [Theory]
    [InlineData("FP32", "[1]", "[NaN]", "NaN")]
    [InlineData("FP32", "[1]", "[-Infinity]", "NaN")]
    [InlineData("FP32", "[1]", "[1e39]", "float's range")] // largest float: 3.4e38
    [InlineData("FP64", "[1]", "[1e309]", "double's range")] // largest double: 1.8e308
    [InlineData("FP16", "[1]", "[70000]", "65504")]
    [InlineData("BF16", "[1]", "[3.4e38]", "bfloat16's range")] // rounds up past the largest bfloat16
    [InlineData("INT32", "[1]", "[1.5]", "integer of 32 bits")]
    [InlineData("INT32", "[1]", "[2147483648]", "integer of 32 bits")]
    [InlineData("UINT8", "[1]", "[-1]", "0 to 255")]
    [InlineData("INT64", "[1]", "[9223372036854775808]", "64 bits")]
    [InlineData("BOOL", "[1]", "[1]", "true or false")]
    [InlineData("FP32", "[1]", "[\"1\"]", "number")]
    [InlineData("FP32", "[1]", "[null]", "number")]
    [InlineData("FP32", "[1]", "[{}]", "an object")]
    [InlineData("BYTES", "[1]", "[1]", "a string")]
    [InlineData("BYTES", "[1]", "[\"\\ud800\"]", "valid Unicode")]
    [InlineData("FP32", "[2]", "[1]", "wants 2")]
    [InlineData("FP32", "[1]", "[1, 2]", "more than the 1 elements")]
    [InlineData("FP32", "[2, 2]", "[[1, 2], [3]]", "wants 2")]
    [InlineData("FP32", "[2, 2]", "[[1, 2, 3], [4]]", "wants 2")]
    [InlineData("FP32", "[2, 2]", "[[1, 2], 3, 4]", "flat or nested")]
    [InlineData("FP32", "[2, 2]", "[1, 2, [3, 4]]", "flat or nested")]
    [InlineData("FP32", "[2]", "[[1], [2]]", "flat or nested")]
    [InlineData("FP32", "[2, 2]", "[]", "has 0 elements")]
    [InlineData("FP32", "[1]", "3", "must be an array")]
    [InlineData("FP32", "[-1]", "[1]", "'-1'")]
    [InlineData("FP32", "[1.5]", "[1]", "'1.5'")]
    [InlineData("FP32", "[99999999999999999999]", "[1]", "integer, 0 or more")]
    [InlineData("FP32", "[4294967296, 4294967296]", "[1]", "fewer elements")] // 2^64 elements
    [InlineData("FP32", "[9223372036854775807, 2]", "[1]", "fewer elements")]
    [InlineData("FP32", "[1000000000]", "[1]", "fewer elements")]
    [InlineData("FP32", "\"2\"", "[1]", "'shape' must be an array")]
    [InlineData("FP128", "[1]", "[1]", "unknown")]
    [InlineData("fp32", "[1]", "[1]", "unknown")]
    public void Data_ThatDoesNotFit_IsRefusedWithTheReason(string datatype, string shape, string data, string reason)
    {
        var fault = Refused($$"""{"inputs": [{"name": "x", "datatype": "{{datatype}}", "shape": {{shape}}, "data": {{data}}}]}""");

        Assert.Contains(reason, fault, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "not JSON")]
    [InlineData("[]", "object")]
    [InlineData("{", "not JSON")]
    [InlineData("{} x", "not JSON")]
    [InlineData("{}", "no 'inputs'")]
    [InlineData("""{"inputs": {}}""", "must be an array")]
    [InlineData("""{"inputs": [1]}""", "inputs[0] must be an object")]
    [InlineData("""{"inputs": [{"datatype": "FP32", "shape": [1], "data": [1]}]}""", "inputs[0] has no 'name'")]
    [InlineData("""{"inputs": [{"name": "x", "shape": [1], "data": [1]}]}""", "no 'datatype'")]
    [InlineData("""{"inputs": [{"name": "x", "datatype": "FP32", "data": [1]}]}""", "no 'shape'")]
    [InlineData("""{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}""", "no 'data'")]
    [InlineData("""{"inputs": [{"name": 1, "datatype": "FP32", "shape": [1], "data": [1]}]}""", "'name' must be a string")]
    [InlineData("""{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1], "data": [2]}]}""", "'data' is given twice")]
    [InlineData("""{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}, {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}""", "Input 'x' is given twice")]
    [InlineData("""{"inputs": [], "outputs": [{"name": "y"}, {"name": "y"}]}""", "Output 'y' is asked for twice")]
    [InlineData("""{"inputs": [], "outputs": [{}]}""", "outputs[0] has no 'name'")]
    [InlineData("""{"inputs": [], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]}""", "binary_data must be true or false")]
    [InlineData("""{"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}""", "classification")]
    [InlineData("""{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": -4}}]}""", "binary_data_size is '-4'")]
    [InlineData("""{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 99999999999999999999}}]}""", "binary_data_size")]
    [InlineData("""{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1], "parameters": {"binary_data_size": 4}}]}""", "both 'data' and binary_data_size")]
    [InlineData("""{"inputs": [], "id": 5}""", "'id' must be a string")]
    public void Request_ThatIsMalformed_IsRefusedWithTheReason(string json, string reason) =>
        Assert.Contains(reason, Refused(json), StringComparison.Ordinal);

    [Fact]
    public void Request_WithMembersOfOthers_SkipsThem()
    {
        var request = Read("""
            {"model_name": "m", "parameters": {"priority": 1, "nested": {"a": [1, {"b": 2}]}},
             "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"content_type": "np"}, "extra": [[[]]], "data": [1]}],
             "outputs": [{"name": "y", "parameters": {"binary_data": true, "other": {}}}]}
            """);

        Assert.Equal("x", Assert.Single(request.Inputs).Name);
        Assert.Equal(new RequestedOutput("y", true), Assert.Single(request.Outputs!));
    }

    [Theory]
    [InlineData(50, true)]
    [InlineData(120, false)]
    [InlineData(1000, false)]
    public void Request_NestedSoDeeply_IsReadUpToSixtyFourLevels(int depth, bool read)
    {
        var json = $$"""{"inputs": [], "x": {{new string('[', depth)}}{{new string(']', depth)}}}""";

        if (read)
        {
            Assert.Empty(Read(json).Inputs);
        }
        else
        {
            Assert.Contains("depth", Refused(json), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Data_OfDepthFiftyOnes_IsATensor()
    {
        // Thirty dimensions of size 1 nested as the shape says; 31 brackets of the request's own are far below 64.
        var shape = string.Join(',', Enumerable.Repeat(1, 30));
        var tensor = One("INT32", $"[{shape}]", new string('[', 30) + "5" + new string(']', 30));

        Assert.Equal([5], Values<int>(tensor));
    }

    [Theory]
    [InlineData("[0]", "[]")]
    [InlineData("[0, 3]", "[]")]
    [InlineData("[2, 0]", "[[], []]")]
    public void Data_OfNoElements_IsEmpty(string shape, string data) => Assert.Equal(0, One("FP32", shape, data).Data.Length);

    [Fact]
    public void Data_OfAScalar_IsOneElement() => Assert.Equal([4f], Values<float>(One("FP32", "[]", "[4]")));

    private static Tensor One(string datatype, string shape, string data) =>
        Assert.Single(Read($$"""{"inputs": [{"name": "x", "datatype": "{{datatype}}", "shape": {{shape}}, "data": {{data}}}]}""").Inputs);

    private static InferRequest Read(string json) => JsonInferRequest.Read(Encoding.UTF8.GetBytes(json), default);

    private static string Refused(string json)
    {
        var fault = Assert.Throws<InferenceException>(() => Read(json));
        Assert.InRange(fault.Status, 400, 501);
        return fault.Message;
    }

    private static T[] Values<T>(Tensor tensor)
        where T : unmanaged => MemoryMarshal.Cast<byte, T>(tensor.Data.Span).ToArray();
}
