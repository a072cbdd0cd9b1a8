"""LBL: labels that predictions or neighbours contradict."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Finding, LabelAgreement, Severity, Table, check

#: pictures below which a threshold is an accident
_ENOUGH = 30
#: a share of labels beyond which the file does not belong to them
_ASTRAY = 0.4
_SOURCES = {"predictions": "the predictions", "neighbours": "its nearest neighbours"}


@check("LBL013", Severity.INFO, since="0.1")
def suspicious_label(agreement: LabelAgreement, *, margin: float = 0.4) -> Iterator[Finding]:
    """A label disagrees with confident predictions from outside of training, or with the labels of like pictures.

    What is labelled wrongly is learned by heart, and in the validation set it punishes the right answer.

    Fix: look at the picture, the widest margins first; predictions must come from networks that did not train on it.
    """
    rows = list(agreement.where(agreement.col.likely.is_not_null(), agreement.col.likely != agreement.col.given))
    if len(agreement) < _ENOUGH:
        return
    if len(rows) > _ASTRAY * len(agreement):
        yield Finding(
            ".",
            "{count} of {all} labels disagree with {source}: more than labels are ever wrong",
            count=len(rows),
            all=len(agreement),
            source=_SOURCES[rows[0].source].replace("its", "their"),
            show=Table(("picture", "label", "likely"), tuple((row.path, row.given, row.likely) for row in rows[:4])),
            fix="see that rows and pictures, columns and classes are in the same order",
        )
        return
    for row in sorted(rows, key=lambda row: (row.given_score - row.likely_score, row.path)):
        if row.likely_score - row.given_score >= margin:
            yield Finding(
                row.path,
                "is labelled {given}; {source} say {likely} ({likely_score:.2f} against {given_score:.2f})",
                given=row.given,
                likely=row.likely,
                likely_score=round(row.likely_score, 4),
                given_score=round(row.given_score, 4),
                source=_SOURCES[row.source],
                fix="look at it, and correct the label where it is wrong",
            )
