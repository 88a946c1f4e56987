using DeepSeek.Engine.Memory;
using DeepSeek.Trainer;

if (args is not ["--work", var folder])
{
    Console.Error.WriteLine("Usage: DeepSeek.Trainer --work <folder with spec.json, dataset.json, pipeline.onnx and data/>");
    return (int)TrainerExit.BadInput;
}
try
{
    // A step frees what the next one needs.
    AllocatorMemory.KeepHost(1 << 30);
}
catch (DllNotFoundException)
{
    // The run itself tells of it.
}
using var stop = StopSignal.Listen(Console.In);
return (int)TrainerProcess.Run(new WorkFolder(folder), new TrainerEvents(Console.Out), stop);
