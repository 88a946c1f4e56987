using System.Text;
using DeepSeek.Contracts.Training;

namespace DeepSeek.Engine.Tests.Trainer;

public sealed class RunSpecTests
{
    private const string Least = """{"specVersion":1,"name":"n","modelName":"m","datasetId":"7f1c1f5e-0000-0000-0000-000000000001","model":{"family":"tabularMlp"}}""";

    [Fact]
    public void Read_LeastSpec_FillsDefaults()
    {
        var spec = RunSpecJson.Read(Encoding.UTF8.GetBytes(Least), out var faults);

        Assert.Empty(faults);
        Assert.Equal((30, 64, 1, 0.0, 50, 200), (spec!.Epochs, spec.BatchSize, spec.GradientAccumulation, spec.ClipNorm, spec.Priority, spec.CheckpointEvery));
        Assert.Equal(OptimizerName.AdamW, spec.Optimizer.Name);
        Assert.Null(spec.EarlyStopping);
    }

    [Theory]
    [InlineData(ModelFamily.Gpt, OptimizerName.AdamW, null, 1)]
    [InlineData(ModelFamily.Gpt, OptimizerName.Sgd, 0.0, 0)]
    [InlineData(ModelFamily.Gpt, OptimizerName.Adaptive, null, 0)]
    [InlineData(ModelFamily.TabularMlp, OptimizerName.AdamW, null, 0)]
    [InlineData(ModelFamily.TabularMlp, OptimizerName.AdamW, 2.0, 2)]
    public void ClipNorm_LeftOut_IsOneForGptAlone(ModelFamily family, OptimizerName optimizer, double? clip, double expected)
    {
        var spec = RunSpecJson.Read(Encoding.UTF8.GetBytes(Least), out _)!;

        spec = spec with { Model = new ModelSpec { Family = family }, Optimizer = new OptimizerSpec { Name = optimizer }, GradientClip = clip };

        Assert.Equal(expected, spec.ClipNorm);
        Assert.DoesNotContain("clipNorm", Encoding.UTF8.GetString(RunSpecJson.Write(spec)), StringComparison.OrdinalIgnoreCase);
    }

    [Theory]
    [InlineData("bf16Weights", ModelFamily.TabularMlp, OptimizerName.AdamW, "auto", "precision")]
    [InlineData("bf16Weights", ModelFamily.Gpt, OptimizerName.Adaptive, "auto", "precision")]
    [InlineData("bf16Weights", ModelFamily.Gpt, OptimizerName.Sgd, "on", null)]
    [InlineData("adaptive", ModelFamily.Gpt, OptimizerName.AdamW, "on", null)]
    [InlineData("adaptive", ModelFamily.ResNet50, OptimizerName.AdamW, "auto", "precision")]
    [InlineData("adaptive", ModelFamily.TabularMlp, OptimizerName.Adaptive, "auto", null)]
    public void Read_PrecisionThatDoesNotSuit_NamesTheField(string precision, ModelFamily family, OptimizerName optimizer, string capture, string? field)
    {
        var json = Least[..^1] + $$""", "precision": "{{precision}}", "capture": "{{capture}}" }""";
        var spec = RunSpecJson.Parse(Encoding.UTF8.GetBytes(json))! with { Model = new ModelSpec { Family = family }, Optimizer = new OptimizerSpec { Name = optimizer } };

        var faults = RunSpecValidator.Validate(spec);

        Assert.Equal(field is null ? [] : [field], faults.Keys);
    }

