var builder = DistributedApplication.CreateBuilder(args);

var postgres = builder.AddPostgres("postgres").WithDataVolume();
var messaging = builder.AddRabbitMQ("messaging").WithManagementPlugin();
var cache = builder.AddRedis("cache");
var identityKey = builder.AddParameter("identity-key", new GenerateParameterDefault { MinLength = 44, Special = false }, secret: true, persist: true);

var scheduling = Service<Projects.DeepSeek_Scheduling>("scheduling");
var registry = Service<Projects.DeepSeek_Registry>("registry");
var preprocessing = Service<Projects.DeepSeek_Preprocessing>("preprocessing")
    .WithReference(registry).WithReference(scheduling).WaitFor(registry).WaitFor(scheduling);
var training = Service<Projects.DeepSeek_Training>("training")
    .WithReference(registry).WithReference(scheduling).WithReference(preprocessing).WaitFor(registry).WaitFor(scheduling);
var compression = Service<Projects.DeepSeek_Compression>("compression")
    .WithReference(registry).WithReference(scheduling).WaitFor(registry).WaitFor(scheduling);
var inference = Service<Projects.DeepSeek_Inference>("inference")
    .WithReference(cache).WaitFor(cache)
    .WithReference(registry).WithReference(scheduling).WaitFor(registry).WaitFor(scheduling)
    .WithReplicas(2);
var explainability = Service<Projects.DeepSeek_Explainability>("explainability")
    .WithReference(registry).WithReference(scheduling).WithReference(inference).WaitFor(registry).WaitFor(scheduling);

Service<Projects.DeepSeek_Gateway>("gateway")
    .WithReference(cache).WaitFor(cache)
    .WithReference(preprocessing).WithReference(training).WithReference(registry).WithReference(compression)
    .WithReference(inference).WithReference(explainability).WithReference(scheduling)
    .WithExternalHttpEndpoints();

builder.Build().Run();

// A service with what every service has: a database of its own, the broker, the key that signs identities, a health check.
IResourceBuilder<ProjectResource> Service<TProject>(string name) where TProject : IProjectMetadata, new()
{
    var database = postgres.AddDatabase($"{name}db");
    return builder.AddProject<TProject>(name)
        .WithReference(database).WaitFor(database)
        .WithReference(messaging).WaitFor(messaging)
        .WithEnvironment("Identity__SigningKey", identityKey)
        .WithHttpHealthCheck("/health");
}
