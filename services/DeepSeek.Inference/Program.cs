using DeepSeek.Contracts;
using DeepSeek.Inference;
using DeepSeek.Inference.Data;
using DeepSeek.Inference.Deployments;
using DeepSeek.ServiceDefaults;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults(ResourceNames.Inference);
builder.AddServiceDatabase<InferenceDb>(ResourceNames.InferenceDatabase);
builder.AddMessaging<InferenceDb>(ResourceNames.Messaging, bus => bus.AddServingChanges());
builder.AddBlobStore();
builder.AddInference();

var app = builder.Build();
app.MapServiceDefaults();
app.MapInferenceApi();
app.MapOpenInferenceApi();
app.Run();
