using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Aspire.Hosting;

/// <summary>The definitions a broker loads at each start: its user with the current password, and the default virtual host.</summary>
internal static class RabbitMQDefinitions
{
    public static string Write(string userName, string password) => JsonSerializer.Serialize(new
    {
        users = new[] { new { name = userName, password_hash = Hash(password), hashing_algorithm = "rabbit_password_hashing_sha256", tags = "administrator" } },
        vhosts = new[] { new { name = "/" } },
        permissions = new[] { new { user = userName, vhost = "/", configure = ".*", write = ".*", read = ".*" } },
    });

    // RabbitMQ's salted form: base64(salt, sha256(salt, password)) with a salt of four bytes.
    private static string Hash(string password)
    {
        var salt = RandomNumberGenerator.GetBytes(4);
        return Convert.ToBase64String([.. salt, .. SHA256.HashData([.. salt, .. Encoding.UTF8.GetBytes(password)])]);
    }
}
