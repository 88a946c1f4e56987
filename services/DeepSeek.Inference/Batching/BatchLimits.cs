namespace DeepSeek.Inference.Batching;

/// <summary>How requests share executions.</summary>
/// <param name="MaxBatch">Most rows of an execution; 0 runs every request alone as it came.</param>
/// <param name="MaxDelay">Longest time the first request of a batch waits for company; zero never waits.</param>
/// <param name="MaxQueue">Most requests that wait for an execution; more are refused.</param>
internal readonly record struct BatchLimits(int MaxBatch, TimeSpan MaxDelay, int MaxQueue);
