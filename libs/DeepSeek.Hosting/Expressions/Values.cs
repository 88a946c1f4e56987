namespace Aspire.Hosting.ApplicationModel;

/// <summary>Gives a value when the application runs.</summary>
public interface IValueProvider
{
    /// <summary>Gives the value; waits until it is known.</summary>
    ValueTask<string?> GetValueAsync(CancellationToken cancellationToken = default);

    /// <summary>Gives the value as seen by a caller.</summary>
    ValueTask<string?> GetValueAsync(ValueProviderContext context, CancellationToken cancellationToken = default) => GetValueAsync(cancellationToken);
}

/// <summary>Gives the expression that stands for a value in the manifest.</summary>
public interface IManifestExpressionProvider
{
    /// <summary>The expression, such as <c>{name.value}</c>.</summary>
    string ValueExpression { get; }
}

/// <summary>A value when running, an expression in the manifest.</summary>
public interface IExpressionValue : IValueProvider, IManifestExpressionProvider;

/// <summary>Made of other values or resources.</summary>
public interface IValueWithReferences
{
    /// <summary>What it is made of.</summary>
    IEnumerable<object> References { get; }
}

/// <summary>Who asks for a value.</summary>
public class ValueProviderContext
{
    /// <summary>The running application.</summary>
    public DistributedApplicationExecutionContext? ExecutionContext { get; init; }

    /// <summary>The resource that asks.</summary>
    public IResource? Caller { get; init; }

    /// <summary>The network the caller is on.</summary>
    public NetworkIdentifier? Network { get; init; }
}
