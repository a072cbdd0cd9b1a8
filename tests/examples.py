"""The families that the sick example does not set off: `python tests/examples.py REPORT.json`; CI runs it.

Each check has a fixture of its own; the example shows that a whole project is examined.
"""

import json
import sys

from dldoctor.plugins import load_registry


def main(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    found = {finding["code"] for finding in report["findings"]}
    silent = {code[:3] for code in load_registry().checks} - {code[:3] for code in found}
    print(f"{len(report['findings'])} findings of {len(found)} checks")
    for family in sorted(silent):
        print(f"no check of {family} speaks on examples/flowers")
    return 1 if silent or report["crashed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
