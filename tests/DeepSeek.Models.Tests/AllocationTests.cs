using DeepSeek.Engine;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

public sealed class AllocationTests
{
    public static TheoryData<string> Names => [.. Families.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void TrainingStep_OfFamily_AllocatesNothingManaged(string name)
    {
        var family = Families.Of(name);
        using var net = family.Net();
        using var optimizer = family.Optimizer(net);
        using var outer = TensorScope.Open();
        var inputs = family.Inputs(0);
        void Steps(int count)
        {
            for (var i = 0; i < count; i++)
            {
                using var scope = TensorScope.Open();
                family.Forward(net, inputs).Mean().Backward();
                optimizer.Step(1e-3);
                optimizer.ClearGradients();
            }
        }

        Steps(3);
        var tensors = EngineRuntime.Memory().LiveTensors;
        var before = GC.GetAllocatedBytesForCurrentThread();
        Steps(3);

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(tensors, EngineRuntime.Memory().LiveTensors);
    }
}
