"""Writes the tables of README.md and docs from the results in bench/results, so that no number is ever typed.

Usage: readme_table.py [--check]      --check: change nothing, fail when a table is out of date
A table stands between two comments; the first names the file and says each column as `heading = format of a row`:

    <!-- table bench/results/demo.json
    method = {method}
    MB per token = {attention_bytes_per_token:M.1f}
    -->
    (written by this tool)
    <!-- end -->

An `M` before the rest of a format shows a number in millions.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = re.compile(r"(<!-- table (\S+)\n(.*?)-->\n)(.*?)(<!-- end -->)", re.DOTALL)


class Number(float):
    def __format__(self, form):
        return format(self / 1e6, form[1:]) if form.startswith("M") else super().__format__(form)


def cell(form, values):
    try:
        return form.format_map(values)
    except KeyError:  # not every row has every number
        return ""


def render(path, columns):
    result = json.loads((ROOT / path).read_text())
    pairs = [line.split(" = ", 1) for line in columns.strip().splitlines()]
    lines = [[heading.strip() for heading, _ in pairs], ["---"] * len(pairs)]
    for row in result["results"]:
        values = {key: Number(value) if isinstance(value, float) else value for key, value in row.items()}
        lines.append([cell(form.strip(), values) for _, form in pairs])
    table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    return f"{table}\n<sub>{result['machine']}; `{result.get('command', path)}` at {result['commit']}, {result['date']}</sub>\n"


def main():
    late = False
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        old = page.read_text(encoding="utf-8")
        new = TABLE.sub(lambda match: match[1] + render(match[2], match[3]) + match[5], old)
        if new == old:
            continue
        if "--check" in sys.argv[1:]:
            print(f"readme_table: {page.relative_to(ROOT)} is out of date; run python3 tools/readme_table.py", file=sys.stderr)
            late = True
            continue
        page.write_text(new, encoding="utf-8")
        print(f"readme_table: {page.relative_to(ROOT)} updated")
    if not late:
        print("readme_table: the tables are those of bench/results")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
