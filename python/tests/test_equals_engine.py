"""The forward pass gives the numbers of the C++ engine, for every form: what is trained here runs there.

LOWKEY_BUILD names the build folder (default build/release) with `lowkey` and `print_logits`.
"""
import json
import os
import pathlib
import subprocess

import numpy as np
import pytest
import torch

from lowkey.adapt import folder, spec

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ.get("LOWKEY_BUILD", ROOT / "build/release"))
DATA = ROOT / "tests/data"
# Ranks at which the block of the SVD spans all that there is (width 64, or a text's tokens): no chance is left in it.
SHORT = ",sink=4,recent=16,chunk=32,min=0"


def program(path):
    if not (BUILD / path).exists():
        pytest.skip(f"{path} is not built")
    return str(BUILD / path)


def engine_logits(model, attention, ids):
    run = subprocess.run(
        [program("tests/print_logits"), str(model), attention], input=" ".join(map(str, ids)).encode(), check=True,
        stdout=subprocess.PIPE,
    )
    return torch.from_numpy(np.frombuffer(run.stdout, np.float32).copy()).view(len(ids), -1)


def rounding(logits, turns):
    """f32 matrices pass through some products; each form adds a chain of SVDs, `turns` long."""
    return 2.0**-24 * 256 * (1 + turns) * (logits.max() - logits.min()).item()


@torch.no_grad()
@pytest.mark.parametrize("attention,turns", [
    ("dense", 0),
    ("atp:form=factor,r=all" + SHORT, 1),
    ("atp:form=factor,r=7/8" + SHORT, 8),
    ("atp:form=softmax,r=7/8,sink=4,recent=16,chunk=64,min=0", 4),
    ("atp:form=linear" + SHORT, 1),
    ("atp:form=linear,sink=0,recent=1,chunk=7,min=100", 1),
])
@pytest.mark.parametrize("name", ["tiny-llama3", "tiny-linear"])
def test_llama(name, attention, turns):
    model = folder.load(DATA / name)
    ids = np.random.default_rng(1).integers(0, model.config["vocab_size"], 300).tolist()
    expected = engine_logits(DATA / name, attention, ids)
    logits = model.logits(model(torch.tensor([ids]), spec.parse(attention, causal=True)))[0]
    assert (logits - expected).abs().max().item() <= rounding(expected, turns)


@torch.no_grad()
@pytest.mark.parametrize("attention", [
    "dense", "atp:form=factor,r=1/2", "atp:form=softmax,r=1/2", "atp:form=softmax,r=1/4", "atp:form=softmax,r=1/8",
    "atp:form=linear", "atp:form=linear,sink=1", "atp:form=softmax,r=1/2,sink=2",
])
def test_bert(attention):
    from tokenizers import Tokenizer

    texts = ["the sea was calm", "a", "he said that nobody ever saw it"]
    model = folder.load(DATA / "tiny-bert")
    tokenizer = Tokenizer.from_file(str(DATA / "tiny-bert/tokenizer.json"))
    for text in texts:
        command = [program("apps/cli/lowkey"), "run", str(DATA / "tiny-bert"), "-p", text, "--json"]
        run = subprocess.run([*command, "--attention", attention], check=True, stdout=subprocess.PIPE)
        expected = torch.tensor(json.loads(run.stdout)["texts"][0]["scores"])
        ids = tokenizer.encode(text).ids[: model.config["max_position_embeddings"]]
        scores = model.scores(model(torch.tensor([ids]), spec.parse(attention, causal=False)))[0]
        assert (scores - expected).abs().max().item() <= 2.0**-24 * 1024 * (1 + expected.abs().max().item()), text
