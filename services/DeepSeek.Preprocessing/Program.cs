using DeepSeek.Contracts;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Preprocessing;
using DeepSeek.Preprocessing.Preparation;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults(ResourceNames.Preprocessing);
builder.AddServiceDatabase<PreprocessingDb>(ResourceNames.PreprocessingDatabase);
builder.AddPreprocessing();
builder.AddMessaging<PreprocessingDb>(ResourceNames.Messaging, bus =>
{
    bus.AddConsumer<JobEndedConsumer>(typeof(JobEndedConsumerDefinition));
});
builder.AddBlobStore();
builder.AddJobWorker<PrepareHandler>(JobKinds.Prepare);
var app = builder.Build();
app.MapServiceDefaults();
app.MapPreprocessingApi();
app.Run();
