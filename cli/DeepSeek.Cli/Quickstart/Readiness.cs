namespace DeepSeek.Cli.Quickstart;

/// <summary>Waits until the gateway answers healthy; gives up silently, since the first real call tells better what is wrong.</summary>
internal static class Readiness
{
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(250);

    /// <param name="gateway">Where it is, asked each time: a platform that is just starting says it when it knows it.</param>
    /// <param name="patience">Ends the wait.</param>
    public static async Task WaitAsync(Func<Uri> gateway, CancellationToken patience)
    {
        using var http = new HttpClient();
        while (!patience.IsCancellationRequested)
        {
            try
            {
                using var response = await http.GetAsync(new Uri(gateway(), "/health"), patience);
                if (response.IsSuccessStatusCode)
                {
                    return;
                }

                await Task.Delay(s_interval, patience);
            }
            catch (HttpRequestException)
            {
                await Task.Delay(s_interval, CancellationToken.None);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }
}