    [Fact]
    public void RoundTrip_FullSpec_KeepsEverything()
    {
        var json = Least[..^1] + """
            ,"optimizer":{"name":"sgd","learningRate":0.1,"weightDecay":0,"momentum":0.8,"nesterov":true},"schedule":{"name":"oneCycle","warmup":0.2},
            "epochs":3,"batchSize":16,"gradientAccumulation":2,"gradientClip":1,"earlyStopping":{"patience":4,"metric":"auc"},
            "classWeights":{"B":1,"M":2.5},"labelSmoothing":0.05,"seed":-9,"checkpointEvery":10,"priority":80}
            """;

        var spec = RunSpecJson.Read(Encoding.UTF8.GetBytes(json), out _)!;
        var again = RunSpecJson.Read(RunSpecJson.Write(spec), out _)!;

        Assert.Equal(2.5, again.ClassWeights.Values!["M"]);
        Assert.Equal(RunSpecJson.Write(spec), RunSpecJson.Write(again));
        Assert.Equal(new EarlyStoppingSpec { Patience = 4, Metric = MetricName.Auc }, again.EarlyStopping);
    }

    [Theory]
    [InlineData("", "not json", "")]
    [InlineData("\"epochs\":0", null, "epochs")]
    [InlineData("\"trace\":{\"steps\":0}", null, "trace.steps")]
    [InlineData("\"trace\":{\"after\":-1}", null, "trace.after")]
    [InlineData("\"epochs\":\"5\"", null, "epochs")]
    [InlineData("\"epochs\":99999999999999999999", null, "epochs")]
    [InlineData("\"batchSize\":1", null, "batchSize")]
    [InlineData("\"batchSize\":-1", null, "batchSize")]
    [InlineData("\"gradientAccumulation\":0", null, "gradientAccumulation")]
    [InlineData("\"gradientClip\":-1", null, "gradientClip")]
    [InlineData("\"labelSmoothing\":1", null, "labelSmoothing")]
    [InlineData("\"checkpointEvery\":0", null, "checkpointEvery")]
    [InlineData("\"priority\":101", null, "priority")]
    [InlineData("\"classWeights\":\"heavy\"", null, "classWeights")]
    [InlineData("\"classWeights\":{\"B\":0}", null, "classWeights.B")]
    [InlineData("\"optimizer\":null", null, "optimizer")]
    [InlineData("\"optimizer\":{\"name\":\"adagrad\"}", null, "optimizer.name")]
    [InlineData("\"optimizer\":{\"learningRate\":0}", null, "optimizer.learningRate")]
    [InlineData("\"optimizer\":{\"learningRate\":1e999}", null, "optimizer.learningRate")]
    [InlineData("\"optimizer\":{\"momentum\":0.5}", null, "optimizer.momentum")]
    [InlineData("\"optimizer\":{\"betas\":[0.9]}", null, "optimizer.betas")]
    [InlineData("\"optimizer\":{\"name\":\"sgd\",\"betas\":[0.9,0.99]}", null, "optimizer.betas")]
    [InlineData("\"optimizer\":{\"name\":\"sgd\",\"momentum\":0,\"nesterov\":true}", null, "optimizer.nesterov")]
    [InlineData("\"optimizer\":{\"name\":\"adaptive\",\"decayRate\":1}", null, "optimizer.decayRate")]
    [InlineData("\"optimizer\":{\"name\":\"adaptive\",\"dynamicThreshold\":-1}", null, "optimizer.dynamicThreshold")]
    [InlineData("\"optimizer\":{\"name\":\"adaptive\",\"betas\":[0.9,0.99]}", null, "optimizer.betas")]
    [InlineData("\"optimizer\":{\"decayRate\":0.5}", null, "optimizer.decayRate")]
    [InlineData("\"optimizer\":{\"name\":\"adaptive\"},\"schedule\":{\"name\":\"oneCycle\"}", null, "schedule")]
    [InlineData("\"schedule\":{\"name\":\"cosine\",\"warmup\":1}", null, "schedule.warmup")]
    [InlineData("\"earlyStopping\":{\"patience\":0}", null, "earlyStopping.patience")]
    [InlineData("\"device\":\"gpu\"", null, "device")]
    [InlineData("\"device\":null", null, "device")]
    [InlineData("\"device\":\"cuda:x\"", null, "device")]
    [InlineData("\"precision\":\"fp8\"", null, "precision")]
    [InlineData("\"device\":\"cpu\",\"precision\":\"fp16\"", null, "precision")]
    [InlineData("\"model\":{\"family\":\"resNet18\"},\"precision\":\"adaptive\"", "replace", "precision")]
    [InlineData("\"capture\":true", null, "capture")]
    [InlineData("\"device\":\"cpu\",\"capture\":\"on\"", null, "capture")]
    [InlineData("\"capture\":\"on\",\"gradientAccumulation\":2", null, "capture")]
    [InlineData("\"checkpointing\":\"some\"", null, "checkpointing")]
    [InlineData("\"checkpointing\":0", null, "checkpointing")]
    [InlineData("\"checkpointing\":1.5", null, "checkpointing")]
    [InlineData("\"checkpointing\":null", null, "checkpointing")]
    [InlineData("\"model\":{\"family\":\"convNet\"},\"checkpointing\":\"on\"", "replace", "checkpointing")]
    [InlineData("\"learningRate\":1", null, "learningRate")]
    [InlineData("\"model\":{\"family\":\"resNet18\",\"width\":2}", "replace", "model.width")]
    [InlineData("\"model\":{\"family\":\"resNet50\",\"dropout\":0.5}", "replace", "model.dropout")]
    [InlineData("\"model\":{\"family\":\"efficientNetB0\",\"channels\":[4]}", "replace", "model.channels")]
    [InlineData("\"model\":{\"family\":\"efficientNetB0\",\"activation\":\"relu\"}", "replace", "model.activation")]
    [InlineData("\"model\":{\"family\":\"convNet\",\"blocks\":2}", "replace", "model.blocks")]
    [InlineData("\"model\":{\"family\":\"tabularMlp\",\"channels\":[1]}", "replace", "model.channels")]
    [InlineData("\"model\":{\"family\":\"convNet\",\"channels\":[0]}", "replace", "model.channels")]
    [InlineData("\"model\":{\"family\":\"transformer\"}", "replace", "model.family")]
    [InlineData("\"model\":{\"family\":\"tabularMlp\",\"layers\":2}", "replace", "model.layers")]
    [InlineData("\"model\":{\"family\":\"convNet\",\"attention\":{\"kind\":\"dense\"}}", "replace", "model.attention")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"layers\":0}", "replace", "model.layers")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"width\":100,\"heads\":3}", "replace", "model.heads")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"context\":4}", "replace", "model.context")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"activation\":\"relu\"}", "replace", "model.activation")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"augment\":true}", "replace", "model.augment")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"sparse\"}}", "replace", "model.attention.kind")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"dense\",\"density\":0.5}}", "replace", "model.attention.density")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"blockSparse\",\"density\":0}}", "replace", "model.attention.density")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"blockSparse\",\"block\":24}}", "replace", "model.attention.block")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"blockSparse\",\"tokens\":8}}", "replace", "model.attention.tokens")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"tokenSparse\",\"indexerDim\":17}}", "replace", "model.attention.indexerDim")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"tokenSparse\",\"warmup\":1}}", "replace", "model.attention.warmup")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"tokenSparse\"}},\"checkpointing\":\"on\"", "replace", "checkpointing")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"blockSparse\",\"gate\":16}},\"checkpointing\":\"on\"", "replace", "checkpointing")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"blockSparse\",\"gate\":0}}", "replace", "model.attention.gate")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"tokenSparse\",\"gate\":16}}", "replace", "model.attention.gate")]
    [InlineData("\"model\":{\"family\":\"gpt\",\"attention\":{\"kind\":\"blockSparse\",\"warmup\":0.1}}", "replace", "model.attention.warmup")]
    [InlineData("\"modelName\":\"No Good\"", "replace", "modelName")]
    [InlineData("\"modelName\":\"m\\n\"", "replace", "modelName")]
    [InlineData("\"specVersion\":2", "replace", "specVersion")]
    public void Read_Fault_NamesTheField(string member, string? how, string field)
    {
        var json = how switch
        {
            "not json" => "{",
            "replace" => Replace(member),
            _ => Least[..^1] + "," + member + "}",
        };

        Assert.Null(RunSpecJson.Read(Encoding.UTF8.GetBytes(json), out var faults));
        Assert.Contains(faults.Keys, key => key == field || (field.Length > 0 && faults[key].Any(f => f.Contains(field, StringComparison.Ordinal))));
    }

    [Theory]
    [InlineData("\"off\"")]
    [InlineData("\"on\"")]
    [InlineData("512")]
    public void RoundTrip_ComputeMembers_KeepsThem(string checkpointing)
    {
        var json = Least[..^1] + $$""","device":"cuda:1","precision":"bf16","capture":"off","checkpointing":{{checkpointing}}}""";

        var spec = RunSpecJson.Read(Encoding.UTF8.GetBytes(json), out _)!;
        var text = Encoding.UTF8.GetString(RunSpecJson.Write(spec));

        Assert.Equal(("cuda:1", RunPrecision.Bf16, CaptureChoice.Off), (spec.Device, spec.Precision, spec.Capture));
        Assert.Equal(checkpointing == "512" ? 512 : null, spec.Checkpointing.Mebibytes);
        Assert.Contains($"\"checkpointing\":{checkpointing}", text, StringComparison.Ordinal);
        Assert.Contains("\"precision\":\"bf16\"", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_DeepJson_IsRefused() =>
        Assert.Null(RunSpecJson.Read(Encoding.UTF8.GetBytes(new string('[', 1000)), out _));

    [Fact]
    public void ValidateAgainst_OtherKindOrTask_NamesTheField()
    {
        var spec = RunSpecJson.Read(Encoding.UTF8.GetBytes(Least), out _)! with
        {
            LabelSmoothing = 0.1,
            ClassWeights = ClassWeights.Of(new Dictionary<string, double> { ["X"] = 1 }),
            EarlyStopping = new EarlyStoppingSpec { Patience = 1, Metric = MetricName.Rmse },
        };

        Assert.Equal(["model.family"], RunSpecValidator.ValidateAgainst(spec with { LabelSmoothing = 0, ClassWeights = ClassWeights.None, EarlyStopping = null }, "image", "classification", ["a"]).Keys);
        Assert.Equal(["classWeights.X", "earlyStopping.metric"], RunSpecValidator.ValidateAgainst(spec, "tabular", "classification", ["a", "b"]).Keys.Order());
        Assert.Equal(["classWeights", "classWeights.X", "labelSmoothing"], RunSpecValidator.ValidateAgainst(spec, "tabular", "regression", null).Keys.Order());
        Assert.Equal(["classWeights", "classWeights.X", "earlyStopping.metric", "labelSmoothing", "model.family"], RunSpecValidator.ValidateAgainst(spec, "text", "languageModeling", null).Keys.Order());
        var gpt = new RunSpec { SpecVersion = 1, Name = "n", ModelName = "m", DatasetId = spec.DatasetId, Model = new ModelSpec { Family = ModelFamily.Gpt, Context = 64 } };
        Assert.Empty(RunSpecValidator.ValidateAgainst(gpt, "text", "languageModeling", null, [64]));
        Assert.Equal(["model.context"], RunSpecValidator.ValidateAgainst(gpt, "text", "languageModeling", null, [128]).Keys);
        Assert.Equal(["model.family"], RunSpecValidator.ValidateAgainst(gpt, "tabular", "classification", ["a"]).Keys);
        Assert.Equal(["earlyStopping.metric"], RunSpecValidator.ValidateAgainst(
            gpt with { Model = new ModelSpec { Family = ModelFamily.TabularMlp }, EarlyStopping = new EarlyStoppingSpec { Patience = 1, Metric = MetricName.Perplexity } }, "tabular", "regression", null).Keys);
    }

    private static string Replace(string member)
    {
        var name = member[..member.IndexOf(':', StringComparison.Ordinal)];
        var start = Least.IndexOf(name, StringComparison.Ordinal);
        var end = name == "\"model\"" ? Least.Length - 1 : Least.IndexOf(',', start);
        return Least[..start] + member + Least[end..];
    }
}
