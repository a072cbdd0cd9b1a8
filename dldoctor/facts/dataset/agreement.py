"""How labels agree with predictions from outside of training, or with the labels of the nearest pictures.

Confident learning (arXiv 1911.00068): a class is likely for a picture when its probability reaches the mean probability
that the class has among the pictures labelled as it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from dldoctor.fact import BadInput, TableFact, Unavailable
from dldoctor.facts.dataset.labels import LabelTable
from dldoctor.facts.dataset.vectors import Vectors, read_vectors
from dldoctor.facts.subjects import EmbeddingsAsked, PredictionsAsked

#: nearest pictures that vote, and pictures compared with all others at once
_NEIGHBOURS, _CHUNK = 10, 1024


class LabelAgreement(TableFact):
    """One row per labelled picture that a prediction or an embedding is for.

    Columns:
        path: the picture. given: its label's class. likely: the likeliest of the classes that reach their threshold;
            null where none does.
        given_score, likely_score: their probabilities, or shares of the votes.
        source: `predictions` or `neighbours`.
    """

    waiting_for: ClassVar[str] = "labels to be compared with predictions"
    schema: ClassVar[dict[str, str]] = {
        "path": "String",
        "given": "String",
        "likely": "String",
        "given_score": "Float64",
        "likely_score": "Float64",
        "source": "String",
    }

    @classmethod
    def gather(
        cls, labels: LabelTable, predictions: PredictionsAsked | None, embeddings: EmbeddingsAsked | None
    ) -> Self:
        if predictions is None and embeddings is None:
            raise Unavailable("needs --predictions FILE or --embeddings FILE")
        given = _labelled(labels)
        names = _in_order(given)
        if len(names) < 2:
            raise Unavailable("needs labels of at least two classes")
        index = {name: number for number, name in enumerate(names)}
        if predictions is not None:
            found = read_vectors(predictions.file, "--predictions", list(given))
            probabilities = _probabilities(found, names, predictions)
            source = "predictions"
        else:
            assert embeddings is not None  # one of both was asked for
            found = read_vectors(embeddings.file, "--embeddings", list(given))
            own = [index[given[path][1]] for path in found.paths]
            probabilities = _votes(found.values, own, len(names))
            source = "neighbours"
        own = [index[given[path][1]] for path in found.paths]
        likely = _likely(probabilities, own)
        return cls.from_rows(
            [
                {
                    "path": path,
                    "given": names[mine],
                    "likely": names[other] if other >= 0 else None,
                    "given_score": float(row[mine]),
                    "likely_score": float(row[other]) if other >= 0 else None,
                    "source": source,
                }
                for path, mine, other, row in zip(found.paths, own, likely, probabilities, strict=True)
            ]
        )


def _labelled(labels: LabelTable) -> dict[str, tuple[float | None, str]]:
    """(number, class) of each picture that has exactly one label."""
    found: dict[str, tuple[float | None, str]] = {}
    several: set[str] = set()
    for row in labels.where(labels.col.picture.is_not_null(), labels.col.form != "blank"):
        if row.form == "number":
            raise Unavailable("the labels are no classes")
        entry = (row.value if row.form == "index" else None, row.name or row.text)
        if found.setdefault(row.picture, entry) != entry:
            several.add(row.picture)
    return {path: entry for path, entry in found.items() if path not in several}


def _in_order(given: dict[str, tuple[float | None, str]]) -> list[str]:
    """The classes in the order of their indices: numbers by value, names as text."""
    order = {name: (0, value, "") if value is not None else (1, 0.0, name) for value, name in given.values()}
    return sorted(order, key=lambda name: order[name])


def _probabilities(found: Vectors, names: list[str], asked: PredictionsAsked) -> Any:
    """One column for each class, in their order; logits become probabilities."""
    import numpy

    values = found.values
    if set(names) <= set(found.columns):
        values = values[:, [found.columns.index(name) for name in names]]
    elif values.shape[1] != len(names):
        raise BadInput(
            f"--predictions {asked.file}: has {values.shape[1]} columns for {len(names)} classes "
            f"({', '.join(names[:4])}{', ...' if len(names) > 4 else ''}); one for each, in the order of their indices"
        )
    if (values >= 0).all() and numpy.abs(values.sum(axis=1) - 1).max() < 0.02:
        return values
    powers = numpy.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _votes(vectors: Any, own: list[int], classes: int) -> Any:
    """The share of each class among a picture's nearest others, by the angle between their vectors."""
    import numpy

    count = len(vectors)
    centred = vectors - vectors.mean(axis=0)
    unit = centred / numpy.maximum(numpy.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    labels = numpy.asarray(own)
    near = min(_NEIGHBOURS, count - 1)
    votes = numpy.zeros((count, classes), numpy.float32)
    for start in range(0, count, _CHUNK):
        alike = unit[start : start + _CHUNK] @ unit.T
        rows = numpy.arange(len(alike))
        alike[rows, start + rows] = -2  # not a neighbour of itself
        nearest = numpy.argpartition(-alike, near - 1, axis=1)[:, :near]
        for column in range(near):
            votes[start + rows, labels[nearest[:, column]]] += 1
    return votes / max(near, 1)


def _likely(probabilities: Any, own: list[int]) -> list[int]:
    """For each picture the likeliest class among those that reach their threshold, or -1."""
    import numpy

    labels = numpy.asarray(own)
    classes = probabilities.shape[1]
    mine = probabilities[numpy.arange(len(labels)), labels]
    counts = numpy.bincount(labels, minlength=classes)
    sums = numpy.bincount(labels, weights=mine, minlength=classes)
    thresholds = numpy.where(counts > 0, sums / numpy.maximum(counts, 1), 2.0)  # no sample: no threshold to reach
    reached = numpy.where(probabilities >= thresholds, probabilities, -1.0)
    best = reached.argmax(axis=1)
    return [int(number) if score >= 0 else -1 for number, score in zip(best, reached.max(axis=1), strict=True)]
