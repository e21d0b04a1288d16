"""Writes the tables of README.md and docs from the results in bench/results, so that no number is ever typed.

Usage: readme_table.py [--check]      --check: change nothing, fail when a table is out of date
A table stands between two comments; the first names the file and says each column as `heading = format of a row`:

    <!-- table bench/results/demo.json
    method = {method}
    MB per token = {attention_bytes_per_token:M.1f}
    -->
    (written by this tool)
    <!-- end -->

An `M` before the rest of a format shows a number in millions. The settings of a row's `method` can be named too:
{spec[k]}, and of an index pq:64 {spec[kind]} and {spec[bits]}. Two lines may stand before the columns:

    @where {spec[bits]} = 64              only rows for which it says that
    @pivot {spec[basis]} = {kl:.4f}       a column for each basis, beside those named; rows without one are left out
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


def spec_of(method):
    """The settings of "loki:index=pq:64,k=1/8"."""
    name, _, settings = str(method).partition(":")
    spec = {"name": name, **dict(word.split("=", 1) for word in settings.split(",") if "=" in word)}
    if ":" in spec.get("index", ""):
        spec["kind"], spec["bits"] = spec["index"].split(":")
    return spec


def cell(form, values):
    try:
        return form.strip().format_map(values)
    except KeyError:  # not every row has every number
        return ""


def wide(columns, pivot, rows):
    """Rows with the same cells in `columns` become one, with a column for each word that `pivot` says."""
    key, form = pivot
    words, found = [], {}
    for values in rows:
        word = cell(key, values)
        if not word:
            continue
        if word not in words:
            words.append(word)
        found.setdefault(tuple(cell(f, values) for _, f in columns), {})[word] = cell(form, values)
    return [[heading for heading, _ in columns] + words] + [[*same, *(of.get(word, "") for word in words)]
                                                            for same, of in found.items()]


def render(path, definition):
    result = json.loads((ROOT / path).read_text())
    pairs = [tuple(part.strip() for part in line.split(" = ", 1)) for line in definition.strip().splitlines()]
    columns = [pair for pair in pairs if not pair[0].startswith("@")]
    said = {heading.split(" ", 1)[0]: (heading.split(" ", 1)[1], form) for heading, form in pairs if heading[0] == "@"}
    rows = [{"spec": spec_of(row.get("method", "")),
             **{key: Number(value) if isinstance(value, float) else value for key, value in row.items()}}
            for row in result["results"]]
    if "@where" in said:
        rows = [values for values in rows if cell(said["@where"][0], values) == said["@where"][1]]
    if "@pivot" in said:
        lines = wide(columns, said["@pivot"], rows)
    else:
        lines = [[heading for heading, _ in columns]] + [[cell(form, values) for _, form in columns] for values in rows]
    lines.insert(1, ["---"] * len(lines[0]))
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
