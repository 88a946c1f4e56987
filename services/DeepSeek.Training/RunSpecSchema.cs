using DeepSeek.Contracts.Training;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace DeepSeek.Training;

/// <summary>Describes in OpenAPI the members of a run spec that have a form of their own.</summary>
internal static class RunSpecSchema
{
    public static void AddRunSpecSchema(this IServiceCollection services) => services.Configure<OpenApiOptions>("v1", options =>
        options.AddSchemaTransformer((schema, context, _) =>
        {
            if (context.JsonTypeInfo.Type == typeof(Checkpointing))
            {
                schema.Description = "off; on: every block is computed again in the backward pass; or the MiB that activations may take.";
                schema.OneOf = [Names("off", "on"), new OpenApiSchema { Type = JsonSchemaType.Integer, Minimum = "1", Maximum = "16777216" }];
            }
            else if (context.JsonTypeInfo.Type == typeof(ClassWeights))
            {
                schema.OneOf =
                [
                    Names("none", "balanced"),
                    new OpenApiSchema { Type = JsonSchemaType.Object, AdditionalProperties = new OpenApiSchema { Type = JsonSchemaType.Number } },
                ];
            }
            return Task.CompletedTask;
        }));

    private static OpenApiSchema Names(params string[] names) => new() { Type = JsonSchemaType.String, Enum = [.. names] };
}
