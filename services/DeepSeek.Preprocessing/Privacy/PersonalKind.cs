namespace DeepSeek.Preprocessing.Privacy;

internal enum PersonalKind { Email, Phone, Card, Iban, NationalId, IpAddress, PersonName, Address, BirthDate }

internal static class PersonalKinds
{
    public static readonly int Count = Enum.GetValues<PersonalKind>().Length;

    public static string Words(this PersonalKind kind) => kind switch
    {
        PersonalKind.Email => "e-mail addresses",
        PersonalKind.Phone => "phone numbers",
        PersonalKind.Card => "payment card numbers",
        PersonalKind.Iban => "bank accounts",
        PersonalKind.NationalId => "national or tax ID numbers",
        PersonalKind.IpAddress => "IP addresses",
        PersonalKind.PersonName => "names of persons",
        PersonalKind.Address => "postal addresses",
        _ => "dates of birth",
    };

    /// <summary>What stands in the place of a redacted piece of text.</summary>
    public static string Placeholder(this PersonalKind kind) => kind switch
    {
        PersonalKind.Email => "[e-mail]",
        PersonalKind.Phone => "[phone]",
        PersonalKind.Card => "[card]",
        PersonalKind.Iban => "[account]",
        PersonalKind.NationalId => "[id]",
        PersonalKind.IpAddress => "[ip]",
        PersonalKind.PersonName => "[name]",
        PersonalKind.Address => "[address]",
        _ => "[date]",
    };
}
