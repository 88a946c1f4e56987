using DeepSeek.Contracts.Training;
using DeepSeek.Engine.Precision;

namespace DeepSeek.Trainer;

/// <summary>One epoch as metrics.jsonl records it; adjustments are what an adaptive optimiser changed in it, with the causes.</summary>
/// <remarks>Layers: how many multiply in which precision, under an adaptive one.</remarks>
internal sealed record EpochRecord(
    int Epoch, long Step, double TrainLoss, double LearningRate, IReadOnlyDictionary<string, double> Validation, IReadOnlyList<string>? Adjustments = null, IReadOnlyDictionary<string, int>? Layers = null);

/// <summary>Where a run is, besides its tensors; saved in every checkpoint.</summary>
internal sealed record RunState
{
    /// <summary>Epoch of the next batch, from 0.</summary>
    public int Epoch { get; set; }

    /// <summary>The next batch in its epoch, from 0.</summary>
    public int Batch { get; set; }

    /// <summary>Optimiser steps taken.</summary>
    public long Step { get; set; }

    /// <summary>Sum over this epoch's rows so far.</summary>
    public double LossSum { get; set; }

    /// <summary>Rows of this epoch so far.</summary>
    public long LossRows { get; set; }

    /// <summary>Best value of the watched metric, or null.</summary>
    public double? Best { get; set; }

    /// <summary>Epoch of the best value.</summary>
    public int BestEpoch { get; set; } = -1;

    /// <summary>Training is over; the net holds its final weights.</summary>
    public bool Finished { get; set; }

    /// <summary>Threads the sums were made with; a resumed run uses as many, for equal bits.</summary>
    public int Threads { get; set; }

    /// <summary>The precision of the steps so far; none in checkpoints that do not tell.</summary>
    public RunPrecision? Computed { get; set; }

    /// <summary>Where an adaptive precision stands, but for its tensors.</summary>
    public PrecisionState? Precision { get; set; }

    /// <summary>All epochs so far.</summary>
    public List<EpochRecord> History { get; set; } = [];

    /// <summary>Notes a value of the watched metric; true when it is the best so far.</summary>
    internal bool Improves(MetricName metric, double value)
    {
        var downwards = metric is MetricName.Loss or MetricName.LogLoss or MetricName.Rmse or MetricName.Mae or MetricName.Perplexity or MetricName.BitsPerByte;
        if (Best is { } best && (downwards ? value >= best : value <= best))
        {
            return false;
        }
        Best = value;
        BestEpoch = Epoch;
        return true;
    }
}
