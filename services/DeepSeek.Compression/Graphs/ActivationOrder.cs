using DeepSeek.Onnx.Optimization;

namespace DeepSeek.Compression.Graphs;

/// <summary>
/// Moves ReLU and Clip in front of max pooling, which changes no number because both are monotone. In float the other order
/// is cheaper; in 8 bits the activation then costs nothing, being the lower bound of the layer's own range.
/// </summary>
public static class ActivationOrder
{
    public static void Run(GraphEditor editor)
    {
        foreach (var activation in editor.Editable("Relu", "Clip"))
        {
            var bounded = activation.Input.Skip(1).All(i => i.Length == 0 || editor.Constant(i) is not null);
            if (!bounded || !editor.HasSingleUse(activation.Input[0])
                || editor.Producer(activation.Input[0], "MaxPool") is not { Output.Count: 1 } pool || editor.Keeps(pool))
                continue;
            var (pooled, activated) = (pool.Output[0], activation.Output[0]);
            editor.SetInput(activation, 0, pool.Input[0]);
            editor.SetInput(pool, 0, pooled);
            editor.SetOutput(pool, activated);
            editor.SetOutput(activation, pooled);
        }
    }
}
