namespace Aspire.Hosting.ApplicationModel;

/// <summary>What a parameter is when nothing is configured.</summary>
public abstract class ParameterDefault
{
    /// <summary>Writes the default into the manifest.</summary>
    public abstract void WriteToManifest(Publishing.ManifestPublishingContext context);

    /// <summary>Gives the default.</summary>
    public abstract string GetDefaultValue();
}

/// <summary>A random default.</summary>
public sealed class GenerateParameterDefault : ParameterDefault
{
    /// <summary>Least number of characters.</summary>
    public int MinLength { get; set; }

    /// <summary>Whether it has lower-case letters.</summary>
    public bool Lower { get; set; } = true;

    /// <summary>Whether it has upper-case letters.</summary>
    public bool Upper { get; set; } = true;

    /// <summary>Whether it has digits.</summary>
    public bool Numeric { get; set; } = true;

    /// <summary>Whether it has special characters.</summary>
    public bool Special { get; set; } = true;

    /// <summary>Least number of lower-case letters.</summary>
    public int MinLower { get; set; }

    /// <summary>Least number of upper-case letters.</summary>
    public int MinUpper { get; set; }

    /// <summary>Least number of digits.</summary>
    public int MinNumeric { get; set; }

    /// <summary>Least number of special characters.</summary>
    public int MinSpecial { get; set; }

    /// <inheritdoc />
    public override void WriteToManifest(Publishing.ManifestPublishingContext context)
    {
        var writer = context.Writer;
        writer.WriteStartObject("generate");
        writer.WriteNumber("minLength", MinLength);
        WriteUnlessTrue("lower", Lower);
        WriteUnlessTrue("upper", Upper);
        WriteUnlessTrue("numeric", Numeric);
        WriteUnlessTrue("special", Special);
        WriteUnlessZero("minLower", MinLower);
        WriteUnlessZero("minUpper", MinUpper);
        WriteUnlessZero("minNumeric", MinNumeric);
        WriteUnlessZero("minSpecial", MinSpecial);
        writer.WriteEndObject();

        void WriteUnlessTrue(string name, bool value)
        {
            if (!value)
            {
                writer.WriteBoolean(name, value);
            }
        }

        void WriteUnlessZero(string name, int value)
        {
            if (value != 0)
            {
                writer.WriteNumber(name, value);
            }
        }
    }

    /// <inheritdoc />
    public override string GetDefaultValue() => RandomPassword.Generate(this);
}

/// <summary>A fixed default.</summary>
internal sealed class ConstantParameterDefault(Func<string> valueGetter) : ParameterDefault
{
    public override void WriteToManifest(Publishing.ManifestPublishingContext context) => context.Writer.WriteString("value", valueGetter());

    public override string GetDefaultValue() => valueGetter();
}

/// <summary>A default that is made once and then kept with the application's data.</summary>
internal sealed class KeptParameterDefault(ParameterDefault inner, string name, Func<KeptParameters> store) : ParameterDefault
{
    public override void WriteToManifest(Publishing.ManifestPublishingContext context) => inner.WriteToManifest(context);

    public override string GetDefaultValue() => store().GetOrAdd(name, inner.GetDefaultValue);
}
