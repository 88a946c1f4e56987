namespace DeepSeek.ServiceDefaults;

/// <summary>What a principal may do. <see cref="Service"/> is never given to a person: only services mint it, for each other.</summary>
public static class Roles
{
    public const string Reader = "reader";
    public const string Operator = "operator";
    public const string Approver = "approver";
    public const string Admin = "admin";
    public const string Service = "service";

    /// <summary>Roles an API key can have.</summary>
    public static IReadOnlyList<string> OfKeys { get; } = [Reader, Operator, Approver, Admin];
}

/// <summary>Names of the authorization policies; each admits the roles that include its own.</summary>
public static class Policies
{
    public const string Reader = "Reader";
    public const string Operator = "Operator";
    public const string Approver = "Approver";
    public const string Admin = "Admin";
    /// <summary>Internal endpoints: another service of the platform, nobody else, not even an admin.</summary>
    public const string Service = "Service";
}
