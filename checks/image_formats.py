"""IMG: how pictures are stored, and what of it a loader does not see."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Advice, Finding, ImageTable, Severity, Table, check, leave_out

#: endings under which a format is at home
_ENDINGS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "MPO": ("jpg", "jpeg", "jpe", "jfif", "mpo"),
    "PNG": ("png", "apng"),
    "GIF": ("gif",),
    "BMP": ("bmp", "dib"),
    "DIB": ("bmp", "dib"),
    "TIFF": ("tif", "tiff"),
    "WEBP": ("webp",),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
    "AVIF": ("avif",),
    "HEIF": ("heic", "heif"),
    "JPEG2000": ("jp2", "j2k"),
    "TGA": ("tga",),
}
#: files of one kind that are named one by one; more are one finding
_NAMED = 5
#: pictures that it takes to speak of the whole dataset
_LEAST = 20
#: pixels beyond which Pillow warns of a decompression bomb, and refuses at twice as many
_BOMB = 89_478_485


@check("IMG009", Severity.WARNING, since="0.1")
def extension_mismatch(images: ImageTable) -> Iterator[Finding]:
    """The file is of another format than its name says.

    Pillow and OpenCV look at the bytes and don't mind; a loader that goes by the name (`decode_png`, a glob for
    `*.png`) fails on the file or leaves it out, and what is called PNG may have been compressed with loss.

    Fix: give the file the ending of its format.
    """
    ending = images.col.path.str.extract(r"\.([^./]+)$").str.to_lowercase().alias("ending")
    named = images.decoded.with_columns(ending)
    kinds = named.select("format", "ending").drop_nulls().unique(maintain_order=True)
    for form, ending in kinds.iter_rows():
        at_home = _ENDINGS.get(form)
        if at_home is None or ending in at_home or not any(ending in known for known in _ENDINGS.values()):
            continue
        paths = named.filter(images.col.format == form, images.col.ending == ending)["path"].to_list()
        right = at_home[0]
        if len(paths) > _NAMED:
            yield Finding(
                ".",
                "{count} files named .{ending} are {format}, such as {example}",
                count=len(paths),
                ending=ending,
                format=form,
                example=paths[0],
                paths=paths[:1000],
                fix=f"rename them to .{right}, in the label files as well",
            )
        else:
            for path in paths:
                name = path.rpartition("/")[2].rpartition(".")[0]
                yield Finding(
                    path,
                    "is {format}, named .{ending}",
                    format=form,
                    ending=ending,
                    fix=f"rename it to {name}.{right}, in the label files as well",
                )


@check("IMG010", Severity.INFO, since="0.1")
def heavy_jpeg_compression(images: ImageTable, *, quality: int = 60, share: float = 0.05) -> Iterator[Finding]:
    """JPEG pictures are compressed so heavily that blocks show.

    The network learns the blocks along with the objects, and does worse on clean pictures. Down to a quality of 60 it
    hardly notices.

    Fix: export them again from their source at a quality of 90 or more; nothing brings back what was cut away.
    """
    known = images.decoded.filter(images.col.quality.is_not_null())
    low = known.filter(images.col.quality < quality)
    if len(known) < _LEAST or len(low) < share * len(known):
        return
    first = next(images.rows(low.sort("quality", "path")))
    yield Finding(
        ".",
        "{count} of {jpegs} JPEG pictures have a quality below {quality}, down to {least}",
        count=len(low),
        jpegs=len(known),
        quality=quality,
        least=first.quality,
        example=first.path,
        usual=int(images.usual(images.col.quality)[0]),
        fix="export them again at a quality of 90 or more, or train with compression as an augmentation "
        "(v2.JPEG(quality=(30, 100)))",
    )


@check(
    "IMG014",
    Severity.WARNING,
    Severity.INFO,
    since="0.1",
    symptoms=(
        "Image size ({n} pixels) exceeds limit of {m} pixels",
        "DecompressionBombError",
        "DecompressionBombWarning",
    ),
)
def oversized_image(images: ImageTable, *, megapixels: float = 8) -> Iterator[Finding]:
    """The picture has more pixels than a training needs, or than Pillow will decode.

    Pillow refuses a picture beyond its limit as a decompression bomb; below it, decoding twelve megapixels for a
    network that sees 224 x 224 is what the epoch waits for.

    Fix: make the pictures smaller once, offline: `image.thumbnail((1024, 1024))`.
    """
    pixels = images.col.width * images.col.height
    for image in images.where(images.col.outcome.is_in(["decoded", "skipped"]), pixels > _BOMB):
        verb = "refuses" if image.width * image.height > 2 * _BOMB else "warns of"
        yield Finding(
            image.path,
            f"has {{megapixels}} megapixels, which Pillow {verb} as a decompression bomb",
            megapixels=round(image.width * image.height / 1e6),
            width=image.width,
            height=image.height,
            bytes=image.size,
            fix=leave_out(
                (image.path,),
                "make it smaller or cut it into tiles; Image.MAX_IMAGE_PIXELS = None only where you trust the file",
                safe=False,
            ),
        )
    usual, _ = images.usual(pixels)
    if len(images.decoded) >= _LEAST and usual > megapixels * 1e6:
        yield Finding(
            ".",
            "a picture usually has {megapixels} megapixels: {gigabytes} GB to decode for every thousand of them",
            megapixels=round(usual / 1e6, 1),
            gigabytes=round(usual * 3 * 1000 / 1e9, 1),
            severity=Severity.INFO,
            fix=Advice(
                "make them smaller once, offline (image.thumbnail((1024, 1024))), unless the network sees them at full "
                "size or in tiles"
            ),
        )


@check("IMG016", Severity.WARNING, Severity.INFO, since="0.1")
def multi_frame_image(images: ImageTable) -> Iterator[Finding]:
    """The file holds several pictures, and a loader sees the first alone.

    `Image.open` and `cv2.imread` give frame 0 of an animation and page 1 of a document; the rest never trains.

    Fix: `ImageSequence.Iterator(image)` to save each frame as a file of its own.
    """
    many = list(images.where(images.col.outcome == "decoded", images.col.frames > 1))
    if not many:
        return
    # a stack of slices or channels in every file is how microscopes write, and its reader knows
    deliberate = len(many) * 2 > len(images.decoded)
    if len(many) > _NAMED:
        yield Finding(
            ".",
            "{count} files hold several pictures each, up to {frames}: a loader sees the first of each alone",
            count=len(many),
            frames=max(image.frames for image in many),
            example=many[0].path,
            paths=[image.path for image in many[:1000]],
            severity=Severity.INFO if deliberate else Severity.WARNING,
            fix="ImageSequence.Iterator(image) gives the others; save those that are wanted as files of their own",
        )
        return
    for image in many:
        yield Finding(
            image.path,
            "holds {frames} frames, of which a loader sees the first alone",
            frames=image.frames,
            format=image.format,
            fix="ImageSequence.Iterator(image) gives the others; save those that are wanted as files of their own",
        )


@check("IMG017", Severity.WARNING, since="0.1")
def high_bit_depth(images: ImageTable) -> Iterator[Finding]:
    """Pictures hold more than 256 levels, which `convert` cuts off.

    `.convert("L")` and `.convert("RGB")`, ImageFolder's among them, clip each level to 0..255: a 16-bit picture turns
    white, one of fractions black.

    Fix: read the levels as numbers, `np.asarray(Image.open(path))`, and scale them by the range of the sensor.
    """
    deep = images.decoded.filter(images.col.mode.str.starts_with("I") | (images.col.mode == "F"))
    # what fits into 0 to 255 in whole numbers survives; fractions do not
    clipped = deep.filter((images.col.brightest > 255) | (images.col.darkest < 0) | (images.col.brightest <= 1))
    if not len(clipped):
        return
    first = next(images.rows(clipped))
    rows = tuple(
        (group.mode, group.len, f"{group.darkest:g}", f"{group.brightest:g}")
        for group in images.rows(
            clipped.group_by("mode", maintain_order=True).agg(
                images.col.path.len().cast(int).alias("len"), images.col.darkest.min(), images.col.brightest.max()
            )
        )
    )
    least, most = min(float(row[2]) for row in rows), max(float(row[3]) for row in rows)
    yield Finding(
        ".",
        '{count} pictures hold levels from {least:g} to {most:g}: .convert("RGB") clips them to 0..255',
        count=len(clipped),
        least=least,
        most=most,
        example=first.path,
        show=Table(("mode", "pictures", "darkest", "brightest"), rows),
        fix="np.asarray(Image.open(path), dtype=np.float32)"
        + (f" / {most:g}" if most > 1 else "")
        + ', not .convert("RGB")',
    )
