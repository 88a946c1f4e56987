using System.Diagnostics;
using System.Globalization;
using System.Text;
using DeepSeek.Contracts.Training;
using DeepSeek.Engine;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Data;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;
using Trace = DeepSeek.Engine.Profiling.Trace;

namespace DeepSeek.Trainer;

/// <summary>
/// One training run. Every step is a function of the spec, the data and the state that checkpoints hold, so a run taken up from a
/// checkpoint ends with the same bits as one left alone:
/// 1. decide where and how to compute, seed, make net and optimiser; 2. load the newest checkpoint; 3. for each batch: loss, gradients, and at the end of an
/// accumulation a step; 4. at the end of an epoch: validate, stop early; 5. checkpoint, yield; 6. restore the best weights, test, write.
/// </summary>
internal sealed partial class TrainingRun : IDisposable
{
    private const int ShiftPixels = 2;

    // Multiplications of a forward pass; about a millisecond on one core.
    private const double SmallStep = 4e7;

    // A gpt's are spread over some dozens of operators a block, for each of which threads would be woken.
    private const double SmallTokenStep = 10 * SmallStep;
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromSeconds(1);
    private static readonly Dictionary<string, double> s_noMetrics = [];

    private readonly TrainingPlan _plan;
    private readonly RunSpec _spec;
    private readonly WorkFolder _folder;
    private readonly TrainerEvents _events;
    private readonly StopSignal _stop;
    private readonly CheckpointStore _checkpoints;
    private readonly TargetStatistics _statistics;
    private readonly Objective _objective;
    private readonly PipelineTransform _transform;
    private readonly Module _net;
    private readonly Optimizer _optimizer;
    private readonly KeptNet _kept;
    private readonly AdaptiveOptimizer? _adaptive;
    private readonly IEvaluator _evaluator;
    private readonly ComputePlan _compute;
    private readonly TrainingStep _step;
    private readonly LossMeter _meter;
    private readonly Recomputation _recomputation;
    private readonly List<NamedTensor> _best = [];
    private readonly RunState _state;
    private readonly StepTrace _trace;
    private readonly StepUsage _usage;
    private readonly long _resumedFrom;
    private readonly MemoryAdvice _advice;
    private bool _measured;
    private bool _captured;
    private bool _hindered;
    private int _told;
    private long _lastProgress = Stopwatch.GetTimestamp();
    private long _tokens;
    private TimeSpan _stepping;

    internal TrainingRun(TrainingPlan plan, Machine machine, WorkFolder folder, TrainerEvents events, StopSignal stop)
    {
        (_plan, _spec, _folder, _events, _stop) = (plan, plan.Spec, folder, events, stop);
        _checkpoints = new CheckpointStore(folder.Checkpoints, $"{plan.SpecSha256} {plan.DatasetSha256}", events);
        var saved = _checkpoints.Load();
        var compute = _compute = Decide(machine, saved);
        _state = saved?.State ?? new RunState { Threads = Threads(plan) };
        EngineRuntime.Threads = _state.Threads;
        // Some operators have no deterministic form on a GPU.
        EngineRuntime.RequireDeterminism(!compute.Device.IsCuda);
        if (compute.Device.IsCuda)
        {
            CudaDevice.Select(compute.Device.Index);
            CudaDevice.BenchmarkConvolutions(plan.Dataset.IsImage);
        }
        // Before the seed, so that it draws none of the run's numbers.
        var copy = compute.HalfWeights ? NetFactory.Create(plan) : null;
        EngineRuntime.Seed(_spec.Seed);
        _statistics = TargetStatistics.Of(plan.Train, _spec, plan.Dataset.Classes);
        _objective = new Objective(plan, _statistics, compute.Device);
        _transform = new PipelineTransform(plan.Dataset, plan.Pipeline, compute.Device);
        _net = NetFactory.Create(plan);
        _net.To(compute.Device, channelsLast: compute.Device.IsCuda && plan.Dataset.IsImage);
        if (compute.HalfWeights)
        {
            _net.ToPrecision(Dtype.BFloat16);
            UseFusedProducts();
        }
        _optimizer = NetFactory.CreateOptimizer(_net, _spec.Optimizer);
        _kept = new KeptNet(_net, _optimizer, copy);
        _step = new TrainingStep(_spec, compute, _net, _objective, _optimizer);
        _meter = new LossMeter(_state, compute.Device, forgives: _optimizer is AdaptiveOptimizer);
        _advice = new MemoryAdvice(plan, compute, _net, _optimizer, _objective);
        _adaptive = _optimizer as AdaptiveOptimizer;
        _trace = new StepTrace(_spec.Trace, folder, events, _net.Device);
        _usage = new StepUsage(_spec.Trace);
        _evaluator = _kept.Net is Gpt gpt ? new LanguageEvaluator(gpt, _transform) : new Evaluator(plan, _kept.Net, _transform, _objective, _statistics);
        if (saved is { Content: var content, Path: var path })
        {
            using (content)
            {
                TakeUp(content, path);
            }
            _resumedFrom = _state.Step;
        }
        // What is measured for it are no steps.
        using var plain = _step.Layers?.Pause();
        _recomputation = Recomputation.Of(plan, _net, _transform, _step);
    }

