using DeepSeek.ServiceDefaults;
using DeepSeek.Training.Runs;
using DeepSeek.Training.Trainers;
using MassTransit;

namespace DeepSeek.Training;

public static class TrainingServices
{
    public static void AddTraining(this WebApplicationBuilder builder)
    {
        builder.AddMessaging<TrainingDb>("messaging", bus => bus.AddConsumer<JobEndedConsumer>());
        builder.AddServiceClient<DatasetClient>("preprocessing");
        builder.AddServiceClient<WorkersClient>("scheduling", client => (client.AttemptTimeout, client.Retries) = (TimeSpan.FromSeconds(5), 1));
        builder.Services.AddOptions<TrainerOptions>().BindConfiguration(TrainerOptions.Section).ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddSingleton(services => new RunFolders(
            Path.Combine(builder.DataDirectory("training"), "runs"), services.GetRequiredService<ILogger<RunFolders>>()));
        builder.Services.AddSingleton<TrainerLauncher>();
        builder.Services.AddRunSpecSchema();
        builder.Services.AddScoped<RunInput>();
        builder.Services.AddScoped<RunResult>();
        builder.Services.AddHostedService<RunFolderSweeper>();
    }
}
