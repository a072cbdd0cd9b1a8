"""Labels against predictions and neighbours: what was made wrong is found, and files that don't fit are named."""

from pathlib import Path
from typing import Any

import numpy
import polars
import pytest
from dldoctor.checks.label_noise import suspicious_label
from sklearn.datasets import load_digits

from dldoctor import BadInput, LabelAgreement, LabelTable
from dldoctor.facts.dataset.vectors import read_vectors
from dldoctor.facts.subjects import EmbeddingsAsked, PredictionsAsked

PICTURES = [f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(20)]


def labels(pictures: list[str], texts: list[str]) -> LabelTable:
    return LabelTable.from_rows(
        [
            {"source": "labels.csv", "line": line, "picture": picture, "text": text, "form": "name", "named": True}
            for line, (picture, text) in enumerate(zip(pictures, texts, strict=True), 2)
        ]
    )


def test_digits_with_wrong_labels_are_found_by_their_neighbours(tmp_path: Path) -> None:
    digits: Any = load_digits()
    random = numpy.random.default_rng(0)
    truth = digits.target[:900]
    wrong = random.random(900) < 0.1
    given = numpy.where(wrong, (truth + random.integers(1, 10, 900)) % 10, truth)
    pictures = [f"{number:04}.png" for number in range(900)]
    numpy.save(tmp_path / "vectors.npy", digits.data[:900])
    found = LabelAgreement.gather(
        labels(pictures, [f"digit {n}" for n in given]), None, EmbeddingsAsked(tmp_path / "vectors.npy")
    )
    named = {finding.at.path for finding in suspicious_label(found)}
    made = {picture for picture, is_wrong in zip(pictures, wrong, strict=True) if is_wrong}
    assert len(named & made) >= 0.7 * len(made)
    assert len(named & made) >= 0.9 * len(named)


def predicted(folder: Path, strayed: int, logits: bool = False) -> LabelAgreement:
    table = numpy.array([[0.9, 0.1]] * 20 + [[0.2, 0.8]] * 20)
    table[strayed] = [0.05, 0.95]
    numpy.savez(folder / "p.npz", paths=PICTURES, probabilities=numpy.log(table) + 3 if logits else table)
    return LabelAgreement.gather(
        labels(PICTURES, [path[:3] for path in PICTURES]), PredictionsAsked(folder / "p.npz"), None
    )


@pytest.mark.parametrize("logits", [False, True])
def test_a_confident_prediction_of_another_class_is_named(tmp_path: Path, logits: bool) -> None:
    (finding,) = suspicious_label(predicted(tmp_path, 3, logits))
    assert finding.at.path == "cat/3.jpg"
    assert finding.message == "is labelled cat; the predictions say dog (0.95 against 0.05)"


def test_a_file_in_another_order_is_one_finding(tmp_path: Path) -> None:
    numpy.save(tmp_path / "p.npy", numpy.array([[0.1, 0.9]] * 20 + [[0.9, 0.1]] * 20))
    found = LabelAgreement.gather(
        labels(PICTURES, [path[:3] for path in PICTURES]), PredictionsAsked(tmp_path / "p.npy"), None
    )
    (finding,) = suspicious_label(found)
    assert "40 of 40 labels disagree" in finding.message


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_that_are_classes_are_taken_by_their_names(tmp_path: Path, ending: str) -> None:
    table = polars.DataFrame({"file": PICTURES, "dog": [0.1] * 20 + [0.9] * 20, "cat": [0.9] * 20 + [0.1] * 20})
    table.write_csv(tmp_path / "p.csv") if ending == "csv" else table.write_parquet(tmp_path / "p.parquet")
    found = LabelAgreement.gather(
        labels(PICTURES, [path[:3] for path in PICTURES]), PredictionsAsked(tmp_path / f"p.{ending}"), None
    )
    assert found.frame.filter(polars.col("likely") != polars.col("given")).height == 0


def test_paths_from_another_machine_are_known_by_their_ends(tmp_path: Path) -> None:
    numpy.savez(tmp_path / "v.npz", paths=[f"/mnt/data/{path}" for path in PICTURES], values=numpy.eye(40))
    assert read_vectors(tmp_path / "v.npz", "--embeddings", PICTURES).paths == PICTURES


BAD: dict[str, tuple[Any, str]] = {
    "rows": (numpy.zeros((7, 2)), "has 7 rows for 40 labelled pictures; rows without paths stand in the sorted order"),
    "one number": (numpy.zeros(40), "has the shape 40"),
    "not a number": (numpy.full((40, 2), numpy.nan), "row 0 holds NaN or infinity, as do 40 rows"),
    "objects": (numpy.array([{}] * 40, dtype=object), "can't be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_does_not_fit_is_one_sentence(tmp_path: Path, name: str) -> None:
    values, said = BAD[name]
    numpy.save(tmp_path / "v.npy", values, allow_pickle=True)
    with pytest.raises(BadInput, match=said) as error:
        read_vectors(tmp_path / "v.npy", "--embeddings", PICTURES)
    assert "\n" not in str(error.value)


def test_other_files_and_other_names_are_refused(tmp_path: Path) -> None:
    for name, content in {"v.txt": "1", "v.csv": "file,a,b\nx.jpg,1,2\ny.jpg,3,4\n", "v.parquet": "none"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(BadInput, match=f"--embeddings .*{name}: "):
            read_vectors(tmp_path / name, "--embeddings", PICTURES)
    with pytest.raises(BadInput, match=r"can.t be read"):
        read_vectors(tmp_path / "gone.npy", "--embeddings", PICTURES)


def test_predictions_have_a_column_for_each_class(tmp_path: Path) -> None:
    numpy.save(tmp_path / "p.npy", numpy.zeros((40, 3)))
    with pytest.raises(BadInput, match=r"has 3 columns for 2 classes \(cat, dog\)"):
        LabelAgreement.gather(
            labels(PICTURES, [path[:3] for path in PICTURES]), PredictionsAsked(tmp_path / "p.npy"), None
        )
