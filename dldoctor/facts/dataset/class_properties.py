"""How well a property of the files alone, without a look at what they show, tells the classes apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dldoctor.fact import TableFact, Unavailable
from dldoctor.facts.dataset.labels import LabelTable
from dldoctor.facts.dataset.pictures import ImageTable

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

#: a class takes part from so many pictures on; beyond so many classes there is no one property to part them
LEAST_SAMPLES, MOST_CLASSES = 20, 50
#: pictures taken from each class at most
SAMPLES = 2000
#: parts of the data, each answered by what the others teach
FOLDS = 5
#: bins of a property that is a number, with equally many pictures each
BINS = 12


class ClassProperties(TableFact):
    """One row per property of files and value of it.

    Columns:
        property: `size`, `aspect ratio`, `format`, `ending`, `channels`, `JPEG quality`, `EXIF`, `bytes per pixel`.
        accuracy: balanced accuracy, on pictures that were held out, of a rule that knows the property alone.
        chance: of a rule that knows nothing. error: the standard error of `accuracy`.
        classes, samples: how many took part.
        value, label, count, share: the most telling values: how many pictures of a class have it, of all that have it.
    """

    waiting_for: ClassVar[str] = "the properties of classes"
    schema: ClassVar[dict[str, str]] = {
        "property": "String",
        "accuracy": "Float64",
        "chance": "Float64",
        "error": "Float64",
        "classes": "Int64",
        "samples": "Int64",
        "value": "String",
        "label": "String",
        "count": "Int64",
        "share": "Float64",
    }

    @classmethod
    def gather(cls, images: ImageTable, labels: LabelTable) -> Self:
        import numpy
        import polars

        col = polars.col
        given = (
            labels.frame.filter(col("picture").is_not_null(), col("form").is_in(["index", "name"]))
            .select(col("picture").alias("path"), polars.coalesce("name", "text").alias("given"))
            .unique("path", keep="none")  # several labels: no classes that exclude each other
        )
        # a copy on both sides of a fold would be answered from memory
        rows = images.decoded.unique("pixels_hash", keep="first", maintain_order=True).join(
            given, on="path", how="inner", maintain_order="left"
        )
        rows = rows.filter(col("path").len().over("given") >= LEAST_SAMPLES)
        # by their contents' hash: the same ones whatever the order of the files
        rows = rows.sort("pixels_hash").filter(col("path").cum_count().over("given") <= SAMPLES)
        names = sorted(set(rows["given"]))
        if not 2 <= len(names) <= MOST_CLASSES:
            raise Unavailable(f"needs 2 to {MOST_CLASSES} classes of {LEAST_SAMPLES} pictures each")
        target = numpy.array([names.index(name) for name in rows["given"]])
        fold = rows.select((col("path").cum_count().over("given") % FOLDS).alias("fold"))["fold"].to_numpy()
        found: list[dict[str, Any]] = []
        for name, values in _properties(rows).items():
            coded, words = _coded(values)
            if len(words) < 2:
                continue
            accuracy, error = _held_out(coded, target, fold, len(words), len(names))
            found += [
                {
                    "property": name,
                    "accuracy": round(accuracy, 4),
                    "chance": 1 / len(names),
                    "error": round(error, 4),
                    "classes": len(names),
                    "samples": len(target),
                    **told,
                }
                for told in _telling(coded, target, words, names)
            ]
        return cls.from_rows(found)


def _properties(rows: Any) -> dict[str, list[Any]]:
    """The value of each property for each row."""
    frame: dict[str, list[Any]] = rows.select(
        "path", "size", "width", "height", "format", "mode", "quality", "exif"
    ).to_dict(as_series=False)
    sizes = list(zip(frame["width"], frame["height"], strict=True))
    return {
        "size": [float(max(size)) for size in sizes],
        "aspect ratio": [round(width / height, 2) for width, height in sizes],
        "format": frame["format"],
        "ending": [path.rpartition(".")[2] for path in frame["path"]],
        "channels": frame["mode"],
        "JPEG quality": [None if value is None else float(value) for value in frame["quality"]],
        "EXIF": ["with EXIF" if value else "without EXIF" for value in frame["exif"]],
    }


def _coded(values: Sequence[Any]) -> tuple[Array, list[str]]:
    """Values as small numbers, and the words for those: numbers of many values go into bins of equally many."""
    import numpy

    distinct = sorted({value for value in values if value is not None}, key=lambda value: (str(type(value)), value))
    if len(distinct) > BINS and isinstance(distinct[0], float):
        numbers = numpy.array([numpy.nan if value is None else value for value in values])
        edges = numpy.unique(numpy.nanquantile(numbers, numpy.linspace(0, 1, BINS + 1)))
        coded = numpy.where(numpy.isnan(numbers), len(edges), numpy.searchsorted(edges[1:-1], numbers, side="right"))
        ends = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
        return coded, [*ends, "", "none"][: len(edges) + 1]
    place = {value: number for number, value in enumerate(distinct)}
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in distinct]
    if None in values:
        place[None] = len(distinct)
        words.append("none")
    return numpy.array([place[value] for value in values]), words


def _held_out(coded: Array, target: Array, fold: Array, values: int, classes: int) -> tuple[float, float]:
    """Balanced accuracy of the rule "the class that most often has this value", each fold answered by the others, and
    its standard error. A value that the others don't have is answered by chance."""
    import numpy

    counts = numpy.zeros((FOLDS, values, classes))
    numpy.add.at(counts, (fold, coded, target), 1)
    total = counts.sum(axis=0)
    right = numpy.zeros(classes)
    for held in range(FOLDS):
        learned = total - counts[held]
        rates = learned / numpy.maximum(1, learned.sum(axis=0))  # classes weigh alike
        best = rates.max(axis=1, keepdims=True)
        answers = numpy.where(best > 0, rates == best, 1)  # of several as good, any
        right += (counts[held] * answers / answers.sum(axis=1, keepdims=True)).sum(axis=0)
    samples = total.sum(axis=(0,))
    recalls = right / samples
    error = float(numpy.sqrt((recalls * (1 - recalls) / samples).sum()) / classes)
    return float(recalls.mean()), error


def _telling(coded: Array, target: Array, words: list[str], names: list[str]) -> list[dict[str, Any]]:
    """The values that say most: for each class the one that it has more often than all others."""
    import numpy

    counts = numpy.zeros((len(words), len(names)))
    numpy.add.at(counts, (coded, target), 1)
    rates = counts / counts.sum(axis=0)
    found: list[dict[str, Any]] = []
    for label in range(len(names)):
        others = (rates.sum(axis=1) - rates[:, label]) / (len(names) - 1)
        value = int((rates[:, label] - others).argmax())
        found.append(
            {
                "value": words[value],
                "label": names[label],
                "count": int(counts[value, label]),
                "share": round(float(rates[value, label]), 4),
            }
        )
    return sorted(found, key=lambda told: -told["share"])[:6]
