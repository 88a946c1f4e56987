using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using DeepSeek.Onnx;

namespace DeepSeek.Inference.Tests.OpenInference;

/// <summary>Triton's binary tensor data extension, and compressed bodies.</summary>
public sealed class BinaryDataTests(InferenceFixture service) : IClassFixture<InferenceFixture>
{
    private const string HeaderLength = "Inference-Header-Content-Length";

    [Fact]
    public async Task Binary_AndJsonAndGzip_AreBitEqual()
    {
        var name = await service.DeployAsync(Models.AddSubtract());
        var random = new Random(7);
        var a = Enumerable.Range(0, 40).Select(_ => BitConverter.Int32BitsToSingle(random.Next())).Select(v => float.IsFinite(v) ? v : 0).ToArray();
        var json = $$"""
            {"inputs": [{"name": "a", "shape": [10, 4], "datatype": "FP32", "data": {{JsonSerializer.Serialize(a)}}},
                        {"name": "b", "shape": [10, 4], "datatype": "FP32", "data": {{JsonSerializer.Serialize(new float[40])}}}]}
            """;
        const string header = """
            {"inputs": [{"name": "a", "shape": [10, 4], "datatype": "FP32", "parameters": {"binary_data_size": 160}},
                        {"name": "b", "shape": [10, 4], "datatype": "FP32", "parameters": {"binary_data_size": 160}}],
             "parameters": {"binary_data_output": true}}
            """;
        byte[] tensors = [.. MemoryMarshal.AsBytes(a.AsSpan()), .. new byte[160]];

        var fromJson = Floats(await (await service.InferAsync(name, json)).JsonAsync(), "sum");
        var fromBinary = Sum(await BinaryAsync(name, header, tensors));
        var fromGzip = Sum(await BinaryAsync(name, header, tensors, "gzip"));
        var fromDeflate = Sum(await BinaryAsync(name, header, tensors, "deflate"));

        Assert.Equal(Bits(a), Bits(fromJson));
        Assert.Equal(Bits(a), Bits(fromBinary));
        Assert.Equal(Bits(a), Bits(fromGzip));
        Assert.Equal(Bits(a), Bits(fromDeflate));

        static float[] Sum((JsonElement Json, byte[] Data) reply) => MemoryMarshal.Cast<byte, float>(reply.Data.AsSpan(0, 160)).ToArray();
    }

    [Fact]
    public async Task Outputs_ChooseTheirForm_AndTheRequestSetsTheDefault()
    {
        var name = await service.DeployAsync(Models.AddSubtract());
        const string inputs = """
            "inputs": [{"name": "a", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}, {"name": "b", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]
            """;

        var mixed = await BinaryAsync(name, "{" + inputs + """, "outputs": [{"name": "sum", "parameters": {"binary_data": true}}, {"name": "difference"}]}""", []);
        var overridden = await BinaryAsync(name,
            "{" + inputs + """, "parameters": {"binary_data_output": true}, "outputs": [{"name": "sum", "parameters": {"binary_data": false}}, {"name": "difference"}]}""", []);

        Assert.Equal(16, mixed.Json.GetProperty("outputs")[0].GetProperty("parameters").GetProperty("binary_data_size").GetInt32());
        Assert.False(mixed.Json.GetProperty("outputs")[0].TryGetProperty("data", out _));
        Assert.Equal([2f, 3, 4, 5], MemoryMarshal.Cast<byte, float>(mixed.Data).ToArray());
        Assert.Equal([0f, 1, 2, 3], Floats(mixed.Json, "difference"));
        Assert.Equal([2f, 3, 4, 5], Floats(overridden.Json, "sum"));
        Assert.Equal([0f, 1, 2, 3], MemoryMarshal.Cast<byte, float>(overridden.Data).ToArray());
    }

    [Fact]
    public async Task Bytes_AreLengthPrefixed_BothWays()
    {
        var name = await service.DeployAsync(Models.Identity(OnnxType.String, "N"));
        byte[] elements = [2, 0, 0, 0, 0xC3, 0xA9, 0, 0, 0, 0, 1, 0, 0, 0, 0xFF];

        var reply = await BinaryAsync(name,
            """{"inputs": [{"name": "x", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": 15}}], "parameters": {"binary_data_output": true}}""", elements);

        Assert.Equal(elements, reply.Data);
    }

