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

from lowkey.adapt import data, folder, spec
from lowkey.adapt.__main__ import main

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ.get("LOWKEY_BUILD", ROOT / "build/release"))
DATA = ROOT / "tests/data"
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


def engine_scores(model, text, *options):
    command = [program("apps/cli/lowkey"), "run", str(model), "-p", text, "--json", *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def rounding(logits, turns):
    """f32 matrices pass through some products; each form adds a chain of SVDs, `turns` long."""
    return 2.0**-24 * 256 * (1 + turns) * (logits.max() - logits.min()).item()


@torch.no_grad()
@pytest.mark.parametrize("attention,turns", [
    ("dense", 0),
    ("atp:form=factor,r=all" + SHORT, 1),
    ("atp:form=factor,r=7/8" + SHORT, 8),
    ("atp:form=factor,r=1/4" + SHORT, 8),
    ("atp:form=factor,r=1/4,basis=energy" + SHORT, 8),
    ("atp:form=factor,r=1/8" + SHORT, 8),
    ("atp:form=softmax,r=7/8,sink=4,recent=16,chunk=64,min=0", 4),
    ("atp:form=softmax,r=1/4" + SHORT, 8),
    ("atp:form=softmax,r=1/8" + SHORT, 8),
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
@pytest.mark.parametrize("bits", [8, 4])
def test_fewer_bits(bits):
    """Directions of like size, and all signs, are free, and rounding does not take them alike: only errors' size is."""
    name, attention = "tiny-llama3", "atp:form=factor,r=all"
    model = folder.load(DATA / name)
    ids = np.random.default_rng(1).integers(0, model.config["vocab_size"], 300).tolist()
    exact = engine_logits(DATA / name, attention + SHORT, ids)
    attention += f",bits={bits}" + SHORT
    expected = (engine_logits(DATA / name, attention, ids) - exact).square().mean().item()
    logits = model.logits(model(torch.tensor([ids]), spec.parse(attention, causal=True)))[0]
    assert expected / 2 < (logits - exact).square().mean().item() < 2 * expected


@torch.no_grad()
@pytest.mark.parametrize("attention", [
    "dense", "atp:form=factor,r=1/2", "atp:form=softmax,r=1/2", "atp:form=softmax,r=1/4", "atp:form=softmax,r=1/8",
    "atp:form=softmax,r=1/2,linear=off", "atp:form=softmax,r=1/2,linear=on", "atp:form=softmax,r=1/2,sink=2",
    "atp:form=linear", "atp:form=linear,sink=1",
])
@pytest.mark.parametrize("text", ["the sea was calm", "calm", "he said that nobody saw the old ship, or the calm sea"])
def test_bert(text, attention):
    folder_path = DATA / "tiny-bert"
    model, how = folder.load(folder_path), spec.parse(attention, causal=False)
    ids = data.open_tokenizer(folder_path).encode(text).ids
    expected = torch.tensor(engine_scores(folder_path, text, "--attention", attention)["texts"][0]["scores"])
    scores = model.scores(model(torch.tensor([ids]), how))[0]
    assert (scores - expected).abs().max().item() <= 2.0**-24 * 1024 * (1 + expected.abs().max().item())


def test_an_adapted_folder_runs_by_itself(tmp_path):
    """Trained a little, merged and written: `lowkey run` takes the attention from config.json, and says the same."""
    lines = [f"{word} sea\t{label}" for label, word in enumerate(("calm", "old")) for _ in range(8)]
    (tmp_path / "train.tsv").write_text("sentence\tlabel\n" + "\n".join(lines) + "\n")
    attention = "atp:form=softmax,r=1/2"
    words = ["train", DATA / "tiny-bert", "--sentences", tmp_path / "train.tsv", "--attention", attention,
             "--steps", 12, "--batch", 8, "--rate", 0.01, "--lora", 4, "--labels", "quiet,aged", "--device", "cpu",
             "-o", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    found = engine_scores(tmp_path / "out", "calm sea")
    assert found["attention"] == attention
    assert found["texts"][0]["label"] == "quiet"
    model = folder.load(tmp_path / "out")
    with torch.no_grad():
        ids = torch.tensor([data.open_tokenizer(tmp_path / "out").encode("calm sea").ids])
        scores = model.scores(model(ids, spec.parse(attention, causal=False)))[0]
    expected = torch.tensor(found["texts"][0]["scores"])
    assert (scores - expected).abs().max().item() <= 2.0**-24 * 1024 * (1 + expected.abs().max().item())
