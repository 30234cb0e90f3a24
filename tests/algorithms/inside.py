"""What the tiny images run: it does what ``mode.json`` of its input says. Python's own modules only."""

import json
import os
import signal
import socket
import sys
import time

cases = 0


def find(slug):
    entries = json.load(open("/input/inputs.json"))
    # Old images look for `interface`, new ones for `socket`.
    by_old = {entry["interface"]["slug"]: entry for entry in entries}
    by_new = {entry["socket"]["slug"]: entry for entry in entries}
    assert by_old == by_new
    return by_new.get(slug)


def output(name, content):
    path = f"/output/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(content if isinstance(content, str) else json.dumps(content))


def copy_image():
    """Return the input image as a mask: what is above its mean, with the same geometry."""
    entry = find("ct")
    content = open(f"/input/images/ct/{entry['image']['name']}", "rb").read()
    head, _, body = content.partition(b"ElementDataFile = LOCAL\n")
    kind = head.split(b"ElementType = ")[1].split(b"\n")[0]
    assert kind == b"MET_SHORT", kind
    values = [
        int.from_bytes(body[i : i + 2], "little", signed=True) for i in range(0, len(body), 2)
    ]
    mean = sum(values) / len(values)
    os.makedirs("/output/images/mask", exist_ok=True)
    with open("/output/images/mask/mask.mha", "wb") as file:
        file.write(head.replace(b"MET_SHORT", b"MET_UCHAR") + b"ElementDataFile = LOCAL\n")
        file.write(bytes(value > mean for value in values))
    return mean


def look():
    """Say what it is like in here."""
    try:
        open("/input/x", "w")
        can_write = True
    except OSError:
        can_write = False
    with open("/home/user/cache", "w") as file:
        file.write("caches of existing images")
    return {
        "uid": os.getuid(), "networks": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else [n for _, n in socket.if_nameindex()],
        "tmp": os.listdir("/tmp"), "input_is_writable": can_write, "env": os.environ.get("FROM_IMAGE"),
        "model": os.listdir("/opt/ml/model") if os.path.isdir("/opt/ml/model") else None,
        "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")],
        "home": os.environ.get("HOME"),
    }  # fmt: skip


def act(mode):
    global cases
    cases += 1
    if mode == "look":
        output("look.json", look())
    elif mode == "mask":
        output("mean.json", copy_image())
    elif mode == "count":
        output("look.json", {"pid": os.getpid(), "cases": cases})
    elif mode == "fail":
        print("secret of the model", file=sys.stderr)
        sys.exit(7)
    elif mode == "exit137":
        os._exit(137)
    elif mode == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    elif mode == "fill":
        with open("/output/big", "wb") as file:
            while True:
                file.write(bytes(1 << 20))
                time.sleep(0.01)
    elif mode == "gigabyte":
        for _ in range(1 << 10):
            os.write(1, b"x" * ((1 << 20) - 1) + b"\n")
        output("look.json", 1)
    elif mode.startswith("points "):
        count = int(mode.split()[1])
        with open("/output/look.json", "w") as file:
            file.write("1")
        with open("/output/spots.json", "w") as file:
            file.write(
                '{"type": "Multiple points", "version": {"major": 1, "minor": 0}, "points": ['
            )
            file.writelines(
                "," * (number > 0) + f'{{"point": [{number}, 2.5, 3]}}' for number in range(count)
            )
            file.write("]}")
    elif mode == "sleep":
        time.sleep(2.5)
        output("look.json", 1)
    elif mode == "memory":
        held = []
        while True:
            held.append(bytearray(64 << 20))
            held[-1][::4096] = b"x" * len(held[-1][::4096])
    elif mode == "fork":
        count = 0
        try:
            while count < 5000:
                if os.fork() == 0:
                    time.sleep(30)
                    os._exit(0)
                count += 1
        except OSError:
            pass
        output("look.json", {"forks": count})
    elif mode == "shout":
        for _ in range(2000):
            os.write(1, b"x" * 10_000 + b"\n")
        os.write(2, b"a warning\0\n")
        output("look.json", 1)
    elif mode == "link":
        os.symlink("/etc/passwd", "/output/look.json")
    elif mode == "linked-folder":
        os.symlink("/etc", "/output/images")
    elif mode == "folder":
        os.makedirs("/output/look.json")
    elif mode == "sparse":
        with open("/output/look.json", "w") as file:
            file.truncate(10 << 30)
    elif mode == "nan":
        output("look.json", '{"value": NaN}')
    elif mode == "fifo":
        os.mkfifo("/output/look.json")
    elif mode == "closed":
        output("look.json", 1)
        os.chmod("/output/look.json", 0)
    elif mode == "many":
        os.makedirs("/output/images/mask")
        for number in range(1500):
            open(f"/output/images/mask/{number}", "w").close()
    elif mode == "two":
        copy_image()
        os.link("/output/images/mask/mask.mha", "/output/images/mask/again.mha")
    elif mode == "newline":
        copy_image()
        os.rename("/output/images/mask/mask.mha", "/output/images/mask/a\nb.mha")
    elif mode == "empty":
        os.makedirs("/output/images/mask")
    elif mode == "dimension":
        copy_image()
        with open("/output/images/mask/mask.mha", "r+b") as file:
            file.truncate(200)
    elif mode == "labels":
        copy_image()
        path = "/output/images/mask/mask.mha"
        content = open(path, "rb").read()
        open(path, "wb").write(content[:-1] + b"\x09")


def evaluate():
    """Say what the truth of a method of evaluation is, and of how many jobs."""
    place = "/opt/ml/input/data/ground_truth"
    try:
        open(f"{place}/x", "w")
        can_write = True
    except OSError:
        can_write = False
    truth = {name: open(f"{place}/{name}").read() for name in os.listdir(place)}
    jobs = json.load(open("/input/predictions.json"))
    output("metrics.json", {"truth": truth, "jobs": len(jobs), "can_write": can_write})


def mode():
    entry = find("mode")
    return entry["value"] if entry else "mask"


def serve():
    """Answer the two requests of the invoke contract."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", 4743))
    server.listen()
    while True:
        connection, _ = server.accept()
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        status = "200 OK"
        if request.startswith(b"POST /invoke"):
            status = "201 Created"
            try:
                act(mode())
            except SystemExit:
                status = "500 Internal Server Error"
        connection.sendall(
            f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        connection.close()


if __name__ == "__main__":
    print("started")
    if os.path.exists("/input/predictions.json"):
        evaluate()
        sys.exit()
    if sys.argv[1:] == ["invoke"]:
        serve()
    act(mode())
