"""Makes the pictures beside this file, and golden.json: what each decodes to (docs/VIEWS.md).

PNG files are written here byte by byte, so their pixels are known without a decoder; what JPEG files
hold is what Pillow decodes (13.0.0, libjpeg-turbo 3.2.0).
"""

import hashlib
import json
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
golden = {}


def keep(name, pixels):
    pixels = np.ascontiguousarray(pixels, np.uint8)
    digest = hashlib.sha256(pixels).hexdigest()
    golden[name] = {"shape": list(pixels.shape), "digest": digest}


# PNG

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def rows(values, depth):
    """Filter type 0 and packed samples of every row of [h, w, c]."""
    out = b""
    for row in values.reshape(len(values), -1):
        bits = np.unpackbits(row.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 16 - depth :]
        out += b"\0" + np.packbits(bits.reshape(-1)).tobytes()
    return out


def png(name, values, depth, kind, wanted, extra=b"", interlaced=False):
    height, width = values.shape[:2]
    parts = ADAM7 if interlaced else [(0, 0, 1, 1)]
    data = b"".join(
        rows(values[y::dy, x::dx], depth) for y, x, dy, dx in parts if values[y::dy, x::dx].size)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    (HERE / f"{name}.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
        + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))
    keep(f"{name}.png", wanted)


random = np.random.Generator(np.random.PCG64(7))


def noise(channels, depth, height=11, width=13):
    return random.integers(0, 1 << depth, (height, width, channels))


for depth in (1, 2, 4, 8, 16):
    v = noise(1, depth)
    png(f"grey-{depth}", v, depth, GREY, v >> 8 if depth == 16 else v * 255 // ((1 << depth) - 1))
for depth in (8, 16):
    shift = depth - 8
    v = noise(2, depth)
    png(f"grey-alpha-{depth}", v, depth, GREY_ALPHA, v[..., :1] >> shift)
    v = noise(3, depth)
    png(f"rgb-{depth}", v, depth, RGB, v >> shift)
    v = noise(4, depth)
    png(f"rgb-alpha-{depth}", v, depth, RGBA, v[..., :3] >> shift)
for depth in (1, 2, 4, 8):
    v, palette = noise(1, depth), noise(3, 8, 1, 1 << depth)[0]
    colours = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    png(f"palette-{depth}", v, depth, PALETTE, palette[v[..., 0]], colours)
    if depth == 8:
        clear = chunk(b"tRNS", bytes(range(200)))
        png("palette-transparent", v, depth, PALETTE, palette[v[..., 0]], colours + clear)
v = noise(3, 8)
png("rgb-transparent", v, 8, RGB, v, chunk(b"tRNS", struct.pack(">3H", *v[0, 0])))
png("rgb-gamma", v, 8, RGB, v, chunk(b"gAMA", struct.pack(">I", 100000)))
png("rgb-interlaced", v, 8, RGB, v, interlaced=True)
v = noise(1, 2, 5, 3)
png("grey-2-interlaced", v, 2, GREY, v * 85, interlaced=True)
v = noise(3, 8, 1, 1)
png("one-pixel", v, 8, RGB, v)


# JPEG

def scene(channels, height=37, width=45):
    """Slopes, an edge and some noise."""
    y, x = np.mgrid[:height, :width]
    planes = [
        (y * (3 + c) + x * (5 - c)) % 256 * (x > width // 3) + random.integers(0, 40, y.shape)
        for c in range(channels)]
    return np.stack(planes, axis=2).clip(0, 255).astype(np.uint8)


def jpeg(name, values, mode, **options):
    path = HERE / f"{name}.jpg"
    Image.fromarray(values[..., 0] if mode == "L" else values, mode).save(path, **({"quality": 80} | options))
    with Image.open(path) as image:
        pixels = np.asarray(image)
        if image.mode == "CMYK":
            inks = 255 - pixels.astype(int)
            pixels = (inks[..., :3] * inks[..., 3:] + 127) // 255
        keep(path.name, pixels[..., None] if pixels.ndim == 2 else pixels)


jpeg("grey", scene(1), "L")
jpeg("colour-444", scene(3), "RGB", subsampling=0)
jpeg("colour-422", scene(3), "RGB", subsampling=1)
jpeg("colour-420", scene(3), "RGB", subsampling=2)
jpeg("colour-rough", scene(3), "RGB", quality=10)
jpeg("colour-restart", scene(3), "RGB", restart_marker_blocks=2)
jpeg("colour-progressive", scene(3, 40, 24), "RGB", progressive=True)
jpeg("colour-as-rgb", scene(3), "RGB", keep_rgb=True)
jpeg("inks", scene(4), "CMYK")
jpeg("one-pixel", scene(3, 1, 1), "RGB")
turned = Image.Exif()
turned[0x0112] = 6
jpeg("turned", scene(3, 16, 24), "RGB", exif=turned)

(HERE / "golden.json").write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
