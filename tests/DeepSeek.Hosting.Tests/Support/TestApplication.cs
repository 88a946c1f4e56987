namespace DeepSeek.Hosting.Tests;

internal static class TestApplication
{
    /// <summary>An application without a status page, on free ports, with its data in <paramref name="data"/>.</summary>
    public static IDistributedApplicationBuilder CreateBuilder(DataFolder data, params string[] args)
        => DistributedApplication.CreateBuilder(new DistributedApplicationOptions
        {
            Args = [.. args, "--DEEPSEEK_DATA", data.Path, "--DcpPublisher:RandomizePorts", "true", "--environment", "Development"],
            DisableDashboard = true,
        });

    public static IResourceBuilder<ExecutableResource> AddShell(this IDistributedApplicationBuilder builder, string name, string script)
        => builder.AddExecutable(name, "/bin/sh", ".", "-c", script);

    public static IResourceBuilder<ProjectResource> AddSample(this IDistributedApplicationBuilder builder, string name)
        => builder.AddProject(name, Path.Combine(Repository.Root, "tests/DeepSeek.Hosting.Tests/Samples/Sample.Web/Sample.Web.csproj"));

    public static int ProcessId(this DistributedApplication app, string resource)
        => app.ResourceNotifications.TryGetCurrentState(resource, out var state) && state.Snapshot.Properties.FirstOrDefault(p => p.Name == "executable.pid")?.Value is int pid
            ? pid : throw new InvalidOperationException($"{resource} has no process.");

    public static string? State(this DistributedApplication app, string resource)
        => app.ResourceNotifications.TryGetCurrentState(resource, out var state) ? state.Snapshot.State?.Text : null;
}
