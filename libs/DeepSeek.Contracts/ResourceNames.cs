namespace DeepSeek.Contracts;

/// <summary>Names of the application model's resources. The application host may reference no library, so it repeats them; a test compares.</summary>
public static class ResourceNames
{
    public const string Postgres = "postgres";
    public const string Messaging = "messaging";
    public const string Cache = "cache";
    public const string IdentityKey = "identity-key";

    public const string Gateway = "gateway";
    public const string Preprocessing = "preprocessing";
    public const string Training = "training";
    public const string Registry = "registry";
    public const string Compression = "compression";
    public const string Inference = "inference";
    public const string Explainability = "explainability";
    public const string Scheduling = "scheduling";

    public const string GatewayDatabase = "gatewaydb";
    public const string PreprocessingDatabase = "preprocessingdb";
    public const string TrainingDatabase = "trainingdb";
    public const string RegistryDatabase = "registrydb";
    public const string CompressionDatabase = "compressiondb";
    public const string InferenceDatabase = "inferencedb";
    public const string ExplainabilityDatabase = "explainabilitydb";
    public const string SchedulingDatabase = "schedulingdb";
}
