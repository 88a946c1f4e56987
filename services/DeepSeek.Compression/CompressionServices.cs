using DeepSeek.Compression.Compressions;

namespace DeepSeek.Compression;

public static class CompressionServices
{
    public static WebApplicationBuilder AddCompression(this WebApplicationBuilder builder)
    {
        builder.Services.AddOptions<CompressionOptions>().BindConfiguration(CompressionOptions.Section).ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddScoped<CompressionRunner>();
        return builder;
    }
}
