using DeepSeek.Contracts;
using DeepSeek.Registry;
using DeepSeek.Registry.Audit;
using DeepSeek.Registry.Datasets;
using DeepSeek.Registry.Models;
using DeepSeek.ServiceDefaults;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults("registry");
builder.AddServiceDatabase<RegistryDb>(ResourceNames.RegistryDatabase);
builder.AddMessaging<RegistryDb>(ResourceNames.Messaging, bus =>
{
    bus.AddConsumer<DatasetPreparedConsumer>();
    bus.AddConsumer<DatasetDeletedConsumer>();
    bus.AddConsumer<ModelTrainedConsumer>();
    bus.AddConsumer<ModelCompressedConsumer>();
    bus.AddConsumer<AuditRecordedConsumer>(typeof(AuditRecordedConsumerDefinition));
});
builder.AddRegistry();
var app = builder.Build();
app.MapServiceDefaults();
app.MapRegistryApi();
app.Run();
