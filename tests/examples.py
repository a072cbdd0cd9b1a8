"""The checks that the sick example does not set off: `python tests/examples.py REPORT.json`; CI runs it."""

import json
import sys

from dldoctor.plugins import load_registry

#: what a folder can't hold: the state of a machine, and a file that would not even be read
NOT_PLANTED = {"ENV002", "ENV003", "ENV004", "ENV005", "ENV007", "ENV009", "ENV012", "MEM002", "SRC081"}


def main(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    found = {finding["code"] for finding in report["findings"]}
    silent = set(load_registry().checks) - found - NOT_PLANTED
    needless = NOT_PLANTED & found - {"ENV003", "ENV012", "MEM002"}  # a machine may really be short of memory
    print(f"{len(report['findings'])} findings of {len(found)} checks")
    for code in sorted(silent):
        print(f"{code} does not speak on examples/flowers")
    for code in sorted(needless):
        print(f"{code} speaks on examples/flowers and needs no exemption")
    return 1 if silent or needless or report["crashed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
