"""`lowkey eval --task agreement` for scripts: any number of methods on one text, and a result as the row of a table."""
import json
import pathlib
import subprocess
import sys
import tempfile


def measure(program, model, specs, *, text, calibration, context, windows, threads):
    """{spec: its result}, dense attention's with them."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "agreement.json"
        command = [program, "eval", model, "--task", "agreement", "--text", text, "--calibration", calibration, "--context",
                   context, "--windows", windows, "-t", threads, "--json-file", file]
        for spec in specs:
            command += ["--attention", spec]
        command = [str(word) for word in command]
        print("+", *command, file=sys.stderr, flush=True)
        subprocess.run(command, check=True)
        return {result["attention"]: result for result in json.loads(file.read_text())["agreement"]["results"]}


def row(result, exact=None):
    """KL, how many times that of exact top-k with the same budget (its result, where there is one), rise of perplexity,
    and what was read. What evicts has no recall: it would be among the tokens that are still there."""
    kl, rise, seen = result["kl"], result["perplexity_increase_percent"], result["observed"]
    recall = {} if "h2o" in result["attention"] else {key: seen[key] for key in ("recall", "jaccard", "mass")}
    return {"kl": kl["mean"], "kl_error": kl["standard_error"],
            **({"times_exact": kl["mean"] / exact["kl"]["mean"]} if exact else {}),
            "perplexity": result["perplexity"], "perplexity_percent": rise["mean"], "low": rise["low"],
            "high": rise["high"], **recall, "index_bytes": seen["index_bytes_per_token"],
            "tokens_read": seen["tokens_read"]}
