using System.Diagnostics;

namespace DeepSeek.Platform.Tests;

/// <summary>
/// kill -9 of one part at a random moment of the pipeline (the seed is in the test's name): the part comes back, every accepted job ends
/// exactly once, nothing is lost or doubled, and the audit log holds. <c>DEEPSEEK_TEST_FAULT_SEED</c>, added to every seed, chooses other moments.
/// </summary>
[Collection(PlatformCollection.Name)]
public sealed class FaultTests(PlatformHost platform)
{
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(4);
    private static readonly int s_shift = int.TryParse(Environment.GetEnvironmentVariable("DEEPSEEK_TEST_FAULT_SEED"), out var shift) ? shift : 0;

    [Theory]
    [InlineData("preprocessing", 1, 2)]
    [InlineData("training", 2, 6)]
    [InlineData("trainer", 3, 0)]
    [InlineData("registry", 4, 8)]
    [InlineData("compression", 5, 9)]
    [InlineData("explainability", 6, 10)]
    [InlineData("inference", 7, 6)]
    [InlineData("scheduling", 8, 8)]
    [InlineData("gateway", 9, 8)]
    [InlineData("messaging", 10, 6)]
    [InlineData("postgres", 11, 6)]
    public async Task Kill_AtARandomMoment_LosesAndDoublesNothing(string victim, int seed, int withinSeconds)
    {
        seed += s_shift;
        await platform.HealthyAsync();
        using var client = await platform.ClientAsync("operator");
        var pipeline = new Pipeline(client, $"fault-{victim}", seed);
        using var limit = new CancellationTokenSource(s_limit);
        var running = pipeline.RunAsync(limit.Token);
        int[] killed = [];
        if (victim == "trainer")
        {
            await KillTrainerAsync(limit.Token);
        }
        else
        {
            await Task.WhenAny(running, Task.Delay(TimeSpan.FromSeconds(new Random(seed).NextDouble() * withinSeconds), limit.Token));
            killed = await platform.ProcessesAsync(victim);
            Assert.NotEmpty(killed);
            Array.ForEach(killed, Kill);
        }

        try
        {
            await running;
        }
        catch (Exception fault)
        {
            throw new InvalidOperationException($"The pipeline broke after {victim} was killed (seed {seed}): {fault.Message}\n{platform.LastLines()}", fault);
        }

        await platform.HealthyAsync(killed);
        foreach (var job in pipeline.Jobs)
        {
            var ends = 0;
            await foreach (var item in client.Jobs.WatchAsync(job, limit.Token))
            {
                ends += item.Type == "state" && item.Data.GetProperty("state").GetString() is "succeeded" or "failed" or "cancelled" ? 1 : 0;
            }

            Assert.Equal(1, ends);
        }

        // The client repeats what got no reply: that, too, must not have made anything twice.
        await OnceAsync(client.Datasets.ListAsync(limit.Token), dataset => dataset.Name == pipeline.Name, dataset => dataset.Id, pipeline.Dataset);
        await OnceAsync(client.Runs.ListAsync(limit.Token), run => run.ModelName == pipeline.Name, run => run.Id, pipeline.Run);
        await OnceAsync(client.Compressions.ListAsync(limit.Token), compression => compression.ModelName == pipeline.Name, compression => compression.Id, pipeline.Compression);
        await OnceAsync(client.Explanations.ListAsync(limit.Token), explanation => explanation.ModelName == pipeline.Name, explanation => explanation.Id, pipeline.Explanation);
        await OnceAsync(client.Jobs.ListAsync(cancellationToken: limit.Token), job => job.Name.Contains(pipeline.Name, StringComparison.Ordinal), job => job.Id, [.. pipeline.Jobs]);
        await OnceAsync(client.Models.ListAsync(cancellationToken: limit.Token), model => model.Name == pipeline.Name, model => model.Name, pipeline.Name);

        var versions = await pipeline.VersionsAsync();
        Assert.Equal([pipeline.Run, pipeline.Compression], versions.OrderBy(version => version.Version).Select(version => version.SourceId!.Value));
        Assert.Equal([1, 2], versions.Select(version => version.Version).Order());
        Assert.Equal("ready", (await client.Datasets.GetAsync(pipeline.Dataset)).State);
        Assert.Equal("succeeded", (await client.Explanations.GetAsync(pipeline.Explanation)).State);
        var audit = await client.Audit.VerifyAsync();
        Assert.True(audit.Valid, $"{audit.FirstBroken}");
    }

    private static async Task OnceAsync<T, TKey>(IAsyncEnumerable<T> all, Func<T, bool> ours, Func<T, TKey> key, params TKey[] expected) =>
        Assert.Equal(expected.Order(), (await all.Where(ours).Select(key).ToListAsync()).Order());

    private async Task KillTrainerAsync(CancellationToken cancelled)
    {
        var training = await platform.ProcessesAsync("training");
        while (true)
        {
            foreach (var process in Process.GetProcessesByName("dotnet"))
            {
                using (process)
                {
                    if (CommandLine(process.Id).Contains("DeepSeek.Trainer.dll", StringComparison.Ordinal) && Ancestors(process.Id).Intersect(training).Any())
                    {
                        Kill(process.Id);
                        return;
                    }
                }
            }

            await Task.Delay(20, cancelled);
        }
    }

    private static string CommandLine(int pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/cmdline");
        }
        catch (IOException)
        {
            return "";
        }
    }

    private static IEnumerable<int> Ancestors(int pid)
    {
        while (pid > 1)
        {
            string stat;
            try
            {
                stat = File.ReadAllText($"/proc/{pid}/stat");
            }
            catch (IOException)
            {
                yield break;
            }

            pid = int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
            yield return pid;
        }
    }

    private static void Kill(int pid)
    {
        using var kill = Process.Start("kill", ["-KILL", $"{pid}"]);
        kill.WaitForExit();
    }
}
