using DeepSeek.Compression;
using DeepSeek.Compression.Compressions;
using DeepSeek.Contracts;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using MassTransit;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults(ResourceNames.Compression);
builder.AddServiceDatabase<CompressionDb>(ResourceNames.CompressionDatabase);
builder.AddMessaging<CompressionDb>(ResourceNames.Messaging, bus => bus.AddConsumer<JobEndedConsumer>());
builder.AddBlobStore();
builder.AddServiceClient<RegistryClient>(ResourceNames.Registry);
builder.AddJobWorker<CompressHandler>(JobKinds.Compress);
builder.AddCompression();

var app = builder.Build();
app.MapServiceDefaults();
app.MapCompressionApi();
app.Run();
