using DeepSeek.Engine.Benchmarks;

return args switch
{
    ["step", var native] => StepBenchmark.Run(native),
    ["checkpoint", var rounds] => CheckpointBenchmark.Run(int.Parse(rounds, System.Globalization.CultureInfo.InvariantCulture)),
    ["fashion", var source, var work] => QuickstartFolders.Fashion(source, work),
    ["breast-cancer", var csv, var work] => QuickstartFolders.BreastCancer(csv, work),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("""
        step <native/bench binary>            times a training step in C# against the same loop in C++
        checkpoint <rounds>                   memory and time of a GPT's step with blocks computed again
        fashion <folder of IDX files> <work>  writes a trainer's work folder for Fashion-MNIST
        breast-cancer <csv> <work>            writes a trainer's work folder for the breast cancer data
        """);
    return 2;
}
