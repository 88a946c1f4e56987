using DeepSeek.Preprocessing.Privacy;
using DeepSeek.Preprocessing.Uploads;
using DeepSeek.ServiceDefaults;
using Microsoft.Extensions.Options;

namespace DeepSeek.Preprocessing;

internal static class PreprocessingServices
{
    public static void AddPreprocessing(this WebApplicationBuilder builder)
    {
        var data = builder.DataDirectory("preprocessing");
        builder.Services.AddOptions<PreprocessingOptions>().BindConfiguration(PreprocessingOptions.Section).ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddSingleton(services => new Spool(data, services.GetRequiredService<IOptions<PreprocessingOptions>>()));
        builder.Services.AddSingleton(services => MaskingKey.Open(services.GetRequiredService<Spool>().MaskingKey));
        builder.Services.AddScoped<UploadHandler>();
        builder.Services.AddHostedService<SpoolSweeper>();
    }
}
