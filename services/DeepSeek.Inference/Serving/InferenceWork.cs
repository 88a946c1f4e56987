using DeepSeek.Inference.Protocol;

namespace DeepSeek.Inference.Serving;

/// <summary>A request bound to a model: tensors in the order of the model's inputs, outputs by their index.</summary>
/// <param name="cache">Keys and values that it goes on from and adds to; such work is computed alone.</param>
internal sealed class InferenceWork(Tensor[] inputs, long rows, int[] outputs, KeyValueCache? cache = null)
{
    public Tensor[] Inputs { get; } = inputs;

    /// <summary>What the statistics call its inferences.</summary>
    public long Rows { get; } = rows;

    public int[] Outputs { get; } = outputs;

    public KeyValueCache? Cache { get; } = cache;

    /// <summary>Rows [start, start + rows) of this work.</summary>
    public InferenceWork Slice(long start, long rows) =>
        new([.. Inputs.Select(i => i.Slice(start, rows))], rows, Outputs);

    /// <summary>The same work with these outputs.</summary>
    public InferenceWork Wanting(int[] outputs) => new(Inputs, Rows, outputs);

    /// <summary>True when both can be joined along axis 0.</summary>
    public bool JoinsWith(InferenceWork other)
    {
        if (Cache is not null || other.Cache is not null)
        {
            return false;
        }

        for (var i = 0; i < Inputs.Length; i++)
        {
            if (!Inputs[i].Shape.AsSpan(1).SequenceEqual(other.Inputs[i].Shape.AsSpan(1)))
            {
                return false;
            }
        }

        return true;
    }
}

/// <summary>Timestamps (<see cref="System.Diagnostics.Stopwatch"/>) between the parts of an execution.</summary>
internal readonly record struct ExecutionTimes(long Start, long InputReady, long Computed, long End);
