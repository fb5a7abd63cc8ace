"""A small worker (docs/WORKER.md) that misbehaves as it is told: python3 fake_worker.py NAME=VALUE ...

Row c of a view is the sum of its elements c, c + C, c + 2 C, ... less 4096, over 512: exact in float32.
With shares=1, it is the sum's share of the whole sum, or the logarithm of it. With positions=M a view is cut into M
equal parts, each with a row; with ragged=1 parts whose elements have an odd sum have none, with lengths=L neither
those from L on. Faults happen at the batch `at` (counted from 1 in each process), in the first `lives` processes
that write to the file `state`.
"""

import json
import math
import os
import random
import select
import signal
import struct
import sys
import time
import zlib

MAGIC, VERSION = b"LCWP", 1
HELLO, WELCOME, BATCH, LOGITS, ERROR, GOODBYE = range(1, 7)
INPUT, OUTPUT = 0, 1

options = dict(argument.split("=", 1) for argument in sys.argv[1:])
fault = options.get("fault", "")
at = int(options.get("at", 1))


def read(count):
    content = b""
    while len(content) < count:
        part = os.read(INPUT, count - len(content))
        if not part:
            sys.exit(0)
        content += part
    return content


def write(kind, request, payload, magic=MAGIC, version=VERSION, checksum=None):
    checksum = zlib.crc32(payload) if checksum is None else checksum
    content = (
        struct.pack("<4sHHQII", magic, version, kind, request, len(payload), checksum) + payload
    )
    while content:
        content = content[os.write(OUTPUT, content) :]


def receive():
    magic, version, kind, request, length, checksum = struct.unpack("<4sHHQII", read(24))
    payload = read(length)
    assert (magic, version, checksum) == (MAGIC, VERSION, zlib.crc32(payload)), "a bad frame"
    return kind, request, payload


def life():
    """The number of this process among those with the same state, from 1."""
    if "state" not in options:
        return 1
    with open(options["state"], "a") as file:
        file.write("x")
        return file.tell()


number = life()
if number > int(options.get("lives", 1 << 30)):
    fault = ""
print("life", number, file=sys.stderr)


def misbehave(request, payload):
    """Faults in the place of an answer."""
    if fault == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "exit":
        sys.exit(3)
    elif fault == "close":
        os.close(OUTPUT)
        time.sleep(1000)
    elif fault == "hang":
        time.sleep(1000)
    elif fault == "print":
        os.write(OUTPUT, b"Epoch 1 of 3\nthis is not a frame")
    elif fault == "magic":
        write(LOGITS, request, payload, magic=b"\x01\x02\x03\x04")
    elif fault == "version":
        write(LOGITS, request, payload, version=2)
    elif fault == "checksum":
        write(LOGITS, request, payload, checksum=zlib.crc32(payload) ^ 1)
    elif fault == "kind":
        write(9, request, payload)
    elif fault == "length":
        os.write(OUTPUT, struct.pack("<4sHHQII", MAGIC, VERSION, LOGITS, request, 2**31, 0))
    elif fault == "request":
        write(LOGITS, request + 7, payload)
    elif fault == "again":
        write(WELCOME, request, payload)
    elif fault == "cut":
        os.write(OUTPUT, struct.pack("<4sHHQII", MAGIC, VERSION, LOGITS, request, 64, 0))
        sys.exit(0)
    elif fault == "error":
        write(ERROR, request, "the GPU is on fire: 摄氏 900".encode())
    elif fault == "few-bytes":
        write(LOGITS, request, payload[:-4])
    elif fault == "few-rows":
        count = struct.unpack_from("<I", payload)[0]
        rows = payload[16 : 16 + 4 * (count - 1) * classes]
        write(LOGITS, request, struct.pack("<4I", count - 1, 1, classes, width) + rows)
    elif fault == "classes":
        count = struct.unpack_from("<I", payload)[0]
        write(
            LOGITS, request, struct.pack("<4I", count, 1, classes + 1, width) + bytes(4 * count * 9)
        )
    elif fault == "positions":
        count = struct.unpack_from("<I", payload)[0]
        rows = payload[16:] + bytes(4 * count * classes)
        write(LOGITS, request, struct.pack("<4I", count, positions + 1, classes, 0) + rows)
    elif fault in ("many", "miscount"):  # the rows of view 3: more than M, others than follow
        counted = struct.unpack_from("<I", payload, 16 + 4 * 3)[0] ^ 1
        counted = positions + 1 if fault == "many" else counted
        write(LOGITS, request, payload[:28] + struct.pack("<I", counted) + payload[32:])
    elif fault == "no-counts":
        write(LOGITS, request, payload[:20])
    elif fault in ("order", "beyond"):  # of the places of the first view with two rows
        count = struct.unpack_from("<I", payload)[0]
        counts = struct.unpack_from(f"<{count}I", payload, 16)
        view = next(view for view in range(count) if counts[view] >= 2)
        place = 16 + 4 * (count + sum(counts[:view]))
        places = (1, 1) if fault == "order" else (0, positions)
        write(LOGITS, request, payload[:place] + struct.pack("<2I", *places) + payload[place + 8 :])
    elif fault in ("nan", "inf"):
        place = 16 + 4 * int(options["place"])
        value = struct.pack("<f", float(fault))
        write(LOGITS, request, payload[:place] + value + payload[place + 4 :])
    else:
        raise AssertionError(fault)


