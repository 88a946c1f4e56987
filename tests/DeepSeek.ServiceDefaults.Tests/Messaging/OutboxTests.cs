using System.Diagnostics;
using DeepSeek.ServiceDefaults.Messaging;
using DeepSeek.ServiceDefaults.Tests.Sample;
using DeepSeek.ServiceDefaults.Tests.Sample.Messages;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults.Tests.Messaging;

public sealed class OutboxTests : IAsyncLifetime
{
    private const string Sound = """{"noteId":"00000000-0000-0000-0000-000000000001","text":"lost"}""";

    private readonly TestDatabase _database = new();
    private readonly TestVhost _vhost = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        await _database.InitializeAsync();
        await _vhost.InitializeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _vhost.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task Message_OfACommittedTransaction_ArrivesUnderItsRowsId()
    {
        await using var service = await SampleService.StartAsync(_database, _vhost, consume: false);
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await bus.ListenAsync<NoteWritten>();
        var id = await PublishAsync(service, "kept");
        await bus.ReceiveAsync<NoteWritten>(message => message.Text == "kept");
        Assert.Equal(id, Assert.Single(bus.Received<NoteWritten>()).MessageId);
        await Eventually.True(async () => await OutboxAsync(service) == 0);
    }

    [Fact]
    public async Task Message_OfARolledBackTransaction_NeverLeaves()
    {
        await using var service = await SampleService.StartAsync(_database, _vhost, consume: false);
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await bus.ListenAsync<NoteWritten>();
        await service.WithDbAsync(async db =>
        {
            await using var transaction = await db.Database.BeginTransactionAsync(Token);
            db.Publish(new NoteWritten { NoteId = Guid.NewGuid(), Text = "undone" });
            await db.SaveChangesAsync(Token);
            await transaction.RollbackAsync(Token);
            return 0;
        });
        await PublishAsync(service, "after");
        await bus.ReceiveAsync<NoteWritten>(message => message.Text == "after");
        Assert.Equal(["after"], bus.Received<NoteWritten>().Select(envelope => envelope.Message.Text));
    }

    [Fact]
    public async Task Dispatcher_FailingBetweenConfirmationAndCommit_HasItsDuplicatesConsumedOnce()
    {
        await using var service = await SampleService.StartAsync(_database, _vhost);
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await bus.ListenAsync<NoteWritten>();
        // A sequence survives rollbacks, so the first two deletions of a confirmed message fail and the third succeeds.
        await _database.ScalarAsync<object>("""
            create sequence crashes;
            create function crash() returns trigger language plpgsql as $$
            begin
                if nextval('crashes') <= 2 then raise exception 'crash before commit'; end if;
                return old;
            end $$;
            create trigger crash before delete on outbox_messages for each row execute function crash();
            """);
        var id = await PublishAsync(service, "thrice");
        await Eventually.True(() => bus.Received<NoteWritten>().Count >= 3);
        Assert.All(bus.Received<NoteWritten>(), envelope => Assert.Equal(id, envelope.MessageId));
        await Eventually.True(async () => await OutboxAsync(service) == 0 && await service.EchoesAsync() == 1);
        await Eventually.True(async () => await _vhost.QueueLengthAsync("sample-note-written") == 0);
        Assert.Equal(1, await service.EchoesAsync());
    }

