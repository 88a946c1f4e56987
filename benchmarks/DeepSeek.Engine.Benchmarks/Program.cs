using DeepSeek.Engine.Benchmarks;
using DeepSeek.Engine.Benchmarks.Adaptive;

return args switch
{
    ["step", var native, .. var place] => StepBenchmark.Run(native, place.Length > 0 ? place[0] : "cpu"),
    ["checkpoint", var rounds] => CheckpointBenchmark.Run(int.Parse(rounds, System.Globalization.CultureInfo.InvariantCulture)),
    ["fusion", .. var place] => FusionBenchmark.Run(place.Length > 0 ? place[0] : "cpu"),
    ["language", var path, var layers, var width, var heads, var context, .. var density] => LanguageFile.Write(path, [layers, width, heads, context, .. density]),
    ["trace"] => TraceBenchmark.Run(),
    ["onnx-attention", var library, .. var rounds] => OnnxAttentionBenchmark.Run(library, rounds.Length > 0 ? int.Parse(rounds[0], System.Globalization.CultureInfo.InvariantCulture) : 9),
    ["fashion", var source, var work] => QuickstartFolders.Fashion(source, work),
    ["breast-cancer", var csv, var work] => QuickstartFolders.BreastCancer(csv, work),
    ["texts", var source, var work, .. var context] => QuickstartFolders.Texts(source, work, context.Length > 0 ? int.Parse(context[0], System.Globalization.CultureInfo.InvariantCulture) : 256),
    ["adaptive", var data, var fashion, var texts, .. var rest] => AdaptiveBenchmark.Run(data, fashion, texts, rest.Length > 0 ? rest[0] : "", rest.Length > 1 ? int.Parse(rest[1], System.Globalization.CultureInfo.InvariantCulture) : 5),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("""
        step <native/bench binary> [device]   times a training step in C# against the same loop in C++
        checkpoint <rounds>                   memory and time of a GPT's step with blocks computed again
        fusion [device]                       times training steps with the operators that modules fuse and with plain ones
        language <file> <layers> <width> <heads> <context> [density]
                                              writes a language model of random weights, for DeepSeek.Inference.Bench generate and prompt;
                                              with a density its attention is block-sparse
        trace                                 times a training step without and with a trace
        onnx-attention <libdeepseek_onnx.so> [rounds]
                                              times attention in ONNX Runtime: dense, fused and block-sparse
        fashion <folder of IDX files> <work>  writes a trainer's work folder for Fashion-MNIST
        breast-cancer <csv> <work>            writes a trainer's work folder for the breast cancer data
        texts <folder of texts> <work> [context]
                                              writes one for a language model
        adaptive <artifacts/data> <folder of IDX files> <folder of texts> [task] [seeds]
                                              judges the adaptive optimiser against AdamW with a cosine
        """);
    return 2;
}
