using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>Tensors as files want them: contiguous in the host's memory. Those that are so already are taken as they are.</summary>
internal sealed class HostTensors : IDisposable
{
    private readonly List<TensorHandle> _copies = [];

    internal HostTensors(IEnumerable<NamedTensor> tensors) => Tensors = [.. tensors.Select(t => new NamedTensor(t.Name, OnHost(t.Tensor)))];

    internal IReadOnlyList<NamedTensor> Tensors { get; }

    public void Dispose() => _copies.ForEach(c => c.Dispose());

    /// <summary>Copies values in order, wherever either lies.</summary>
    internal static void Copy(IEnumerable<NamedTensor> from, IEnumerable<NamedTensor> to)
    {
        using var recording = NoGrad.Enter();
        foreach (var (source, target) in from.Zip(to))
        {
            target.Tensor.Tensor.CopyInPlace(source.Tensor.Tensor);
        }
    }

    /// <summary>Copies the values of a file's tensors by their names behind a prefix.</summary>
    /// <exception cref="InvalidDataException">The file lacks a tensor, or holds one of another shape.</exception>
    internal static void Copy(SafetensorsContent content, string prefix, IEnumerable<NamedTensor> to)
    {
        using var recording = NoGrad.Enter();
        foreach (var (name, target) in to)
        {
            var source = content.Tensors.GetValueOrDefault(prefix + name)?.Tensor ?? throw new InvalidDataException($"it holds no {prefix}{name}.");
            if (!source.Shape().SequenceEqual(target.Tensor.Shape()))
            {
                throw new InvalidDataException($"its {prefix}{name} is [{string.Join(", ", source.Shape())}] where this trainer's is [{string.Join(", ", target.Tensor.Shape())}].");
            }
            target.Tensor.CopyInPlace(source);
        }
    }

    private TensorHandle OnHost(TensorHandle tensor)
    {
        if (!tensor.Tensor.Device.IsCuda)
        {
            return tensor;
        }
        var copy = TensorHandle.Empty(tensor.Tensor.Dtype, tensor.Tensor.Shape());
        using var recording = NoGrad.Enter();
        copy.Tensor.CopyInPlace(tensor.Tensor);
        _copies.Add(copy);
        return copy;
    }
}
