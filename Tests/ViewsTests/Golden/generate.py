"""Makes the golden views beside this file, following docs/VIEWS.md in plain Python integers."""

import hashlib
import json
import math
import pathlib
import struct

ONE = 65536


# Random words

def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        left, right = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(right >> 32) ^ c[1] ^ k[0], right & 0xFFFFFFFF,
             (left >> 32) ^ c[3] ^ k[1], left & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


class Draws:
    def __init__(self, seed, sample, view, operation):
        self.key = (seed & 0xFFFFFFFF, seed >> 32)
        self.counter = (sample, view, operation)
        self.used = 0

    def next(self):
        block, word = divmod(self.used, 4)
        self.used += 1
        return philox((*self.counter, block), self.key)[word]

    def below(self, bound):
        return (self.next() * bound) >> 32

    def between(self, least, greatest):
        return least + self.below(greatest - least + 1)

    def happens(self, parts):
        return self.next() >> 16 < parts


# Trigonometry

ARCS = [
    536870912, 316933406, 167458907, 85004756, 42667331, 21354465, 10679838, 5340245, 2670163,
    1335087, 667544, 333772, 166886, 83443, 41722, 20861, 10430, 5215, 2608, 1304, 652, 326, 163,
    81, 41, 20, 10, 5, 3, 1]


def sine_and_cosine(turns):
    turned = abs(turns) > 1 << 30
    if turned:
        turns += -(1 << 31) if turns > 0 else 1 << 31
    x, y = 652032874, 0
    for step, arc in enumerate(ARCS):
        if turns >= 0:
            x, y, turns = x - (y >> step), y + (x >> step), turns - arc
        else:
            x, y, turns = x + (y >> step), y - (x >> step), turns + arc
    return (-y, -x) if turned else (y, x)


