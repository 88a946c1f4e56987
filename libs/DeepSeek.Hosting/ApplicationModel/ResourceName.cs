namespace Aspire.Hosting.ApplicationModel;

internal static class ResourceName
{
    private const int LongestName = 64;

    /// <summary>Throws <see cref="ArgumentException"/> naming the rule that <paramref name="name"/> breaks.</summary>
    public static void Validate(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        var fault = Fault(name);
        if (fault is not null)
        {
            throw new ArgumentException($"Resource name '{name}' is invalid. {fault}", nameof(name));
        }
    }

    private static string? Fault(string name) =>
        name.Length > LongestName ? "Name must be between 1 and 64 characters long."
        : !char.IsAsciiLetter(name[0]) ? "Name must start with an ASCII letter."
        : name.Any(c => !char.IsAsciiLetterOrDigit(c) && c != '-') ? "Name must contain only ASCII letters, digits, and hyphens."
        : name[^1] == '-' ? "Name cannot end with a hyphen."
        : name.Contains("--", StringComparison.Ordinal) ? "Name cannot contain consecutive hyphens."
        : null;
}
