"""HTTP client of the invoke contract: a program run in the network namespace of a container.

In: lines on standard input, ``health SECONDS`` or ``invoke SECONDS``. Out: a line for each: the
HTTP status, ``timeout`` or ``refused``. A container has only its loopback interface, so the client
joins its namespace; no port is opened on the host. It does not import this library.
"""

import http.client
import sys
import time

HOST, PORT = "127.0.0.1", 4743
HEALTH_SECONDS = 10


def health(seconds: float) -> str:
    """Poll ``/health`` until it returns 200 or 3xx; return the last status."""
    end = time.monotonic() + seconds
    status = "timeout"
    while time.monotonic() < end:
        status = ask("GET", "/health", min(HEALTH_SECONDS, max(0.1, end - time.monotonic())))
        if status == "200" or status.startswith("3"):
            return status
        time.sleep(0.05)
    return status


def ask(method: str, path: str, seconds: float) -> str:
    """Send one request and return its HTTP status, ``timeout`` or ``refused``."""
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
    """Execute the command on each line of standard input."""
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
