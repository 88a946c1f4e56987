using DeepSeek.Contracts;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Explainability;
using DeepSeek.Explainability.Explanations;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using MassTransit;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults("explainability");
builder.AddServiceDatabase<ExplainabilityDb>(ResourceNames.ExplainabilityDatabase);
builder.AddMessaging<ExplainabilityDb>(ResourceNames.Messaging, bus => bus.AddConsumer<JobEndedConsumer>());
builder.AddBlobStore();
builder.AddServiceClient<RegistryClient>(ResourceNames.Registry);
builder.AddServiceClient<InferenceClient>(ResourceNames.Inference);
builder.AddJobWorker<ExplainHandler>(JobKinds.Explain);
builder.Services.AddScoped<ModelDirectory>();
builder.Services.AddSingleton<ExplanationRunner>();

var app = builder.Build();
app.MapServiceDefaults();
app.MapExplainabilityApi();
app.Run();
