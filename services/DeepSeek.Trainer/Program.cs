using DeepSeek.Trainer;

if (args is not ["--work", var folder])
{
    Console.Error.WriteLine("Usage: DeepSeek.Trainer --work <folder with spec.json, dataset.json, pipeline.onnx and data/>");
    return (int)TrainerExit.BadInput;
}
using var stop = StopSignal.Listen(Console.In);
return (int)TrainerProcess.Run(new WorkFolder(folder), new TrainerEvents(Console.Out), stop);
