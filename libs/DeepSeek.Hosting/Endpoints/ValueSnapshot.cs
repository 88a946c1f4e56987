namespace Aspire.Hosting.ApplicationModel;

/// <summary>A value that is set once, later; readers wait for it.</summary>
public sealed class ValueSnapshot<T> where T : class
{
    private readonly TaskCompletionSource<T> _value = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Whether the value is there.</summary>
    public bool IsValueSet => _value.Task.IsCompletedSuccessfully;

    /// <summary>Waits for the value.</summary>
    public Task<T> GetValueAsync(CancellationToken cancellationToken = default) => _value.Task.WaitAsync(cancellationToken);

    /// <summary>Sets the value. Throws if it was set before.</summary>
    public void SetValue(T value) => _value.SetResult(value);
}
