import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Base64;
import java.util.HexFormat;
import java.util.Set;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * 推送一批办件事件 · Pushes a batch of case events. Java 17+, nothing to install.
 *
 * <p>java Push.java https://接收地址/v1/senders/发送方/events 密钥文件 事件.json
 */
public class Push {
  private static final Set<Integer> AGAIN = Set.of(429, 500, 502, 503, 504);
  private static final int ATTEMPTS = 10;

  public static void main(String[] arguments) throws Exception {
    String secret = Files.readString(Path.of(arguments[1])).trim();
    HttpResponse<String> answer = push(URI.create(arguments[0]), secret, Files.readAllBytes(Path.of(arguments[2])));
    System.out.println(answer.body());
    System.exit(answer.statusCode() == 202 ? 0 : 1);
  }

  /** The final answer. Not known to be stored: the same bytes again, signed anew, with the same id. */
  static HttpResponse<String> push(URI address, String secret, byte[] body) throws Exception {
    byte[] key = Base64.getDecoder().decode(secret.replaceFirst("^whsec_", ""));
    String id = "msg_" + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body)).substring(0, 32);
    // HTTP/1.1: over plain http this client would else ask for HTTP/2, and the receiver would never see the body.
    HttpClient client =
        HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(10)).build();
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
      String timestamp = String.valueOf(System.currentTimeMillis() / 1000);
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(key, "HmacSHA256"));
      mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
      HttpRequest request =
          HttpRequest.newBuilder(address)
              .timeout(Duration.ofSeconds(30))
              .header("Content-Type", "application/cloudevents-batch+json")
              .header("webhook-id", id)
              .header("webhook-timestamp", timestamp)
              .header("webhook-signature", "v1," + Base64.getEncoder().encodeToString(mac.doFinal(body)))
              .POST(HttpRequest.BodyPublishers.ofByteArray(body))
              .build();
      long wait = Math.min(500L << attempt, 30_000L);
      try {
        HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        if (!AGAIN.contains(answer.statusCode())) {
          return answer;
        }
        wait = answer.headers().firstValue("Retry-After").filter(asked -> asked.matches("\\d{1,4}"))
            .map(asked -> Long.parseLong(asked) * 1000).orElse(wait);
      } catch (IOException unreachable) {
        System.err.println(unreachable + ": again in " + wait + " ms");
      }
      Thread.sleep(wait);
    }
    throw new IOException("no answer after " + ATTEMPTS + " attempts: run it again later, with the same file");
  }
}
