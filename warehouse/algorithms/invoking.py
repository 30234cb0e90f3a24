"""Asks an image of the invoke contract: a program that runs inside the network of its container.

In: lines on standard input, ``health SECONDS`` and ``invoke SECONDS``. Out: a line for each: the
status of HTTP, ``timeout`` or ``refused``. A container has no network but its own loopback, so who
asks it joins that; nothing is opened on the machine. Runs without this library.
"""

import http.client
import sys
import time

HOST, PORT = "127.0.0.1", 4743
HEALTH_SECONDS = 10


def health(seconds: float) -> str:
    """Wait until it is ready."""
    end = time.monotonic() + seconds
    status = "timeout"
    while time.monotonic() < end:
        status = ask("GET", "/health", min(HEALTH_SECONDS, max(0.1, end - time.monotonic())))
        if status == "200" or status.startswith("3"):
            return status
        time.sleep(0.05)
    return status


def ask(method: str, path: str, seconds: float) -> str:
    """Return the status of one request."""
    connection = http.client.HTTPConnection(HOST, PORT, timeout=seconds)
    try:
        connection.request(method, path)
        return str(connection.getresponse().status)
    except TimeoutError:
        return "timeout"
    except (OSError, http.client.HTTPException):
        return "refused"
    finally:
        connection.close()


def main() -> None:
    """Answer every line."""
    for line in sys.stdin:
        word, _, seconds = line.strip().partition(" ")
        if word == "health":
            status = health(float(seconds))
        else:
            status = ask("POST", "/invoke", float(seconds))
        sys.stdout.write(status + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
