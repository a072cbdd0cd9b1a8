"""IMG: what tells the classes apart without a look at the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dldoctor import Advice, ClassProperties, Finding, Severity, Table, check
from dldoctor.facts.dataset.names import is_images

#: folders that one scene may have pictures in: colour, depth, mask, ...; more are classes
_VIEWS = 4
#: properties that say the same thing twice: the first that speaks is enough
_SAME = ({"format", "ending", "JPEG quality", "EXIF"}, {"size", "aspect ratio"}, {"channels"})


@check("IMG025", Severity.WARNING, Severity.INFO, since="0.1")
def class_correlated_property(properties: ClassProperties, *, above_chance: float = 0.5) -> Iterator[Finding]:
    """How a picture is stored tells its class, whatever it shows.

    Classes that were gathered from different sources differ in size, format or compression: a network can learn that
    instead of the object, scores well on this dataset and fails on any other. Brightness is left out: it may be what
    the class is about.

    Fix: bring all pictures to one size, format and quality, and mix the sources within each class.
    """
    found: dict[str, list[Any]] = {}
    for row in properties.where():
        # the share of what there is between chance and certainty, less two standard errors
        if (row.accuracy - 2 * row.error - row.chance) / (1 - row.chance) >= above_chance:
            found.setdefault(row.property, []).append(row)
    if any(len(rows) <= _VIEWS and any(is_images(row.label) for row in rows) for rows in found.values()):
        return  # views of the same scenes (`rgb/`, `depth/`), not classes
    for alike in _SAME:
        telling = sorted((name for name in found if name in alike), key=lambda name: -found[name][0].accuracy)
        if not telling:
            continue
        rows = found[telling[0]]
        first = rows[0]
        yield Finding(
            ".",
            "{property} alone tells the class of {percent} % of held-out pictures, by chance {chance} %",
            property=telling[0],
            percent=round(100 * first.accuracy),
            chance=round(100 * first.chance),
            accuracy=first.accuracy,
            classes=first.classes,
            pictures=first.samples,
            also=telling[1:],
            show=Table(
                ("class", telling[0], "share of the class"),
                tuple((row.label, row.value, f"{100 * row.share:.0f} %") for row in rows[:4]),
            ),
            # what was cut out of larger pictures has the shape of its object
            severity=Severity.INFO if telling == ["aspect ratio"] else Severity.WARNING,
            fix=Advice("write all pictures at one size, format and quality, and mix the sources within each class"),
        )
