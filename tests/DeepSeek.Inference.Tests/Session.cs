using DeepSeek.Inference.Serving;

namespace DeepSeek.Inference.Tests;

/// <summary>A model in ONNX Runtime, straight from its bytes.</summary>
internal static class Session
{
    public static OnnxSession Of(byte[] onnx)
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, onnx);
            return OnnxSession.Load(path, threads: 1);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
