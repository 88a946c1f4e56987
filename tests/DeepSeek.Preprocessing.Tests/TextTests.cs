using System.Text;
using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Onnx;
using DeepSeek.Preprocessing.Datasets;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>Documents as rows of tokens.</summary>
public sealed class TextTests
{
    private static readonly DatasetSpec Spec = new()
    {
        Name = "texts",
        Format = DatasetFormat.Jsonl,
        Target = "text",
        Task = LearningTask.LanguageModeling,
        Text = new TextSpec { Context = 16 },
        Split = new SplitSpec { Train = 0.6, Validation = 0.2, Test = 0.2 },
    };

    [Fact]
    public async Task Rows_OfAPart_AreItsDocumentsOneAfterTheOther()
    {
        string[] documents = ["one", "Zwölf\nBoxkämpfer", "the last of them"];
        // All in one part and unshuffled: what lies in the test part keeps its order.
        var spec = Spec with { Split = new SplitSpec { Train = 0.5, Test = 0.5 } };
        using var prepared = await Prepared.FromTextAsync(spec, Lines([.. documents, .. documents, new string('x', 20), new string('y', 300)]));

        foreach (var part in (string[])["train", "test"])
        {
            // Each row's target is the token behind it, so ordered by position rows chain: target = the next row's first token.
            var rows = prepared.Tokens(part).Zip(prepared.Classes(part)).ToList();
            Assert.All(rows, row => Assert.All(row.First, token => Assert.InRange(token, 0, ByteTokens.Separator)));
            Assert.Equal(prepared.Manifest.Splits[part].Rows, rows.Count);
        }
        var test = prepared.Tokens("test");
        var targets = prepared.Classes("test");
        Assert.Equal(ByteTokens.Separator, test[0][0]);
        Assert.All(Enumerable.Range(1, test.Length - 1), i => Assert.Equal(targets[i - 1], test[i][0]));
        var stream = test.SelectMany(row => row).Select(t => (int)t).Append((int)targets[^1]).ToArray();
        Assert.All(Documents(stream), text => Assert.Contains(text, (string[])[.. documents, new string('x', 20), new string('y', 300)]));
    }

    [Fact]
    public async Task Manifest_OfTexts_DescribesTokens()
    {
        using var prepared = await Prepared.FromTextAsync(Spec, Lines(Corpus(40)));
        var manifest = prepared.Manifest;

        Assert.Equal(("text", "languageModeling", "text"), (manifest.Kind, manifest.Task, manifest.Target));
        Assert.Equal([16], manifest.FeatureShape);
        Assert.Equal(257, manifest.Classes.Count);
        Assert.Equal(257, manifest.Classes.Distinct().Count());
        Assert.Equal(("A", "0x0A", "<document>"), (manifest.Classes['A'], manifest.Classes['\n'], manifest.Classes[256]));
        var input = Assert.Single(manifest.Inputs);
        Assert.Equal(("text", "text", "INT64"), (input.Name, input.Type, input.Datatype));
        Assert.Equal(manifest.Splits.Values.Sum(s => s.Rows), manifest.Rows);
        var pipeline = OnnxModels.Load(prepared.Blob(manifest.Pipeline.Sha256)).Graph;
        Assert.Equal(("text", "features"), (pipeline.Input.Single().Name, pipeline.Output.Single().Name));
        Assert.Equal(manifest.ToBytes(), DatasetManifest.Parse(manifest.ToBytes()).ToBytes());
    }

