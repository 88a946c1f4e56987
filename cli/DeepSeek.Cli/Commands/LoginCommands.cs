using System.CommandLine;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek login</c> and <c>deepseek whoami</c>.</summary>
internal static class LoginCommands
{
    public static void AddTo(Command root)
    {
        var login = new Command("login", "Check a key and keep it for later commands.");
        login.RunsGuarded(async (arguments, cancelled) =>
        {
            var resolved = GlobalOptions.LoginOf(arguments);
            if (resolved.Key is null)
            {
                Console.Error.WriteLine($"Give a key: deepseek login --gateway {resolved.Gateway} --key dsk_… (the platform printed the first one when it first started).");
                return ExitCodes.Usage;
            }

            return await CommandRunner.RunAsync(arguments, cancelled, async context =>
            {
                var identity = await context.Client.Keys.WhoAmIAsync(cancelled);
                resolved.Store();
                context.Print.Item(identity, ("logged in as", identity.Name), ("role", identity.Role), ("gateway", resolved.Gateway));
            });
        });

        var whoAmI = new Command("whoami", "Tell whose key is in use.");
        whoAmI.Runs(async context =>
        {
            var identity = await context.Client.Keys.WhoAmIAsync(context.Cancelled);
            context.Print.Item(identity, ("name", identity.Name), ("role", identity.Role));
        });
        root.Add(login);
        root.Add(whoAmI);
    }
}