def shared(part, total):
    """A share as it must be in a row; with shares=-1 one that it cannot be."""
    is_logarithm = options.get("output") in ("logits", "log-probabilities")
    return shares * (math.log(part / total) if is_logarithm else part / total)


def answer(payload):
    count, zero = struct.unpack_from("<II", payload)
    assert zero == 0 and 1 <= count <= hello["batch"]
    size = 1
    for length in hello["input"]["shape"]:
        size *= length
    if hello["input"]["type"] == "uint8":
        values = payload[8:]
    else:
        values = struct.unpack_from(f"<{count * size}f", payload, 8)
    assert len(values) == count * size
    rows, features, counts, places = [], [], [], []
    for view in range(count):
        counts.append(0)
        for position in range(positions):
            first = (view * positions + position) * size // positions
            part = values[first : first + size // positions]
            if ragged and (position >= lengths or sum(part) % 2 == 1):
                continue
            counts[-1] += 1
            places.append(position)
            sums = [sum(part[c::classes]) for c in range(classes)]
            rows += [shared(part, sum(sums)) if shares else (part - 4096) / 512 for part in sums]
        features += [value / 256 for value in values[view * size : view * size + width]]
    head = [count, positions, classes, width] + (counts + places if ragged else [])
    numbers = rows + features
    return struct.pack(f"<{len(head)}I", *head) + struct.pack(f"<{len(numbers)}f", *numbers)


kind, request, payload = receive()
assert (kind, request) == (HELLO, 0)
hello = json.loads(payload)
classes = int(options.get("classes", hello["classes"]))
width = int(options.get("features", 0))
shares = int(options.get("shares", 0))
positions = int(options.get("positions", 1))
ragged = int(options.get("ragged", 0))
lengths = int(options.get("lengths", positions))
time.sleep(float(options.get("slow", 0)))
if fault == "early":
    sys.exit("no weights")
if fault == "greeting":
    print("hello, this is a teacher")
    sys.exit(1)
if fault == "refusal":
    write(ERROR, 0, b"no GPU here")
    sys.exit(1)
identity = {
    "name": "sums",
    "weights": options.get("weights", "1"),
    "parameters": hello["parameters"],
    "input": hello["input"]["kind"],
}
if "reborn" in options and number > 1:
    identity["weights"] = options["reborn"]
if "reborn-positions" in options and number > 1:
    positions = int(options["reborn-positions"])
welcome = {"classes": classes, "identity": identity, "output": options.get("output", "logits")}
welcome |= {"featureWidth": width} if width else {}
welcome |= {"positions": positions} if positions > 1 else {}
welcome |= {"ragged": True} if ragged else {}
welcome |= json.loads(options.get("welcome", "{}"))
if "names" in options:
    welcome["classNames"] = options["names"].split(",")
write(WELCOME, 0, json.dumps(welcome).encode())

generator = random.Random(int(options.get("seed", 1)) * 1000 + number)
batches = 0
held = []
while True:
    # With `hold`, batches that come together are answered from the last to the first.
    if held and not select.select([INPUT], [], [], float(options.get("hold", 0)))[0]:
        for late, numbers in reversed(held):
            write(LOGITS, late, numbers)
        held = []
    kind, request, payload = receive()
    if kind == GOODBYE:
        if "farewell" in options:
            open(options["farewell"], "w").close()
        sys.exit(0)
    assert kind == BATCH
    batches += 1
    if "one-in" in options and generator.randrange(int(options["one-in"])) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    numbers = answer(payload)
    time.sleep(float(options.get("pace", 0)))
    if fault and batches == at:
        misbehave(request, numbers)
    elif "hold" in options:
        held.append((request, numbers))
    else:
        write(LOGITS, request, numbers)
