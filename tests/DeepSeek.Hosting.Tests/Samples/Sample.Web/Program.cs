using System.Diagnostics;

var builder = WebApplication.CreateSlimBuilder(args);
var app = builder.Build();
app.MapGet("/health", () => "Healthy");
app.MapGet("/pid", () => Environment.ProcessId);
app.MapGet("/environment/{name}", (string name) => Environment.GetEnvironmentVariable(name));
app.MapPost("/crash", () => Process.GetCurrentProcess().Kill());

// A grandchild in a session of its own, as a trainer or a daemon would be.
using var child = args.Contains("--child") ? Process.Start("setsid", ["sleep", "600"]) : null;
app.Run();
