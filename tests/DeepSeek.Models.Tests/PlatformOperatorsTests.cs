using DeepSeek.Onnx;
using DeepSeek.Onnx.Runtime;
using Microsoft.Extensions.Logging;
using Microsoft.ML.OnnxRuntime;
using Onnx;

namespace DeepSeek.Models.Tests;

/// <summary>How sessions come by the platform's operators, and what they do without them.</summary>
public sealed class PlatformOperatorsTests
{
    private static readonly (string?, string?) s_none = (null, "It is not there.");

    [Fact]
    public void Library_OfThisTree_IsThere() => Assert.True(PlatformOperators.Library is not null, PlatformOperators.Missing);

    [Fact]
    public void Candidates_FollowThoseOfTheEngine()
    {
        Assert.Equal(["/elsewhere/libdeepseek_onnx.so"], PlatformOperators.Candidates("/elsewhere/libdeepseek.so", "/app"));
        Assert.Equal(Path.Combine(Path.GetTempPath(), "libdeepseek_onnx.so"), PlatformOperators.Candidates(Path.GetTempPath(), "/app").Single());
        var found = PlatformOperators.Candidates(null, AppContext.BaseDirectory).ToArray();
        Assert.Equal(Path.Combine(AppContext.BaseDirectory, "libdeepseek_onnx.so"), found[0]);
        Assert.All(found.Skip(1), path => Assert.EndsWith("artifacts/native/libdeepseek_onnx.so", path));
    }

    [Fact]
    public void Find_NoLibrary_SaysWhereAndWhatHelps()
    {
        var text = Path.GetTempFileName();
        try
        {
            File.WriteAllText(text, "no library");

            var (path, missing) = PlatformOperators.Find(["/nowhere/libdeepseek_onnx.so", text]);

            Assert.Null(path);
            Assert.Contains("/nowhere/libdeepseek_onnx.so is not there", missing, StringComparison.Ordinal);
            Assert.Contains(text, missing, StringComparison.Ordinal);
            Assert.Contains("eng/setup native", missing, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(text);
        }
    }

    [Fact]
    public void Layout_WithoutFunctions_IsTheModelWithoutThem()
    {
        var model = Model();
        using var bytes = new MemoryStream(OnnxModels.ToBytes(model));

        var layout = ModelLayout.Of(bytes);
        var left = ModelProto.Parser.ParseFrom(layout.WithoutFunctions(bytes));

        Assert.True(layout.UsesPlatform);
        Assert.Single(layout.Functions);
        var expected = model.Clone();
        expected.Functions.Clear();
        // A function of somebody else's stays.
        expected.Functions.Add(model.Functions[1]);
        Assert.Equal(expected, left);
    }

    [Theory]
    [InlineData("<html>not a model</html>")]
    [InlineData("\u003a\u007f")] // a graph of 127 bytes, none of which are there
    public void Layout_OfNoModel_IsRefused(string text)
    {
        using var bytes = new MemoryStream(System.Text.Encoding.UTF8.GetBytes(text));

        Assert.Throws<InvalidOnnxException>(() => ModelLayout.Of(bytes));
    }

    [Fact]
    public void Open_ModelWithoutTheOperators_IsLeftAsItIs()
    {
        var graph = new OnnxGraph("plain");
        graph.NodeTo("y", "Identity", [graph.Input("x", OnnxType.Float, "N")]);
        graph.Output("y", OnnxType.Float, "N");
        using var bytes = new MemoryStream(OnnxModels.ToBytes(graph.ToModel()));
        using var options = new SessionOptions();
        var log = new Sink();

        Assert.Null(PlatformOperators.Prepare(bytes, s_none, options, out var attention, log));

        Assert.Null(attention);
        Assert.Empty(log.Lines);
    }

    [Fact]
    public void Open_WithoutTheLibrary_KeepsTheFunctionAndWarnsOnce()
    {
        using var bytes = new MemoryStream(OnnxModels.ToBytes(Model()));
        using var options = new SessionOptions();
        var log = new Sink();

        for (var i = 0; i < 2; i++)
        {
            Assert.Null(PlatformOperators.Prepare(bytes, s_none, options, out var attention, log));
            Assert.Equal(ServedAttention.Dense, attention);
        }

        Assert.Equal("Warning: Models with block-sparse attention are computed with dense attention: It is not there.", Assert.Single(log.Lines));
    }

    [Fact]
    public void Open_WithoutLibraryAndFunction_IsRefusedWithTheReason()
    {
        var model = Model();
        model.Functions.Clear();
        using var bytes = new MemoryStream(OnnxModels.ToBytes(model));
        using var options = new SessionOptions();

        var fault = Assert.Throws<InvalidOnnxException>(() => PlatformOperators.Prepare(bytes, s_none, options, out _, null));

        Assert.Contains("It is not there.", fault.Message, StringComparison.Ordinal);
    }

    private static ModelProto Model()
    {
        var graph = new OnnxGraph("attention");
        var (x, lengths) = (graph.Input("x", OnnxType.Float, "N", 1, "T", 8), graph.Input("lengths", OnnxType.Int64, "N"));
        graph.Output(graph.FunctionNode(BlockSparseNode.DenseFunction, BlockSparseNode.OpType, BlockSparseNode.Domain, BlockSparseNode.Version, [x, x, x, lengths]), OnnxType.Float, "N", 1, "T", 8);
        graph.FunctionNode(
            () => new FunctionProto { Name = "Same", Domain = "else.where", Input = { "x" }, Output = { "y" }, Node = { new NodeProto { OpType = "Identity", Input = { "x" }, Output = { "y" } } } },
            "Same", "else.where", 1, [x]);
        return graph.ToModel();
    }

    private sealed class Sink : ILogger
    {
        public List<string> Lines { get; } = [];

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Lines.Add($"{logLevel}: {formatter(state, exception)}");
    }
}