    [Fact]
    public async Task Split_OfDocuments_HoldsSharesOfTheTextAndLeaksNone()
    {
        // Every document three times: copies must lie in one part.
        var corpus = Corpus(120);
        var spec = Spec with { Text = new TextSpec { Context = 8 } };
        using var prepared = await Prepared.FromTextAsync(spec, Lines([.. corpus, .. corpus, .. corpus]));

        var text = prepared.Profile.GetProperty("text");
        var tokens = text.GetProperty("tokens");
        double Share(string part) => tokens.GetProperty(part).GetDouble() / (tokens.GetProperty("train").GetDouble() + tokens.GetProperty("validation").GetDouble() + tokens.GetProperty("test").GetDouble());
        // Documents of 20 to 60 bytes in 15 kB: the shares are right to two documents' copies.
        Assert.InRange(Share("train"), 0.58, 0.62);
        Assert.InRange(Share("validation"), 0.18, 0.22);
        Assert.Equal(360, text.GetProperty("documents").EnumerateObject().Sum(p => p.Value.GetInt64()));
        Assert.Equal(0, prepared.Profile.GetProperty("leakage").GetProperty("duplicatesAcrossParts").GetInt64());
        Assert.Equal(240, prepared.Profile.GetProperty("leakage").GetProperty("duplicateRows").GetInt64());
        // The unshuffled parts give their documents back; none of them is whole in both.
        var validation = Documents(Stream(prepared, "validation")).ToHashSet();
        var test = Documents(Stream(prepared, "test")).ToHashSet();
        Assert.True(validation.Count >= 15 && test.Count >= 15);
        Assert.Empty(validation.Intersect(test));
        Assert.Subset(corpus.ToHashSet(), validation);

        using var again = await Prepared.FromTextAsync(spec, Lines([.. corpus, .. corpus, .. corpus]));
        Assert.Equal(prepared.Dataset.ManifestSha256, again.Dataset.ManifestSha256);
        using var other = await Prepared.FromTextAsync(spec with { Split = spec.Split with { Seed = 8 } }, Lines([.. corpus, .. corpus, .. corpus]));
        Assert.NotEqual(validation, Documents(Stream(other, "validation")).ToHashSet());
    }

    [Fact]
    public async Task Split_ByGroup_KeepsItsDocumentsTogether()
    {
        var lines = Enumerable.Range(0, 90).Select(i => JsonSerializer.Serialize(new { text = $"{(char)('a' + i % 9)} wrote number {i} of the letters", author = $"author {i % 9}" }));
        var spec = Spec with { Split = Spec.Split with { Column = "author" } };

        using var prepared = await Prepared.FromTextAsync(spec, Encoding.UTF8.GetBytes(string.Join('\n', lines)));

        var validation = Documents(Stream(prepared, "validation")).Select(d => d[0]).ToHashSet();
        var test = Documents(Stream(prepared, "test")).Select(d => d[0]).ToHashSet();
        Assert.NotEmpty(validation);
        Assert.NotEmpty(test);
        Assert.Empty(validation.Intersect(test));
        Assert.Equal("author", prepared.Manifest.Split!.Value.GetProperty("column").GetString());
    }

    [Fact]
    public async Task UnigramEntropy_OfEvenLetters_IsTheLogarithmOfTheirNumber()
    {
        // Four letters, equally often, and so long that separators hardly count: ln 4 within 1 %.
        var random = new Random(3);
        var documents = Enumerable.Range(0, 6).Select(_ => string.Concat(Enumerable.Range(0, 4000).Select(_ => "acgt"[random.Next(4)]))).ToArray();

        using var prepared = await Prepared.FromTextAsync(Spec, Lines(documents));

        Assert.Equal(Math.Log(4), prepared.Profile.GetProperty("text").GetProperty("unigramEntropy").GetDouble(), Math.Log(4) * 0.01);
    }

    [Fact]
    public async Task PersonalData_InsideTexts_IsReplacedUnlessKept()
    {
        string[] documents = [.. Corpus(30), "Write to jane.doe@example.org if it does not work, please."];

        using var cleaned = await Prepared.FromTextAsync(Spec, Lines(documents));
        using var kept = await Prepared.FromTextAsync(Spec with { Privacy = new PrivacySpec { Columns = { ["text"] = MaskMethod.Keep } } }, Lines(documents));

        Assert.False(Holds(cleaned, "jane.doe@example.org"));
        Assert.Equal(1, cleaned.Profile.GetProperty("text").GetProperty("cleaned").GetInt64());
        Assert.Contains(cleaned.Warnings, w => w.Contains("1 documents", StringComparison.Ordinal));
        Assert.Equal(0, kept.Profile.GetProperty("text").GetProperty("cleaned").GetInt64());
        Assert.Equal(kept.Profile.GetProperty("text").GetProperty("tokens").EnumerateObject().Sum(p => p.Value.GetInt64())
            - "jane.doe@example.org".Length + "[e-mail]".Length, cleaned.Profile.GetProperty("text").GetProperty("tokens").EnumerateObject().Sum(p => p.Value.GetInt64()));
    }