    [Fact]
    public async Task Message_DeliveredManyTimesAtOnce_IsConsumedOnce()
    {
        await using var service = await SampleService.StartAsync(_database, _vhost);
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        var message = new NoteWritten { NoteId = Guid.NewGuid(), Text = "again" };
        var id = Guid.NewGuid();
        using var probe = service.Anonymous();
        // Healthy means that the queue is bound; a message published before goes nowhere.
        await Eventually.True(async () => (await probe.GetAsync("/health")).IsSuccessStatusCode);
        await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => bus.PublishAsync(message, id)));
        var last = new NoteWritten { NoteId = Guid.NewGuid(), Text = "last" };
        await bus.PublishAsync(last);
        await Eventually.True(() => service.WithDbAsync(db => db.Echoes.AnyAsync(echo => echo.NoteId == last.NoteId)));
        await Eventually.True(async () => await _vhost.QueueLengthAsync("sample-note-written") == 0);
        Assert.Equal(2, await service.EchoesAsync());
    }

    [Fact]
    public async Task Dispatchers_OfTwoReplicas_SendEachMessageOnce()
    {
        const int messages = 300;
        await using var first = await SampleService.StartAsync(_database, _vhost, consume: false);
        await using var second = await SampleService.StartAsync(_database, _vhost, consume: false);
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await bus.ListenAsync<NoteWritten>();
        for (var i = 0; i < messages / 10; i++)
        {
            await first.WithDbAsync(async db =>
            {
                for (var j = 0; j < 10; j++)
                {
                    db.Publish(new NoteWritten { NoteId = Guid.NewGuid(), Text = "one of many" });
                }

                return await db.SaveChangesAsync(Token);
            });
        }

        await Eventually.True(async () => await OutboxAsync(first) == 0);
        await Eventually.True(() => bus.Received<NoteWritten>().Count == messages);
        Assert.Equal(messages, bus.Received<NoteWritten>().Select(envelope => envelope.MessageId).Distinct().Count());
    }

    [Fact]
    public async Task Message_ThatNobodyTakesYet_WaitsForItsSubscriber()
    {
        await using var service = await SampleService.StartAsync(_database, _vhost, consume: false);
        await PublishAsync(service, "early");
        await Eventually.True(() => service.WithDbAsync(db => db.Set<OutboxMessage>().AnyAsync(row => row.Attempts > 0)));
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await bus.ListenAsync<NoteWritten>();
        Assert.Equal("early", (await bus.ReceiveAsync<NoteWritten>()).Text);
    }

    [Theory]
    [InlineData("DeepSeek.ServiceDefaults.Tests.Sample.Messages.NoteWritten, DeepSeek.ServiceDefaults.Tests", "{\"text\":", null)] // no JSON
    [InlineData("Stray, DeepSeek.ServiceDefaults.Tests", "{}", null)] // a type that the bus takes for no message
    [InlineData("Mine, DeepSeek.ServiceDefaults.Tests", "{}", null)] // a type that throws when it is made
    [InlineData("DeepSeek.ServiceDefaults.Tests.Sample.Messages.NoteWritten, DeepSeek.ServiceDefaults.Tests", "{}", null)] // a member is missing
    [InlineData("DeepSeek.ServiceDefaults.Tests.Sample.Messages.NoteWritten, DeepSeek.ServiceDefaults.Tests", "null", null)]
    [InlineData("DeepSeek.ServiceDefaults.Tests.Sample.Messages.NoteWritten, DeepSeek.ServiceDefaults.Tests", Sound, "no such:// queue")]
    [InlineData("DeepSeek.ServiceDefaults.Tests.Sample.Messages.NoteWritten, DeepSeek.ServiceDefaults.Tests", Sound, "amq.reserved")] // refused by the broker, 403
    public async Task Message_ThatCannotBeSent_LetsThoseBehindItPass(string type, string body, string? queue)
    {
        await using var service = await SampleService.StartAsync(_database, _vhost, consume: false);
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await bus.ListenAsync<NoteWritten>();
        var broken = Guid.NewGuid();
        await service.WithDbAsync(async db =>
        {
            var now = DateTimeOffset.UtcNow.AddSeconds(-1);
            db.Add(new OutboxMessage { Id = broken, MessageType = type, Destination = queue, Body = body, CreatedAt = now, NextAttemptAt = now });
            return await db.SaveChangesAsync(Token);
        });

        await PublishAsync(service, "behind");

        await bus.ReceiveAsync<NoteWritten>(message => message.Text == "behind");
        await Eventually.True(() => service.WithDbAsync(db =>
            db.Set<OutboxMessage>().AnyAsync(row => row.Id == broken && row.Attempts > 1 && row.Error != null)));
    }

    // The broker closes the channel of whoever sends there, and never answers: 4 s for each attempt here.
    [Fact]
    public async Task Message_ThatTheBrokerNeverAnswers_HoldsUpOneOtherAnAttemptAtMost()
    {
        await using var service = await SampleService.StartAsync(_database, _vhost, consume: false, builder => builder.Configuration["Outbox:PublishTimeout"] = "00:00:04");
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await bus.ListenAsync<NoteWritten>();
        var broken = await service.WithDbAsync(async db =>
        {
            var id = db.Send("amq.reserved", new NoteWritten { NoteId = Guid.NewGuid(), Text = "refused" });
            await db.SaveChangesAsync(Token);
            return id;
        });
        Task<int> AttemptsAsync() => service.WithDbAsync(db => db.Set<OutboxMessage>().Where(row => row.Id == broken).Select(row => row.Attempts).SingleAsync());
        await Eventually.True(async () => await AttemptsAsync() == 1);

        var slow = new List<string>();
        for (var i = 0; await AttemptsAsync() < 3; i++)
        {
            var clock = Stopwatch.StartNew();
            await PublishAsync(service, $"{i}");
            await bus.ReceiveAsync<NoteWritten>(message => message.Text == $"{i}");
            if (clock.Elapsed > TimeSpan.FromSeconds(3))
            {
                slow.Add($"{i}: {clock.Elapsed}");
            }
        }

        // Two attempts: one message each may be under way on the very channel that is closed; all others pass meanwhile.
        Assert.True(slow.Count <= 2, string.Join(", ", slow));
    }

    [Fact]
    public async Task Command_SentToAQueueThatDoesNotExist_WaitsThere()
    {
        await using var service = await SampleService.StartAsync(_database, _vhost, consume: false);
        await service.WithDbAsync(async db =>
        {
            db.Send("deepseek-later", new NoteWritten { NoteId = Guid.NewGuid(), Text = "command" });
            return await db.SaveChangesAsync(Token);
        });
        await Eventually.True(async () => await OutboxAsync(service) == 0);
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await bus.ListenAsync<NoteWritten>("deepseek-later");
        Assert.Equal("command", (await bus.ReceiveAsync<NoteWritten>()).Text);
    }

    [Fact]
    public async Task Message_ThatCannotBeConsumed_EndsInTheErrorQueue()
    {
        await using var service = await SampleService.StartAsync(_database, _vhost);
        await PublishAsync(service, "poison");
        await Eventually.True(async () => await _vhost.QueueLengthAsync("sample-note-written_error") == 1);
        await PublishAsync(service, "sound");
        await Eventually.True(async () => await service.EchoesAsync() == 1);
    }

    [Fact]
    public async Task Service_WhoseConnectionsAllBreak_LosesNothing()
    {
        await using var service = await SampleService.StartAsync(_database, _vhost);
        await PublishAsync(service, "before");
        await Eventually.True(async () => await service.EchoesAsync() == 1);
        await _vhost.CloseConnectionsAsync();
        await _database.TerminateConnectionsAsync();
        // The first use of a pooled connection that the server has closed fails; a caller sees 503 and tries again.
        await Eventually.True(async () =>
        {
            try
            {
                await PublishAsync(service, "after");
                return true;
            }
            catch (Exception exception) when (Transients.Includes(exception))
            {
                return false;
            }
        });
        await Eventually.True(async () =>
        {
            try
            {
                return await service.EchoesAsync() == 2;
            }
            catch (Exception exception) when (Transients.Includes(exception))
            {
                return false;
            }
        }, TimeSpan.FromSeconds(60));
    }

    private static Task<Guid> PublishAsync(SampleService service, string text) => service.WithDbAsync(async db =>
    {
        var id = db.Publish(new NoteWritten { NoteId = Guid.NewGuid(), Text = text });
        await db.SaveChangesAsync(Token);
        return id;
    });

    private static Task<int> OutboxAsync(SampleService service) => service.WithDbAsync(db => db.Set<OutboxMessage>().CountAsync());
}