    [Fact]
    public async Task Raw_TensorWithoutJson_HasItsRowsFromItsLength()
    {
        var name = await service.DeployAsync(Models.Identity(OnnxType.Float, "N", 2));

        var reply = await BinaryAsync(name, "", MemoryMarshal.AsBytes(new[] { 1f, 2, 3, 4, 5, 6 }.AsSpan()).ToArray());

        Assert.Equal("[3,2]", reply.Json.GetProperty("outputs")[0].GetProperty("shape").GetRawText());
        Assert.Equal([1f, 2, 3, 4, 5, 6], MemoryMarshal.Cast<byte, float>(reply.Data).ToArray());
    }

    [Theory]
    [InlineData("-1")]
    [InlineData("abc")]
    [InlineData("1e3")]
    [InlineData("99999999999999999999")]
    [InlineData("2147483647")]
    [InlineData("1000")]
    [InlineData("")]
    public async Task HeaderLength_ThatCannotBe_Is400(string length)
    {
        var name = await service.DeployAsync(Models.Identity(OnnxType.Float, "N"));
        using var content = new ByteArrayContent(new byte[100]);
        content.Headers.TryAddWithoutValidation(HeaderLength, length);

        await (await service.Http.PostAsync($"/v2/models/{name}/infer", content)).ErrorAsync(400);
    }

