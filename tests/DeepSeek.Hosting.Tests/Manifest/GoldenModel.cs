namespace DeepSeek.Hosting.Tests
{
    /// <summary>The model of Goldens/AppHost.cs.txt, statement by statement.</summary>
    internal static class GoldenModel
    {
        public static IDistributedApplicationBuilder Create(params string[] args)
        {
            var builder = DistributedApplication.CreateBuilder(new DistributedApplicationOptions
            {
                Args = args,
                AssemblyName = "DeepSeek.AppHost",
                ProjectDirectory = Path.Combine(Repository.Root, "DeepSeek.AppHost"),
            });

            var postgres = builder.AddPostgres("postgres").WithDataVolume();
            var messaging = builder.AddRabbitMQ("messaging").WithManagementPlugin();
            var cache = builder.AddRedis("cache");

            var scheduling = builder.AddProject<Projects.DeepSeek_Scheduling>("scheduling")
                .WithReference(postgres.AddDatabase("schedulingdb")).WaitFor(postgres)
                .WithReference(messaging).WaitFor(messaging)
                .WithHttpHealthCheck("/health");

            var registryDb = postgres.AddDatabase("registrydb", "registry");
            var registry = builder.AddProject<Projects.DeepSeek_Registry>("registry")
                .WithReference(registryDb).WaitFor(registryDb)
                .WithReference(messaging).WaitFor(messaging)
                .WithHttpHealthCheck("/health");

            var training = builder.AddProject<Projects.DeepSeek_Training>("training")
                .WithReference(postgres.AddDatabase("trainingdb")).WaitFor(postgres)
                .WithReference(messaging).WaitFor(messaging)
                .WithReference(registry).WaitFor(registry)
                .WithHttpHealthCheck("/health");

            var inference = builder.AddProject<Projects.DeepSeek_Inference>("inference")
                .WithReference(messaging).WaitFor(messaging)
                .WithReference(cache)
                .WithReference(registry).WaitFor(registry)
                .WithReplicas(2)
                .WithHttpHealthCheck("/health");

            builder.AddProject<Projects.DeepSeek_Gateway>("gateway")
                .WithReference(cache).WaitFor(cache)
                .WithReference(scheduling).WithReference(registry).WithReference(training).WithReference(inference)
                .WaitFor(registry)
                .WithHttpHealthCheck("/health")
                .WithExternalHttpEndpoints();

            return builder;
        }
    }
}

namespace Projects
{
    internal abstract class GoldenProject(string path, int port) : IProjectMetadata
    {
        public string ProjectPath { get; } = Path.Combine(DeepSeek.Hosting.Tests.Repository.Root, path);

        public LaunchSettings LaunchSettings { get; } = new()
        {
            Profiles =
            {
                ["http"] = new LaunchProfile { CommandName = "Project", ApplicationUrl = $"http://localhost:{port}", EnvironmentVariables = { ["ASPNETCORE_ENVIRONMENT"] = "Development" } },
            },
        };
    }

    internal sealed class DeepSeek_Scheduling() : GoldenProject("services/DeepSeek.Scheduling/DeepSeek.Scheduling.csproj", 5106);

    internal sealed class DeepSeek_Registry() : GoldenProject("services/DeepSeek.Registry/DeepSeek.Registry.csproj", 5105);

    internal sealed class DeepSeek_Training() : GoldenProject("services/DeepSeek.Training/DeepSeek.Training.csproj", 5107);

    internal sealed class DeepSeek_Inference() : GoldenProject("services/DeepSeek.Inference/DeepSeek.Inference.csproj", 5103);

    internal sealed class DeepSeek_Gateway() : GoldenProject("gateway/DeepSeek.Gateway/DeepSeek.Gateway.csproj", 5108);
}
