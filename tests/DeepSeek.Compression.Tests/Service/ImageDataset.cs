using DeepSeek.Compression.Tests.Nets;
using DeepSeek.Data;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Compression.Tests.Service;

/// <summary>Fashion-MNIST as Preprocessing stores images: shards of raw uint8 blocks, no sample.</summary>
public static class ImageDataset
{
    public static async Task<string> StoreAsync(BlobClient blobs, FashionNet net)
    {
        var manifest = new DatasetManifest
        {
            Id = Guid.CreateVersion7(),
            Name = "fashion",
            Kind = "image",
            Task = "classification",
            Target = "label",
            Classes = FashionMnist.Classes,
            Rows = net.Train.Count + net.Test.Count,
            Inputs = [new("image", "image", "UINT8", [-1, 1, 28, 28])],
            FeatureShape = [1, 28, 28],
            Splits = new Dictionary<string, DatasetSplit>
            {
                ["train"] = await SplitAsync(blobs, net.Train),
                ["test"] = await SplitAsync(blobs, net.Test),
            },
        };
        return (await blobs.UploadAsync(manifest.ToBytes())).Sha256;
    }

    private static async Task<DatasetSplit> SplitAsync(BlobClient blobs, FashionMnist data)
    {
        const int Block = 500;
        var tar = new MemoryStream();
        using (var writer = new ShardWriter(tar))
        {
            for (var row = 0; row < data.Count; row += Block)
            {
                writer.Write(new ShardBlock(
                    NpyArray.Of<byte>(data.Pixels.AsSpan(row * FashionMnist.PixelsPerImage, Block * FashionMnist.PixelsPerImage), Block, 1, 28, 28),
                    NpyArray.Of<long>([.. data.Labels.AsSpan(row, Block).ToArray().Select(l => (long)l)], Block)));
            }
        }
        var shard = await blobs.UploadAsync(tar.ToArray());
        return new DatasetSplit(data.Count, [new DatasetShard(shard.Sha256, shard.Bytes, data.Count)], null);
    }
}
