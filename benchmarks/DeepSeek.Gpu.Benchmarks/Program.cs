using System.Text.Json;
using DeepSeek.Engine.Tensors;
using DeepSeek.Gpu.Benchmarks;
using DeepSeek.Gpu.Benchmarks.Accuracy;

// One contender of benchmarks/gpu/compare.py: answers each command line on standard input with one line of JSON.
//   make <case> <batch> <mode> [weights.safetensors]             builds a training step on the GPU; modes: eager, captured, captured-float32-residual, captured-checkpointed[-blocks that keep their middle[-rows of the head]], captured-planned-MIB (blocks as a budget of activations asks), adaptive and captured-adaptive (its optimiser), fp8 (captured under a precision controller), fp8-eager; cases besides those of Cases.cs: gpt-2048x16 (width x layers)
//   time <steps> [plain]                                         (plain: with a precision controller paused) runs so many, waits for the device
//   phases                                                       most bytes in each phase of one eager step
//   curve <steps> <rate> <tokens.npy>                            losses of GPT steps over given tokens
//   trace <steps> <file>                                         traces so many: a table into the file, events into <file>.json
//   drop                                                         frees everything
// Started with the words "accuracy --corpus FOLDER --output FILE …" it is no contender but measures what sparse attention costs in accuracy.
var cpu = args is ["cpu", ..];
var device = cpu ? Device.Cpu : Device.Cuda();
if (args[(cpu ? 1 : 0)..] is ["accuracy", .. var words])
{
    return AccuracyStudy.Run(AccuracyOptions.Parse(words), device);
}
TrainingCase? current = null;
while (Console.ReadLine() is { } line)
{
    object answer;
    try
    {
        answer = Answer(line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
    }
    catch (Exception fault)
    {
        answer = new { error = fault.ToString() };
    }
    Console.WriteLine(JsonSerializer.Serialize(answer));
    Console.Out.Flush();
}
current?.Dispose();
return 0;

object Answer(string[] command)
{
    switch (command)
    {
        case ["make", var name, var batch, var mode, .. var weights]:
            current?.Dispose();
            current = TrainingCase.Create(name, int.Parse(batch), device, mode, weights is [var file] ? file : null);
            return new { ok = true };
        case ["time", var steps, .. var how]:
            return current!.Time(int.Parse(steps), how is ["plain"]);
        case ["phases"]:
            return current!.Phases();
        case ["trace", var traced, var table]:
            return current!.Traced(int.Parse(traced), table);
        case ["curve", var steps, var rate, var tokens]:
            var gpt = (GptCase)current!;
            return new { losses = gpt.Curve(int.Parse(steps), double.Parse(rate, System.Globalization.CultureInfo.InvariantCulture), tokens), precision = gpt.Precision };
        case ["drop"]:
            current?.Dispose();
            current = null;
            if (device.IsCuda)
            {
                DeepSeek.Engine.Cuda.CudaDevice.EmptyCache();
            }
            return new { ok = true };
        default:
            throw new ArgumentException($"Unknown command: {string.Join(' ', command)}");
    }
}