def tangent(turns):
    sine, cosine = sine_and_cosine(abs(turns))
    value = ((sine << 16) + cosine // 2) // cosine
    return -value if turns < 0 else value


# Operations: image[y][x][channel] -> image

def size(image):
    return len(image), len(image[0]), len(image[0][0])


def each(image, new):
    height, width, channels = size(image)
    return [[[new(y, x, c) for c in range(channels)] for x in range(width)] for y in range(height)]


def pixel(image, y, x, c, fill):
    height, width, _ = size(image)
    return image[y][x][c] if 0 <= y < height and 0 <= x < width else fill


def pad_crop(image, op, draws):
    pad = op["pad"]
    down, right = draws.between(-pad, pad), draws.between(-pad, pad)
    return each(image, lambda y, x, c: pixel(image, y + down, x + right, c, op["fill"]))


def flip(image, op, draws):
    if not draws.happens(op["probability"]):
        return image
    return [row[::-1] for row in image]


def affine(image, op, draws):
    height, width, _ = size(image)
    turns = lambda parts: (parts * 64 + 45) // 90
    a, s = turns(op["degrees"]), turns(op["shear"])
    t = op["translate"]
    angle = draws.between(-a, a)
    right = draws.between(-t * width, t * width)
    down = draws.between(-t * height, t * height)
    scale = draws.between(*op["scale"])
    shear = draws.between(-s, s)
    sine, cosine = ((v + 8192) >> 14 for v in sine_and_cosine(angle << 8))
    tan = tangent(shear << 8)
    product = lambda p, q: (p * q + 32768) >> 16
    inverse = ((1 << 32) + scale // 2) // scale
    xx = product(inverse, cosine + product(tan, sine))
    xy = product(inverse, sine - product(tan, cosine))
    yx, yy = product(inverse, -sine), product(inverse, cosine)
    cx, cy = (width - 1) << 15, (height - 1) << 15

    def value(y, x, c):
        dx, dy = (x << 16) - cx - right, (y << 16) - cy - down
        px = cx + ((xx * dx + xy * dy + 32768) >> 16)
        py = cy + ((yx * dx + yy * dy + 32768) >> 16)
        qx, qy = (px + 128) >> 8, (py + 128) >> 8
        (column, fx), (row, fy) = divmod(qx, 256), divmod(qy, 256)
        tap = lambda i, j: pixel(image, row + i, column + j, c, op["fill"])
        top = tap(0, 0) * (256 - fx) + tap(0, 1) * fx
        bottom = tap(1, 0) * (256 - fx) + tap(1, 1) * fx
        return (top * (256 - fy) + bottom * fy + 32768) >> 16

    return each(image, value)


def stretch(image, center, factor):
    return each(image, lambda y, x, c: min(255, max(
        0, center + (((image[y][x][c] - center) * factor + 32768) >> 16))))


def brightness(image, op, draws):
    return stretch(image, 0, draws.between(ONE - op["amount"], ONE + op["amount"]))


def contrast(image, op, draws):
    values = [v for row in image for p in row for v in p]
    mean = (sum(values) + len(values) // 2) // len(values)
    return stretch(image, mean, draws.between(ONE - op["amount"], ONE + op["amount"]))


def blur(image, op, draws):
    height, width, _ = size(image)
    r = draws.between(*op["radius"])
    n, wide = r >> 16, 2 * r + ONE
    inner = ((1 << 32) + wide // 2) // wide
    outer = ((r % ONE) * inner + 32768) >> 16
    weights = {0: ONE - 2 * (n * inner + outer)}
    for i in range(1, n + 1):
        weights[i] = weights[-i] = inner
    weights[n + 1] = weights[-n - 1] = outer

    def near(place, length):
        return min(max(place, 0), length - 1)

    rows = each(image, lambda y, x, c: (
        sum(image[y][near(x + i, width)][c] * w for i, w in weights.items()) + 32768) >> 16)
    return each(image, lambda y, x, c: (
        sum(rows[near(y + i, height)][x][c] * w for i, w in weights.items()) + 32768) >> 16)


def noise(image, op, draws):
    factor = (draws.between(*op["deviation"]) * 113069 + 32768) >> 16

    def value(y, x, c):
        total = sum(draws.next().to_bytes(4, "little"))
        return min(255, max(0, image[y][x][c] + (((total - 510) * factor + 32768) >> 16)))

    return each(image, value)


def inside(part, y, x):
    top, left, height, width = part
    return top <= y < top + height and left <= x < left + width


def erase(image, op, draws):
    if not draws.happens(op["probability"]):
        return image
    height, width, _ = size(image)
    part = draws.between(*op["area"])
    aspect = draws.between(ONE, op["aspect"])
    upright = draws.next() >> 31 == 1
    area = part * height * width
    root = math.isqrt(area * aspect)
    longer = max(1, (root + 32768) >> 16)
    shorter = max(1, (area + root // 2) // max(1, root))
    h = min(height, longer if upright else shorter)
    w = min(width, shorter if upright else longer)
    top = draws.below(height - h + 1)
    left = draws.below(width - w + 1)
    box = (top, left, h, w)
    return each(image, lambda y, x, c: op["fill"] if inside(box, y, x) else image[y][x][c])


# Pictures of other sizes than the view

POWERS = [
    1518500250, 1276901417, 1170923762, 1121280436, 1097253708, 1085434106, 1079572136,
    1076653033, 1075196443, 1074468888, 1074105294, 1073923544, 1073832680, 1073787251,
    1073764537, 1073753181]


def logarithm(value):
    exponent = value.bit_length() - 1
    mantissa = (value << 30) >> exponent
    result = (exponent - 16) << 16
    for bit in range(15, -1, -1):
        mantissa = (mantissa * mantissa) >> 30
        if mantissa >= 1 << 31:
            mantissa >>= 1
            result += 1 << bit
    return result


def power(exponent):
    value = 1 << 30
    for index, factor in enumerate(POWERS):
        if (exponent >> (15 - index)) & 1:
            value = (value * factor + (1 << 29)) >> 30
    shift = 14 - (exponent >> 16)
    return (value + (1 << (shift - 1))) >> shift


def weights(old, new):
    """For every new place a list of (old place, weight)."""
    reach = 2 * max(old, new)
    result = []
    for place in range(new):
        heights = [max(0, reach - abs((2 * x + 1) * new - (2 * place + 1) * old))
                   for x in range(old)]
        total, before, row = sum(heights), 0, []
        for x in range(old):
            due = (sum(heights[:x + 1]) * ONE + total // 2) // total
            row.append((x, due - before))
            before = due
        result.append([(x, w) for x, w in row if w])
    return result


def resize(image, height, width):
    h, w, c = size(image)
    rows = [[[(sum(k * image[j][x][z] for j, k in taps) + 32768) >> 16 for z in range(c)]
             for x in range(w)] for taps in weights(h, height)]
    return [[[(sum(k * row[i][z] for i, k in taps) + 32768) >> 16 for z in range(c)]
             for taps in weights(w, width)] for row in rows]


def cut(image, top, left, h, w):
    return [row[left:left + w] for row in image[top:top + h]]


def resized_crop(image, op, draws):
    height, width, _ = size(image)
    (least, greatest), found = op["ratio"], None
    for _ in range(10):
        part = draws.between(*op["area"])
        exponent = draws.between(logarithm(least), logarithm(greatest))
        area = part * height * width
        root = math.isqrt(area * power(exponent))
        h, w = (area + root // 2) // max(1, root), (root + 32768) >> 16
        if found is None and 1 <= h <= height and 1 <= w <= width:
            found = h, w
    if found:
        h, w = found
        top = draws.below(height - h + 1)
        left = draws.below(width - w + 1)
    else:
        h, w = height, width
        if width * ONE < least * height:
            h = min(height, max(1, (width * ONE + least // 2) // least))
        elif width * ONE > greatest * height:
            w = min(width, max(1, (height * greatest + 32768) >> 16))
        top, left = (height - h) // 2, (width - w) // 2
    return resize(cut(image, top, left, h, w), height, width)


def mixup(image, other, op, draws):
    share = draws.between(*op["share"])
    return each(image, lambda y, x, c: (
        image[y][x][c] * share + other[y][x][c] * (ONE - share) + 32768) >> 16), share


def cutmix(image, other, op, draws):
    height, width, _ = size(image)
    root = math.isqrt(draws.between(*op["area"]) << 16)
    h, w = (height * root + 32768) >> 16, (width * root + 32768) >> 16
    top = draws.below(height - h + 1)
    left = draws.below(width - w + 1)
    box = (top, left, h, w)
    total = height * width
    share = ((total - h * w) * ONE + total // 2) // total
    return each(image, lambda y, x, c: (
        other if inside(box, y, x) else image)[y][x][c]), share


# Operations on texts: str -> str

def substring(text, op, draws):
    share = draws.between(*op["share"])
    count = min(len(text), max(1, (len(text) * share + 32768) >> 16))
    first = draws.below(len(text) - count + 1)
    return text[first:first + count]


CAPITALS = [
    (0x41, 0x5A, 1, 32), (0xC0, 0xD6, 1, 32), (0xD8, 0xDE, 1, 32), (0x100, 0x12E, 2, 1),
    (0x132, 0x136, 2, 1), (0x139, 0x147, 2, 1), (0x14A, 0x176, 2, 1), (0x179, 0x17D, 2, 1),
    (0x218, 0x21A, 2, 1), (0x386, 0x386, 1, 38), (0x388, 0x38A, 1, 37), (0x38C, 0x38C, 1, 64),
    (0x38E, 0x38F, 1, 63), (0x391, 0x3A1, 1, 32), (0x3A3, 0x3AB, 1, 32), (0x400, 0x40F, 1, 80),
    (0x410, 0x42F, 1, 32), (0x48A, 0x4BE, 2, 1), (0x4D0, 0x52E, 2, 1), (0x531, 0x556, 1, 48),
    (0x1EA0, 0x1EFE, 2, 1)]
SMALL = {letter: letter + distance for first, last, step, distance in CAPITALS
         for letter in range(first, last + 1, step)}


def lowercase(text, op, draws):
    return text.translate(SMALL) if draws.happens(op["probability"]) else text


PLAIN = {"resized-crop": resized_crop, "pad-crop": pad_crop, "flip": flip, "affine": affine,
         "brightness": brightness, "contrast": contrast, "blur": blur, "noise": noise, "erase": erase,
         "substring": substring, "lowercase": lowercase}
MIXING = {"mixup": mixup, "cutmix": cutmix}
DEFAULTS = {
    "resized-crop": {"area": [0.08, 1], "ratio": [0.75, 4 / 3]},
    "pad-crop": {"fill": 0},
    "flip": {"probability": 0.5},
    "affine": {"degrees": 0, "translate": 0, "scale": [1, 1], "shear": 0, "fill": 0},
    "brightness": {}, "contrast": {}, "blur": {}, "noise": {},
    "erase": {"probability": 0.5, "area": [0.02, 0.33], "aspect": 3.3, "fill": 0},
    "mixup": {"probability": 1, "share": [0.5, 1]},
    "cutmix": {"probability": 1, "area": [0, 0.5]},
    "substring": {"share": [0.5, 1]}, "lowercase": {"probability": 0.5},
}
WHOLE = {"op", "pad", "fill"}


def held(value):
    """A number in 65536ths, the nearest, halves up."""
    if isinstance(value, list):
        return [held(v) for v in value]
    return math.floor(value * ONE + 0.5)


def resolve(recipe):
    """Operations with defaults written out and fractions in 65536ths."""
    full = [{**DEFAULTS[op["op"]], **op} for op in recipe["operations"]]
    return [{k: v if k in WHOLE else held(v) for k, v in op.items()} for op in full]


def recipe_digest(operations):
    def text(value):
        return [text(v) for v in value] if isinstance(value, list) else f"{value}/65536"
    full = [{k: v if k in WHOLE else text(v) for k, v in op.items()} for op in operations]
    document = {"version": 1, "operations": full}
    return hashlib.sha256(
        json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Images:
    """The test images described in README.md."""

    def __init__(self, height, width, channels, count):
        self.shape, self.count = (height, width, channels), count

    def bytes(self, s):
        height, width, channels = self.shape
        return bytes(((i * i * 40503 + i * 2654435761 + s * 97643 * (i + 7)) >> 16) & 255
                     for i in range(height * width * channels))

    def image(self, s):
        height, width, channels = self.shape
        flat = iter(self.bytes(s))
        return [[[next(flat) for _ in range(channels)] for _ in range(width)]
                for _ in range(height)]

    def flat(self, image):
        return bytes(v for row in image for p in row for v in p)

    def fingerprint(self):
        h = hashlib.sha256(b"logitcache data set 1\nimage\n")
        h.update(struct.pack("<3Q", *self.shape))
        return self.finish(h)

    def finish(self, h):
        h.update(struct.pack("<2Q", self.count, 3))
        for name in (b"a", b"b", b"c"):
            h.update(struct.pack("<Q", len(name)) + name)
        for s in range(self.count):
            h.update(struct.pack("<i", s % 3))
        for s in range(self.count):
            h.update(self.bytes(s))
        return h.hexdigest()


class Texts(Images):
    """Texts in so many bytes each."""

    def __init__(self, texts, size):
        self.texts, self.shape, self.count = texts, [size], len(texts)

    def flat(self, text):
        return text.encode().ljust(self.shape[0], b"\0")

    def image(self, s):
        # What a cut leaves of a character is no character.
        return self.texts[s].encode()[:self.shape[0]].decode(errors="ignore")

    def bytes(self, s):
        return self.flat(self.image(s))

    def fingerprint(self):
        h = hashlib.sha256(b"logitcache data set 1\ntext\n")
        h.update(struct.pack("<Q", *self.shape))
        return self.finish(h)


def plain_view(images, operations, seed, sample, view):
    image = images.image(sample)
    for index, op in enumerate(operations):
        if op["op"] in PLAIN:
            image = PLAIN[op["op"]](image, op, Draws(seed, sample, view, index))
    return image


def render(images, operations, seed, sample, view):
    """One view: pixels, partner, own share in 65536ths."""
    image = plain_view(images, operations, seed, sample, view)
    partner, share = sample, ONE
    if operations and operations[-1]["op"] in MIXING:
        op = operations[-1]
        draws = Draws(seed, sample, view, len(operations) - 1)
        if draws.happens(op["probability"]):
            drawn = draws.below(max(1, images.count - 1))
            partner = drawn if images.count == 1 or drawn < sample else drawn + 1
            other = plain_view(images, operations, seed, partner, view)
            image, share = MIXING[op["op"]](image, other, op, draws)
    return images.flat(image), partner, share


def golden(name, recipe, seed, shape, count):
    golden_file(name, recipe, seed, Images(*shape, count), {"shape": shape})


def golden_text(name, recipe, seed, size, texts):
    golden_file(name, recipe, seed, Texts(texts, size), {"shape": [size], "texts": texts})


def golden_file(name, recipe, seed, images, described):
    operations, count = resolve(recipe), images.count
    views, digest = [], hashlib.sha256()
    for view in (0, 1, 4_000_000_000):
        for sample in range(count):
            pixels, partner, share = render(images, operations, seed, sample, view)
            views.append({"sample": sample, "view": view, "pixels": pixels.hex(),
                          "partner": partner, "share": share})
            if view == 0:
                digest.update(pixels + struct.pack("<if", partner, share / ONE))
    document = {"recipe": recipe, "seed": str(seed), **described, "count": count,
                "recipeDigest": recipe_digest(operations), "fingerprint": images.fingerprint(),
                "digest": digest.hexdigest(), "views": views}
    path = pathlib.Path(__file__).parent / f"{name}.json"
    assert not path.exists(), f"{path} exists; golden files are never rewritten"
    path.write_text(json.dumps(document, indent=1) + "\n")


def golden_resize():
    """Parts of test images in other sizes: what a resize must give."""
    cases = []
    for old, part, new in [
            ([9, 7, 3], [0, 0, 9, 7], [4, 5]), ([20, 30, 1], [3, 5, 14, 21], [5, 4]),
            ([5, 4, 2], [1, 1, 3, 2], [8, 9]), ([40, 3, 3], [0, 0, 40, 3], [1, 6]),
            ([6, 6, 1], [2, 3, 1, 1], [2, 2]), ([11, 13, 3], [1, 0, 10, 13], [7, 13])]:
        image = resize(cut(Images(*old, 1).image(0), *part), *new)
        cases.append({"old": old, "part": part, "new": new,
                      "pixels": bytes(v for row in image for p in row for v in p).hex()})
    path = pathlib.Path(__file__).parent / "resize.json"
    assert not path.exists(), f"{path} exists; golden files are never rewritten"
    path.write_text(json.dumps(cases, indent=1) + "\n")


def recipe(*operations):
    return {"version": 1, "operations": list(operations)}


if __name__ == "__main__":
    golden("identity", recipe(), 1, [3, 4, 1], 2)
    golden("pad-crop", recipe({"op": "pad-crop", "pad": 3, "fill": 9}), 2, [5, 6, 2], 4)
    golden("flip", recipe({"op": "flip"}), 2**64 - 1, [4, 5, 3], 4)
    golden("affine", recipe(
        {"op": "affine", "degrees": 30, "translate": 0.125, "scale": [0.8, 1.3], "shear": 12.5,
         "fill": 77}), 0x0123456789ABCDEF, [7, 8, 2], 4)
    golden("affine-half-turn", recipe(
        {"op": "affine", "degrees": 180, "scale": [0.0625, 16], "shear": 45}), 5, [6, 5, 1], 6)
    golden("brightness", recipe({"op": "brightness", "amount": 1}), 6, [5, 5, 1], 4)
    golden("contrast", recipe({"op": "contrast", "amount": 0.7}), 7, [5, 4, 3], 4)
    golden("erase", recipe(
        {"op": "erase", "probability": 0.8, "area": [0.1, 0.6], "aspect": 4, "fill": 200}),
        8, [8, 7, 1], 6)
    golden("mixup", recipe({"op": "mixup", "probability": 0.75, "share": [0, 1]}), 9, [4, 4, 2], 5)
    golden("cutmix", recipe({"op": "cutmix", "area": [0.05, 0.9]}), 10, [7, 6, 1], 6)
    golden("everything", recipe(
        {"op": "pad-crop", "pad": 1}, {"op": "flip"},
        {"op": "affine", "degrees": 15, "translate": 0.1, "scale": [0.9, 1.1], "shear": 5},
        {"op": "brightness", "amount": 0.3}, {"op": "contrast", "amount": 0.3}, {"op": "erase"},
        {"op": "cutmix", "probability": 0.5}), 2**63 + 11, [8, 8, 3], 5)
    golden("blur", recipe({"op": "blur", "radius": [0, 1]}), 12, [6, 7, 2], 5)
    golden("blur-wide", recipe({"op": "blur", "radius": [0.5, 8]}), 13, [9, 5, 1], 6)
    golden("noise", recipe({"op": "noise", "deviation": [0, 0.5]}), 14, [5, 6, 3], 4)
    golden("glyph", recipe(
        {"op": "affine", "degrees": 8, "translate": 0.05, "scale": [0.85, 1.1], "shear": 8,
         "fill": 255},
        {"op": "blur", "radius": [0, 0.8]}, {"op": "contrast", "amount": 0.4},
        {"op": "noise", "deviation": [0, 0.06]}), 2**40 + 15, [12, 12, 1], 4)
    texts = [
        "Open Media...", "\u00d6FFNE DATEI", "\u041e\u0422\u041a\u0420\u042b\u0422\u042c \u0424\u0410\u0419\u041b \u0401",
        "\u0386\u039d\u039f\u0399\u0393\u039c\u0391 \u0391\u03a1\u03a7\u0395\u038a\u039f\u03a5", "M\u1ede T\u1eacP TIN", "\u6253\u5f00\u6587\u4ef6", "A",
        "\U0001f39e\U0001f3ac \u0130\u0110\u0141\u017b\u00df\u1e9e"]
    golden_text("substring", recipe({"op": "substring"}), 16, 32, texts)
    golden_text("lowercase", recipe({"op": "lowercase", "probability": 0.75}), 17, 28, texts)
    golden_text("short-texts", recipe(
        {"op": "substring", "share": [0, 1]}, {"op": "lowercase"},
        {"op": "substring", "share": [0.25, 0.75]}), 2**64 - 18, 11, texts)
    golden("resized-crop", recipe({"op": "resized-crop"}, {"op": "flip"}), 16, [12, 10, 3], 6)
    golden("resized-crop-wide", recipe(
        {"op": "resized-crop", "area": [0.5, 1], "ratio": [2, 8]}, {"op": "cutmix"}),
        2**63 + 17, [7, 15, 1], 5)
    golden_resize()