    [Theory]
    [InlineData("FP32", "[2]", 8, 7, "7 bytes")] // the body ends one byte early
    [InlineData("FP32", "[2]", 8, 12, "no input claims")]
    [InlineData("FP32", "[2]", 4, 4, "too few")]
    [InlineData("FP32", "[1]", 8, 8, "takes 4 bytes")]
    [InlineData("FP32", "[4611686018427387904]", 8, 8, "too few")] // 2^62 · 4 bytes overflow 64 bits
    [InlineData("FP32", "[9223372036854775807]", 8, 8, "too few")]
    [InlineData("BYTES", "[1]", 3, 3, "too few")]
    [InlineData("BYTES", "[1]", 4, 4, "has 16843009 bytes")] // length 01010101h
    [InlineData("BYTES", "[0]", 4, 4, "left over")]
    [InlineData("BOOL", "[2]", 2, 2, null)]
    public async Task Binary_OfWrongLength_Is400(string datatype, string shape, int size, int sent, string? reason)
    {
        var type = datatype switch { "FP32" => OnnxType.Float, "BYTES" => OnnxType.String, _ => OnnxType.Bool };
        var name = await service.DeployAsync(Models.Identity(type, "N"));
        var header = $$$"""{"inputs": [{"name": "x", "shape": {{{shape}}}, "datatype": "{{{datatype}}}", "parameters": {"binary_data_size": {{{size}}} } }]}""";
        using var request = Request(name, header, [.. Enumerable.Repeat((byte)1, sent)], null);

        using var response = await service.Http.SendAsync(request);

        if (reason is null)
        {
            await response.JsonAsync();
        }
        else
        {
            Assert.Contains(reason, await response.ErrorAsync(400), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Binary_BoolOfTwo_Is400()
    {
        var name = await service.DeployAsync(Models.Identity(OnnxType.Bool, "N"));
        using var request = Request(name,
            """{"inputs": [{"name": "x", "shape": [1], "datatype": "BOOL", "parameters": {"binary_data_size": 1}}]}""", [2], null);

        Assert.Contains("neither 0 nor 1", await (await service.Http.SendAsync(request)).ErrorAsync(400), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Raw_OfAModelWithTwoInputs_Is400()
    {
        var name = await service.DeployAsync(Models.AddSubtract());
        using var request = Request(name, "", new byte[16], null);

        Assert.Contains("2 inputs", await (await service.Http.SendAsync(request)).ErrorAsync(400), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Raw_OfPartOfARow_Is400()
    {
        var name = await service.DeployAsync(Models.Identity(OnnxType.Float, "N", 2));
        using var request = Request(name, "", new byte[12], null);

        Assert.Contains("8 bytes per row", await (await service.Http.SendAsync(request)).ErrorAsync(400), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Body_OfAnUnknownEncoding_Is415_AndBrokenGzip400()
    {
        var name = await service.DeployAsync(Models.Identity(OnnxType.Float, "N"));

        await (await service.Http.SendAsync(Encoded("zstd"))).ErrorAsync(415);
        await (await service.Http.SendAsync(Encoded("gzip"))).ErrorAsync(400);

        HttpRequestMessage Encoded(string encoding)
        {
            var request = new HttpRequestMessage(HttpMethod.Post, $"/v2/models/{name}/infer") { Content = new StringContent("{\"inputs\": []}") };
            request.Content.Headers.ContentEncoding.Add(encoding);
            return request;
        }
    }

    [Fact]
    public async Task Body_ThatUnpacksToMoreThanTheLimit_Is413AndCostsNoMemory()
    {
        var name = await service.DeployAsync(Models.Identity(OnnxType.Float, "N"));
        // 512 MiB of zeros in about 2 MiB: the limit is 64 MiB.
        using var packed = new MemoryStream();
        await using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            var block = new byte[1 << 20];
            for (var i = 0; i < 512; i++)
            {
                gzip.Write(block);
            }
        }

        using var request = new HttpRequestMessage(HttpMethod.Post, $"/v2/models/{name}/infer") { Content = new ByteArrayContent(packed.ToArray()) };
        request.Content.Headers.ContentEncoding.Add("gzip");
        var before = GC.GetTotalAllocatedBytes(precise: true);

        await (await service.Http.SendAsync(request)).ErrorAsync(413);

        // A buffer that doubles up to the limit: 64 + 128 MiB and what came before them.
        Assert.InRange(GC.GetTotalAllocatedBytes(precise: true) - before, 0, 400L << 20);
    }

    private async Task<(JsonElement Json, byte[] Data)> BinaryAsync(string name, string header, byte[] tensors, string? encoding = null)
    {
        using var request = Request(name, header, tensors, encoding);
        using var response = await service.Http.SendAsync(request);
        var body = await response.Content.ReadAsByteArrayAsync();
        Assert.True(response.StatusCode == HttpStatusCode.OK, Encoding.UTF8.GetString(body));
        Assert.Equal("application/octet-stream", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal(body.Length, response.Content.Headers.ContentLength);
        var length = int.Parse(Header(response, HeaderLength), System.Globalization.CultureInfo.InvariantCulture);
        return (JsonElement.Parse(body.AsSpan(0, length)), body[length..]);
    }

    private static HttpRequestMessage Request(string name, string header, byte[] tensors, string? encoding)
    {
        byte[] body = [.. Encoding.UTF8.GetBytes(header), .. tensors];
        var length = Encoding.UTF8.GetByteCount(header);
        if (encoding is not null)
        {
            using var packed = new MemoryStream();
            using (Stream pack = encoding == "gzip" ? new GZipStream(packed, CompressionMode.Compress) : new ZLibStream(packed, CompressionMode.Compress))
            {
                pack.Write(body);
            }

            body = packed.ToArray();
        }

        var content = new ByteArrayContent(body);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        content.Headers.TryAddWithoutValidation(HeaderLength, length.ToString(System.Globalization.CultureInfo.InvariantCulture));
        if (encoding is not null)
        {
            content.Headers.ContentEncoding.Add(encoding);
        }

        return new HttpRequestMessage(HttpMethod.Post, $"/v2/models/{name}/infer") { Content = content };
    }

    private static string Header(HttpResponseMessage response, string name) =>
        (response.Headers.TryGetValues(name, out var values) ? values : response.Content.Headers.GetValues(name)).Single();

    private static float[] Floats(JsonElement reply, string output) => reply.GetProperty("outputs").EnumerateArray()
        .Single(o => o.GetProperty("name").GetString() == output).GetProperty("data").Deserialize<float[]>()!;

    private static int[] Bits(float[] values) => [.. values.Select(BitConverter.SingleToInt32Bits)];
}
