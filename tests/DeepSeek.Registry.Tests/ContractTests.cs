using DeepSeek.Contracts.Compression;
using DeepSeek.Contracts.Datasets;
using DeepSeek.Contracts.Registry;
using DeepSeek.Contracts.Training;
using MassTransit;

namespace DeepSeek.Registry.Tests;

public sealed class ContractTests
{
    /// <summary>Other processes, and messages that wait in queues, know a type by this name: it never changes.</summary>
    [Theory]
    [InlineData(typeof(DatasetPrepared), "urn:message:DeepSeek.Contracts.Datasets:DatasetPrepared")]
    [InlineData(typeof(DatasetDeleted), "urn:message:DeepSeek.Contracts.Datasets:DatasetDeleted")]
    [InlineData(typeof(ModelTrained), "urn:message:DeepSeek.Contracts.Training:ModelTrained")]
    [InlineData(typeof(ModelCompressed), "urn:message:DeepSeek.Contracts.Compression:ModelCompressed")]
    [InlineData(typeof(ModelVersionRegistered), "urn:message:DeepSeek.Contracts.Registry:ModelVersionRegistered")]
    [InlineData(typeof(ModelVersionDeleted), "urn:message:DeepSeek.Contracts.Registry:ModelVersionDeleted")]
    [InlineData(typeof(AliasMoved), "urn:message:DeepSeek.Contracts.Registry:AliasMoved")]
    [InlineData(typeof(AuditRecorded), "urn:message:DeepSeek.Contracts.Registry:AuditRecorded")]
    public void Message_Urn_IsFrozen(Type message, string urn) => Assert.Equal(urn, MessageUrn.ForTypeString(message));
}
