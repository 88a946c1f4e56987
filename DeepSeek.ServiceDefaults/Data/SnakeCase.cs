using System.Text;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;

namespace DeepSeek.ServiceDefaults.Data;

/// <summary>Runs after the context's own OnModelCreating: outbox tables, then snake_case for every name not set by hand.</summary>
internal sealed class ServiceModelCustomizer(ModelCustomizerDependencies dependencies) : RelationalModelCustomizer(dependencies)
{
    public override void Customize(ModelBuilder modelBuilder, DbContext context)
    {
        base.Customize(modelBuilder, context);
        modelBuilder.AddOutbox();
        modelBuilder.UseSnakeCase();
    }
}

public static class SnakeCase
{
    /// <summary>Tables and columns in snake_case, except those named explicitly.</summary>
    public static ModelBuilder UseSnakeCase(this ModelBuilder modelBuilder)
    {
        foreach (var entity in modelBuilder.Model.GetEntityTypes())
        {
            if (entity.GetTableName() is { } table && !IsExplicit(entity, RelationalAnnotationNames.TableName))
            {
                entity.SetTableName(Of(table));
            }

            foreach (var property in entity.GetProperties().Where(property => !IsExplicit(property, RelationalAnnotationNames.ColumnName)))
            {
                property.SetColumnName(Of(property.GetColumnName()));
            }
        }

        return modelBuilder;
    }

    internal static string Of(string name)
    {
        var text = new StringBuilder(name.Length + 8);
        for (var i = 0; i < name.Length; i++)
        {
            var startsWord = i > 0 && char.IsUpper(name[i]) && name[i - 1] != '_'
                && (!char.IsUpper(name[i - 1]) || (i + 1 < name.Length && char.IsLower(name[i + 1])));
            if (startsWord)
            {
                text.Append('_');
            }

            text.Append(char.ToLowerInvariant(name[i]));
        }

        return text.ToString();
    }

    private static bool IsExplicit(IMutableAnnotatable annotatable, string annotation) =>
        annotatable.FindAnnotation(annotation) is IConventionAnnotation found
        && found.GetConfigurationSource() == ConfigurationSource.Explicit;
}