    internal TrainerExit Execute()
    {
        foreach (var warning in _compute.Warnings)
        {
            _events.Warning(warning);
        }
        TellCompute();
        _events.Started(_spec.Epochs, _plan.TotalSteps, _state.Threads, _resumedFrom);
        if (!_state.Finished && Train() == TrainerExit.Yielded)
        {
            return TrainerExit.Yielded;
        }
        if (_step.Layers is not null)
        {
            TellCompute();
        }
        using var plain = _step.Layers?.Pause();
        if (_kept.IsCopy)
        {
            _kept.Follow();
            HostTensors.Copy(_best, _kept.Net.State());
        }
        var net = _kept.Net;
        var split = _plan.Test ?? _plan.Validation;
        var test = split is null ? [] : _evaluator.Measure(split);
        using var dense = LanguageNet.Dense(net);
        if (dense is not null && split is not null)
        {
            // What runtimes compute that do not know the platform's operators: its numbers stand beside those of the net as it was trained.
            foreach (var (name, value) in new LanguageEvaluator(dense, _transform).Measure(split))
            {
                test[$"dense.{name}"] = value;
            }
        }
        net.To(Device.Cpu);
        dense?.To(Device.Cpu);
        new ModelOutput(_plan, _folder, net, LanguageNet.IsExportedDense(net) ? dense! : net, _statistics, _state).Write(test, _plan.Test is null ? "validation" : "test");
        if (_usage.Record(_compute) is { } usage)
        {
            _events.Usage(usage);
        }
        _events.Done(test);
        return TrainerExit.Done;
    }

    public void Dispose()
    {
        _step.Dispose();
        _meter.Dispose();
        _trace.Dispose();
        _usage.Dispose();
        _kept.Dispose();
        _optimizer.Dispose();
        _net.Dispose();
        _transform.Dispose();
        _objective.Dispose();
        _best.ForEach(t => t.Tensor.Dispose());
    }

    private TrainerExit Train()
    {
        using var loader = new BatchLoader(_plan.Train, new BatchOptions
        {
            BatchSize = (int)Math.Min(_spec.BatchSize, _plan.Train.Rows),
            Seed = _spec.Seed,
            Epochs = _spec.Epochs,
            LeastRows = TrainingPlan.LeastRows,
            Start = (_state.Epoch, _state.Batch),
        });
        while (!_state.Finished && _state.Epoch < _spec.Epochs)
        {
            _trace.BeforeStep();
            _usage.BeforeStep();
            try
            {
                Step(loader);
            }
            catch (NativeException fault) when (fault.Status == NativeStatus.OutOfMemory)
            {
                throw _advice.Explain(fault);
            }
            _usage.AfterStep(_step.IsCaptured);
            _trace.AfterStep();
            if (_state.Batch == _plan.BatchesPerEpoch)
            {
                EndEpoch();
            }
            if (_state.Finished)
            {
                break;
            }
            if (_stop.IsRequested)
            {
                Save();
                return TrainerExit.Yielded;
            }
            if (_state.Step % _spec.CheckpointEvery == 0)
            {
                Save();
            }
        }
        Finish();
        _trace.Finish();
        return TrainerExit.Done;
    }

    /// <summary>One optimiser step: as many batches as are accumulated, fewer at the end of an epoch.</summary>
    private void Step(BatchLoader loader)
    {
        var rate = _adaptive?.LearningRate ?? NetFactory.Rate(_spec, _state.Step, _plan.TotalSteps);
        _step.Rate(rate);
        _step.EnterStage(LanguageNet.BeforeStep(_net, _spec, _state.Step, _plan.TotalSteps));
        LanguageNet.BeforeStep(_kept.Net, _spec, _state.Step, _plan.TotalSteps);
        var started = Stopwatch.GetTimestamp();
        var phases = _step.Phases = _measured ? null : new MemoryPhases(_compute.Device);
        var batches = 0;
        while (batches < _spec.GradientAccumulation && _state.Batch < _plan.BatchesPerEpoch)
        {
            using var scope = TensorScope.Open();
            var asked = Stopwatch.GetTimestamp();
            var found = loader.Next(out var batch);
            _usage.Waited(Stopwatch.GetElapsedTime(asked));
            if (!found)
            {
                throw new InvalidDataException("The shards hold fewer rows than their manifest says. Prepare the dataset again.");
            }
            var features = Augmented(_transform.Apply(batch.Features));
            var target = _transform.Target(batch.Target);
            var loss = _spec.GradientAccumulation == 1
                ? _step.Run(features, target, rate, full: batch.Rows == _spec.BatchSize)
                : _step.Accumulate(features, target);
            _meter.Add(loss, batch.Rows);
            _tokens += _plan.Dataset.IsText ? batch.Rows * _plan.Train.FeaturesPerRow : 0;
            _state.Batch++;
            batches++;
        }
        if (_spec.GradientAccumulation > 1)
        {
            _step.Update(batches);
        }
        _state.Step++;
        Took(started);
        if (phases is not null)
        {
            _measured = true;
            _usage.Held(phases.Measured);
            _events.Memory(phases.Measured, MemoryHoldings.Lasting(_net, _optimizer));
        }
        if (_step.IsCaptured != _captured || _step.Hindrance is not null != _hindered || (_step.Layers is { } layers && layers.Version != _told))
        {
            TellCompute();
        }
        if (Stopwatch.GetElapsedTime(_lastProgress) > ProgressInterval)
        {
            Report(s_noMetrics);
        }
    }

