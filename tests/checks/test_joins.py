"""Labels joined with a network's last layer, on facts alone."""

from dldoctor import ClassCount, ModelHead, Place
from dldoctor.facts.dataset.labels import LabelTable
from dldoctor.plugins import load_registry

CHECKS = load_registry().checks

HEAD = ModelHead("fc2", "Linear(128, 4)", 4, "net.py", 12)
CLASSES = ClassCount(4, "fc2, Linear(128, 4)", HEAD)


def labels(values: list[int]) -> LabelTable:
    return LabelTable.from_rows(
        [
            {
                "source": "labels.csv",
                "line": n + 2,
                "column": "label",
                "form": "index",
                "text": str(v),
                "value": float(v),
            }
            for n, v in enumerate(values)
        ]
    )


def test_a_label_beyond_the_last_layer_is_found_at_the_layer_with_the_number_to_write() -> None:
    (finding,) = CHECKS["LBL001"].function(labels([0, 1, 4, 5]), CLASSES, None)
    assert finding.at == Place("net.py", 12, layer="fc2")
    assert finding.message == "labels go up to 5, fc2, Linear(128, 4) answers 4 classes"
    assert finding.fix is not None
    assert finding.fix.summary.startswith("write 6 there")


def test_labels_within_the_last_layer_are_passed() -> None:
    assert list(CHECKS["LBL001"].function(labels([0, 3]), CLASSES, None)) == []


def test_a_label_below_0_is_found_at_the_label_file() -> None:
    (finding,) = CHECKS["LBL001"].function(labels([-1, 0]), CLASSES, None)
    assert finding.at == Place("labels.csv")


def test_labels_from_one_to_the_width_of_the_last_layer_start_at_one() -> None:
    (finding,) = CHECKS["LBL003"].function(labels([1, 2, 3, 4]), CLASSES, None)
    assert finding.evidence["largest"] == 4
    assert list(CHECKS["LBL003"].function(labels([1, 2, 3]), CLASSES, None)) == []
