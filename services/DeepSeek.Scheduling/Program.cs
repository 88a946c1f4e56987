using DeepSeek.Scheduling;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.Scheduling.Leases;
using DeepSeek.Scheduling.Workers;
using DeepSeek.ServiceDefaults;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults("scheduling");
builder.AddServiceDatabase<SchedulingDb>("schedulingdb");
builder.AddScheduling();
var app = builder.Build();
app.MapServiceDefaults();
app.MapJobsApi();
app.MapWorkersApi();
app.MapLeaseApi();
app.Run();
