using DeepSeek.Client;

namespace DeepSeek.Cli.Output;

/// <summary>Where a command's result goes: tables for people, JSON for programs.</summary>
internal interface IPrinter
{
    /// <summary>A list, one row an item; <paramref name="columns"/> are what people see, programs get the items whole.</summary>
    Task ListAsync<T>(IAsyncEnumerable<T> items, params (string Header, Func<T, object?> Value)[] columns);

    /// <summary>One thing: its facts for people, itself for programs.</summary>
    void Item<T>(T item, params (string Name, object? Value)[] facts);

    /// <summary>The whole result of a command that has nothing to show: a sentence for people, <c>{"message": …}</c> for programs.</summary>
    void Done(string text);

    /// <summary>A sentence on how the work gets on; programs do not see it.</summary>
    void Say(string text);

    /// <summary>A part of a running text, as it comes; programs do not see it.</summary>
    void Part(string text);

    /// <summary>Follows a job to its end, with a progress bar where there is a terminal.</summary>
    Task<Job> FollowAsync(JobsClient jobs, Guid id, CancellationToken cancellationToken);

    /// <summary>Shows how an upload of so many bytes gets on.</summary>
    Task<T> UploadAsync<T>(string name, long bytes, Func<IProgress<long>, Task<T>> upload);
}
