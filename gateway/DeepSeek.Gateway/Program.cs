using DeepSeek.Contracts;
using DeepSeek.Gateway;
using DeepSeek.Gateway.Data;
using DeepSeek.ServiceDefaults;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults(ResourceNames.Gateway);
builder.AddServiceDatabase<GatewayDb>(ResourceNames.GatewayDatabase);
builder.AddMessaging<GatewayDb>(ResourceNames.Messaging, _ => { });
builder.AddGateway();

var app = builder.Build();
app.UseGatewayBorder();
app.MapServiceDefaults(afterAuthentication: defaults => defaults.UseRateLimit());
app.UseGatewayLimits();
app.MapGatewayApi();
app.Run();
