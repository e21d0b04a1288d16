"""Fails when kv, model or engine names an attention method: methods are policies that no other room knows.

Usage: check_methods.py [ROOT]
Words and parts of identifiers count, in comments too (`dense_layers`, `kQuest`, "the dense path"). Tests are
free: they have to choose some method. So are names of tensors in quotes ("output.dense.weight", "mlp.dense_in.bias").
"""
import pathlib
import re
import sys

METHODS = "loki atp h2o quest sparq streaming dense".split()
FORMS = "|".join(form for name in METHODS for form in (name, name.capitalize(), name.upper()))
NAME = re.compile(rf"(?:(?<![A-Za-z])|(?<=\bk))(?:{FORMS})(?![a-z])")
TENSOR = re.compile(r'"[\w.]+\.dense(?:_\w+)?(?:\.\w+)?"')


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    found = 0
    for room in ("kv", "model", "engine"):
        for file in sorted((root / "src" / room).rglob("*")):
            if not file.is_file() or "_test." in file.name:
                continue
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                if NAME.search(TENSOR.sub("", line)):
                    print(f"{file.relative_to(root)}:{number}: names a method: {line.strip()}", file=sys.stderr)
                    found += 1
    print(f"check_methods: {found} lines of kv, model and engine name a method")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
