using System.CommandLine;
using System.Net;
using System.Text.Json;
using DeepSeek.Cli.Output;
using DeepSeek.Client;

namespace DeepSeek.Cli;

/// <summary>A command's surroundings: the client and where to print.</summary>
internal sealed record CommandContext(DeepSeekClient Client, IPrinter Print, ParseResult Arguments, CancellationToken Cancelled);

/// <summary>The user asked for something that cannot be: exit code <see cref="ExitCodes.Usage"/>.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>The platform's answer is not what the command promises: exit code <see cref="ExitCodes.Failed"/>.</summary>
internal sealed class CommandFailedException(string message) : Exception(message);

/// <summary>Runs a command's body with a client, and turns faults into one line and an exit code.</summary>
internal static class CommandRunner
{
    public static void Runs(this Command command, Func<CommandContext, Task> body) => command.SetAction((arguments, cancelled) => RunAsync(arguments, cancelled, body));

    /// <summary>The same for a command that looks at its login before it has a client: what is wrong with that is told in one line, too.</summary>
    public static void RunsGuarded(this Command command, Func<ParseResult, CancellationToken, Task<int>> body) => command.SetAction(async (arguments, cancelled) =>
    {
        try
        {
            return await body(arguments, cancelled);
        }
        catch (UsageException fault)
        {
            return Refuse(ExitCodes.Usage, fault.Message);
        }
    });

    public static int RefuseUsage(ParseResult parsed)
    {
        foreach (var error in parsed.Errors)
        {
            Console.Error.WriteLine(error.Message);
        }

        Console.Error.WriteLine("Add --help to see what the command takes.");
        return ExitCodes.Usage;
    }

    public static async Task<int> RunAsync(ParseResult arguments, CancellationToken cancelled, Func<CommandContext, Task> body)
    {
        IPrinter print = arguments.GetValue(GlobalOptions.Json) ? new JsonPrinter(Console.Out) : new TextPrinter();
        Login login;
        try
        {
            login = GlobalOptions.LoginOf(arguments);
        }
        catch (UsageException fault)
        {
            return Refuse(ExitCodes.Usage, fault.Message);
        }

        try
        {
            using var client = new DeepSeekClient(login.Gateway, login.Key ?? "none");
            if (login.Key is null && arguments.CommandResult.Command.Name is not ("login" or "quickstart" or Commands.DeviceCommands.Name))
            {
                return Refuse(ExitCodes.NotAllowed, $"No API key for {login.Gateway}. Log in first: deepseek login --gateway {login.Gateway} --key dsk_…");
            }

            await body(new CommandContext(client, print, arguments, cancelled));
            return ExitCodes.Success;
        }
        catch (OperationCanceledException) when (cancelled.IsCancellationRequested)
        {
            return ExitCodes.Interrupted;
        }
        catch (UsageException fault)
        {
            return Refuse(ExitCodes.Usage, fault.Message);
        }
        catch (Exception fault) when (fault is CommandFailedException or TimeoutException)
        {
            return Refuse(ExitCodes.Failed, fault.Message);
        }
        catch (DeepSeekApiException fault)
        {
            return Refuse(ExitCode(fault.Status), [fault.Message, .. fault.Errors.SelectMany(field => field.Value.Select(text => $"  {field.Key}: {text}")).Where(line => !fault.Message.Contains(line.Trim()))]);
        }
        catch (HttpRequestException fault)
        {
            return Refuse(ExitCodes.Unreachable, $"The gateway at {login.Gateway} cannot be reached ({fault.Message}). Start the platform with ./run, or name another one with --gateway.");
        }
        catch (JsonException fault)
        {
            return Refuse(ExitCodes.Unreachable, $"What answers at {login.Gateway} is no gateway of this platform ({fault.Message}). Name the right one with --gateway.");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            return Refuse(ExitCodes.Usage, fault.Message);
        }
    }

    private static int ExitCode(HttpStatusCode status) => status switch
    {
        HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => ExitCodes.NotAllowed,
        HttpStatusCode.NotFound => ExitCodes.NotFound,
        >= HttpStatusCode.BadRequest and < HttpStatusCode.InternalServerError => ExitCodes.Usage,
        _ => ExitCodes.Failed,
    };

    private static int Refuse(int code, params string[] lines)
    {
        foreach (var line in lines)
        {
            Console.Error.WriteLine(line);
        }

        return code;
    }
}
