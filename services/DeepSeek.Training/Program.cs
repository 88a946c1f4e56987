using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Training;
using DeepSeek.Training.Runs;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults("training");
builder.AddServiceDatabase<TrainingDb>("trainingdb");
builder.AddBlobStore();
builder.AddTraining();
builder.AddJobWorker<TrainHandler>(JobKinds.Train);
var app = builder.Build();
app.MapServiceDefaults();
app.MapRunsApi();
app.Run();
