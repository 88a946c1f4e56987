using DeepSeek.Engine;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>What a checkpoint holds, and how a run is taken up from one.</summary>
internal sealed partial class TrainingRun
{
    private void RememberBest()
    {
        if (_best.Count == 0)
        {
            _best.AddRange(_kept.Net.State().Select(t => new NamedTensor(t.Name, TensorHandle.ZerosLike(t.Tensor.Tensor, t.Tensor.Tensor.Dtype))));
        }
        HostTensors.Copy(_kept.Net.State(), _best);
    }

    private void Save()
    {
        _meter.Flush();
        _state.Computed = _compute.Precision;
        _state.Precision = _step.Layers?.Save();
        List<NamedTensor> random = [Random("random", Device.Cpu)];
        if (_compute.Device.IsCuda)
        {
            random.Add(Random("random.device", _compute.Device));
        }
        using var host = new HostTensors(
        [
            .. _net.State().Select(t => new NamedTensor($"net.{t.Name}", t.Tensor)),
            .. _optimizer.State.Select(t => new NamedTensor($"optimizer.{t.Name}", t.Tensor)),
            .. _step.State.Select(t => new NamedTensor($"step.{t.Name}", t.Tensor)),
            .. _best.Select(t => new NamedTensor($"best.{t.Name}", t.Tensor)),
        ]);
        _checkpoints.Save(_state, host.Tensors.Concat(random));
        random.ForEach(t => t.Tensor.Dispose());
    }

    private static NamedTensor Random(string name, Device device)
    {
        var state = EngineRuntime.RandomState(device);
        return new NamedTensor(name, TensorHandle.From<byte>(state, state.Length));
    }

    private void TakeUp(SafetensorsContent content, string path)
    {
        try
        {
            Restore(content);
        }
        catch (InvalidDataException fault)
        {
            // What another version's optimiser remembers cannot be guessed, and to begin at step 0 unasked would throw its work away.
            throw new BadInputException("checkpoint", $"{path} was written by another version of the trainer: {fault.Message} "
                + $"Finish the run with the version that began it, or delete {Path.GetDirectoryName(path)} to train it again from its first step.");
        }
    }

    private void Restore(SafetensorsContent content)
    {
        if (_state.Best is not null)
        {
            RememberBest();
        }
        HostTensors.Copy(content, "net.", _net.State());
        HostTensors.Copy(content, "optimizer.", _optimizer.State);
        if (_state.Precision is { } precision)
        {
            _step.Layers?.Restore(precision);
        }
        // A loss scale is of fp16 alone: a run that comes from another precision finds its own.
        if (_state.Computed is null || _state.Computed == _compute.Precision)
        {
            HostTensors.Copy(content, "step.", _step.State);
        }
        HostTensors.Copy(content, "best.", _best);
        _optimizer.ContinueAfter(_state.Step);
        EngineRuntime.RestoreRandomState(content.Tensors["random"].Bytes());
        if (_compute.Device.IsCuda && content.Tensors.TryGetValue("random.device", out var random))
        {
            EngineRuntime.RestoreRandomState(random.Bytes(), _compute.Device);
        }
        else if (_compute.Device.IsCuda)
        {
            _events.Warning("The run began on a CPU and goes on on a GPU: what it draws at random from here on is another sequence than there.");
        }
    }
}