    [Fact]
    public async Task CsvWithEmptyTexts_LeavesThemOut()
    {
        var csv = "id,text\n" + string.Join('\n', Corpus(40).Select((t, i) => $"{i},\"{t}\"")) + "\n98,\n99,NA\n";

        using var prepared = await Prepared.FromCsvAsync(Spec with { Format = DatasetFormat.Csv }, csv);

        Assert.Equal(2, prepared.Profile.GetProperty("rowsWithoutTarget").GetInt64());
        Assert.Equal(40, prepared.Profile.GetProperty("text").GetProperty("documents").EnumerateObject().Sum(p => p.Value.GetInt64()));
    }

    public static TheoryData<string, string> Faults => new()
    {
        { """{"text":{"context":4}}""", "text.context" },
        { """{"split":{"method":"stratified"}}""", "split.method" },
        { """{"columns":{"text":{"type":"categorical"}}}""", "columns.text.type" },
        { """{"columns":{"id":{"role":"feature"}}}""", "columns.id.role" },
        { """{"privacy":{"columns":{"text":"hash"}}}""", "privacy.columns.text" },
        { """{"task":"regression"}""", "text" },
        { """{"split":{"column":"nobody"}}""", "split.column" },
        { """{"target":"words"}""", "target" },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public async Task BadSpec_IsRefusedByItsField(string change, string field)
    {
        var json = JsonSerializer.SerializeToNode(Spec, ServiceDefaults.PlatformJson.Options)!.AsObject();
        foreach (var (name, value) in System.Text.Json.Nodes.JsonNode.Parse(change)!.AsObject())
        {
            json[name] = value?.DeepClone();
        }
        var spec = json.Deserialize<DatasetSpec>(ServiceDefaults.PlatformJson.Options)!;

        var fault = await Assert.ThrowsAsync<DataFault>(() => Prepared.FromTextAsync(spec, Lines(Corpus(10))));

        Assert.Equal(field, fault.Field);
    }

    [Fact]
    public async Task TooLittleText_SaysWhatWouldDo()
    {
        var few = await Assert.ThrowsAsync<DataFault>(() => Prepared.FromTextAsync(Spec, Lines("one document", "another one")));
        var small = await Assert.ThrowsAsync<DataFault>(() => Prepared.FromTextAsync(Spec with { Text = new TextSpec { Context = 4096 } }, Lines(Corpus(30))));

        Assert.Equal("file", few.Field);
        Assert.Contains("2 different documents", few.Message, StringComparison.Ordinal);
        Assert.StartsWith("split.", small.Field, StringComparison.Ordinal);
        Assert.Contains("text.context", small.Message, StringComparison.Ordinal);
    }

    private static string[] Corpus(int documents) =>
        [.. Enumerable.Range(0, documents).Select(i => $"Document {i} speaks of {(i % 3 == 0 ? "apples" : "the weather and its ways")}{new string('.', i % 20)}")];

    private static byte[] Lines(params string[] documents) =>
        Encoding.UTF8.GetBytes(string.Join('\n', documents.Select(d => JsonSerializer.Serialize(new { text = d }))));

    private static int[] Stream(Prepared prepared, string part) =>
        [.. prepared.Tokens(part).SelectMany(row => row).Select(t => (int)t), (int)prepared.Classes(part)[^1]];

    // Whole documents between two separators.
    private static IEnumerable<string> Documents(int[] stream)
    {
        var start = -1;
        for (var i = 0; i < stream.Length; i++)
        {
            if (stream[i] == ByteTokens.Separator)
            {
                if (start >= 0)
                {
                    yield return Encoding.UTF8.GetString([.. stream[(start + 1)..i].Select(t => (byte)t)]);
                }
                start = i;
            }
        }
    }

    private static bool Holds(Prepared prepared, string text) => ((string[])["train", "validation", "test"]).Any(part =>
        prepared.Tokens(part).Any(row => Encoding.Latin1.GetString([.. row.Select(t => (byte)Math.Min((int)t, 255))]).Contains(text[..8], StringComparison.Ordinal)));
}