    /// <summary>The batch moved by up to two pixels, by a draw that depends on the step alone.</summary>
    private Tensor Augmented(Tensor features)
    {
        if (_spec.Model.Augment != true)
        {
            return features;
        }
        var random = new SeededRandom(_spec.Seed, _state.Step, _state.Batch, 2);
        var height = _plan.Dataset.FeatureShape[1];
        var width = _plan.Dataset.FeatureShape[2];
        return features.Pad([ShiftPixels, ShiftPixels, ShiftPixels, ShiftPixels])
            .Narrow(2, random.Below(2 * ShiftPixels + 1), height)
            .Narrow(3, random.Below(2 * ShiftPixels + 1), width); // [N, C, H, W]
    }

    /// <summary>Waits for the steps that the device still works on; that is their time, too.</summary>
    private void FlushLosses()
    {
        var started = Stopwatch.GetTimestamp();
        _meter.Flush();
        Took(started);
    }

    private void Took(long started)
    {
        var time = Stopwatch.GetElapsedTime(started);
        _stepping += time;
        _usage.Took(time);
    }

    private void EndEpoch()
    {
        FlushLosses();
        using var average = _optimizer.UseAverage();
        using var phase = Trace.Phase("evaluation");
        using var plain = _step.Layers?.Pause();
        _kept.Follow();
        var validation = _plan.Validation is { } split ? _evaluator.Measure(split) : [];
        var rate = _adaptive?.Rate ?? NetFactory.Rate(_spec, _state.Step - 1, _plan.TotalSteps);
        if (validation.TryGetValue(Name(MetricName.Loss), out var held))
        {
            _adaptive?.ObserveValidation(held);
        }
        var since = _state.History.Count > 0 ? _state.History[^1].Step : 0;
        string[] adjustments =
        [
            .. _adaptive?.Log.Where(e => e.Step > since).Select(e => e.ToString()) ?? [],
            .. _step.Layers?.Log.Where(m => m.Step > since).Select(m => m.ToString()) ?? [],
        ];
        _state.History.Add(new EpochRecord(_state.Epoch + 1, _state.Step, _state.LossSum / Math.Max(1, _state.LossRows), rate, validation, adjustments is [_, ..] ? adjustments : null,
            _step.Layers?.Layers.CountBy(l => Name(l.Precision)).ToDictionary()));
        Report(validation);
        if (_spec.EarlyStopping is { } early)
        {
            if (validation.TryGetValue(Name(early.Metric), out var value) && _state.Improves(early.Metric, value))
            {
                RememberBest();
            }
            else if (_state.Epoch - _state.BestEpoch >= early.Patience)
            {
                _state.Finished = true;
            }
        }
        _state.Epoch++;
        _state.Batch = 0;
        _state.LossSum = 0;
        _state.LossRows = 0;
    }

    private void Report(IReadOnlyDictionary<string, double> metrics)
    {
        _lastProgress = Stopwatch.GetTimestamp();
        FlushLosses();
        // Since the last report, of the steps alone.
        double? rate = _tokens > 0 && _stepping > TimeSpan.Zero ? _tokens / _stepping.TotalSeconds : null;
        (_tokens, _stepping) = (0, TimeSpan.Zero);
        _events.Progress(_state.Epoch + 1, _state.Step, _state.LossSum / Math.Max(1, _state.LossRows), metrics, (double)_state.Step / _plan.TotalSteps, rate);
    }

    private void Finish()
    {
        if (_best.Count == 0)
        {
            _ = _optimizer.UseAverage(); // from here on for good
        }
        if (!_kept.IsCopy)
        {
            HostTensors.Copy(_best, _net.State());
        }
        _state.Finished = true;
        Save();
    }

    private static string Name(MetricName metric)
    {
        var name = metric.ToString();
        return new StringBuilder(name) { [0] = char.ToLowerInvariant(name[0]) }.ToString();
    }

    /// <summary>DEEPSEEK_THREADS, or all cores, but one for steps so small that waking threads costs more than they give.</summary>
    private static int Threads(TrainingPlan plan)
    {
        if (plan.Spec.Model.Family == ModelFamily.TabularMlp && NetFactory.TabularMultiplications(plan) < SmallStep)
        {
            return 1;
        }
        if (plan.Dataset.IsText && LanguageNet.Multiplications(plan) < SmallTokenStep)
        {
            return 1;
        }
        return int.TryParse(Environment.GetEnvironmentVariable("DEEPSEEK_THREADS"), NumberStyles.None, CultureInfo.InvariantCulture, out var threads) && threads is > 0 and <= 1024
            ? threads
            : Environment.ProcessorCount;
    }
}
