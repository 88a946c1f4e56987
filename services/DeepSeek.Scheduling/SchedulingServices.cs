using DeepSeek.Scheduling.Jobs;
using DeepSeek.Scheduling.Planning;
using DeepSeek.Scheduling.Signals;
using DeepSeek.Scheduling.Workers;
using DeepSeek.ServiceDefaults;
using MassTransit;

namespace DeepSeek.Scheduling;

public static class SchedulingServices
{
    public static void AddScheduling(this WebApplicationBuilder builder)
    {
        builder.Services.AddOptions<SchedulingOptions>().BindConfiguration(SchedulingOptions.Section).ValidateDataAnnotations().ValidateOnStart();
        builder.AddMessaging<SchedulingDb>("messaging", bus =>
        {
            bus.AddConsumer<SubmitJobConsumer>();
            bus.AddConsumer<JobCompletedConsumer>();
            bus.AddConsumer<JobFailedConsumer>();
            bus.AddConsumer<JobYieldedConsumer>();
            bus.AddConsumer<JobCancelledConsumer>();
            bus.AddConsumer<WorkerSeenConsumer>();
        });
        builder.Services.AddSingleton<SchedulingMetrics>();
        builder.Services.AddSingleton<JobSignals>();
        builder.Services.AddSingleton<JobReports>();
        builder.Services.AddScoped<Scheduler>();
        builder.Services.AddScoped<WaitingReader>();
        builder.Services.AddHostedService<JobListener>();
        builder.Services.AddHostedService<SchedulerLoop>();
        builder.Services.AddHostedService<EventPruner>();
    }
}
