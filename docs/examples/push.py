"""推送一批办件事件 · Pushes a batch of case events. Python 3.9+, nothing to install.

python3 push.py https://接收地址/v1/senders/发送方/events 密钥文件 事件.json
"""

import base64
import hashlib
import hmac
import sys
import time
import urllib.error
import urllib.request

AGAIN = {429, 500, 502, 503, 504}


def push(url: str, secret: str, body: bytes, attempts: int = 10) -> tuple[int, str]:
    """Status and body of the final answer. Not known to be stored: the same bytes again, signed anew, with the same id."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    message_id = "msg_" + hashlib.sha256(body).hexdigest()[:32]
    for attempt in range(attempts):
        timestamp = str(int(time.time()))
        signed = f"{message_id}.{timestamp}.".encode() + body
        headers = {
            "Content-Type": "application/cloudevents-batch+json",
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode(),
        }
        wait = min(0.5 * 2**attempt, 30)
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            if error.code not in AGAIN:
                return error.code, error.read().decode()
            asked = error.headers.get("Retry-After", "")
            wait = int(asked) if asked.isdigit() else wait
        except OSError as error:
            print(f"{error}: again in {wait} s", file=sys.stderr)
        time.sleep(wait)
    raise SystemExit(f"no answer after {attempts} attempts: run it again later, with the same file")


if __name__ == "__main__":
    address, secret_file, events_file = sys.argv[1:4]
    with open(secret_file, encoding="utf-8") as file:
        own_secret = file.read().strip()
    with open(events_file, "rb") as file:
        status, text = push(address, own_secret, file.read())
    print(text)
    sys.exit(0 if status == 202 else 1)
