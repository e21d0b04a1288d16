"""Bad input ends with one line that says what is wrong and what it must be, not with a trace."""
import pathlib
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from lowkey.adapt.__main__ import main

DATA = pathlib.Path(__file__).parents[2] / "tests/data"


def _said(capsys, *words):
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("lowkey.adapt: ")
    return lines[-1]


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("the sea was calm and the ship was old. " * 100)
    return file


def _train(model, text, out, *more):
    return ["train", model, "--text", text, "--attention", "atp:r=1/4", "--length", 64, "--steps", 1, "--batch", 1,
            "--lora", 2, "--device", "cpu", "-o", out, *more]


def test_folders(capsys, tmp_path, text):
    llama, out = DATA / "tiny-llama3", tmp_path / "out"
    assert "no tokenizer.json" in _said(capsys, *_train(tmp_path, text, out))
    broken = tmp_path / "broken"
    shutil.copytree(llama, broken)
    (broken / "model.safetensors").write_bytes(b"no tensors")
    assert "no safetensors file" in _said(capsys, *_train(broken, text, out))
    (broken / "model.safetensors").unlink()
    assert "no .safetensors file" in _said(capsys, *_train(broken, text, out))
    (broken / "config.json").write_text("{")
    assert "no JSON" in _said(capsys, *_train(broken, text, out))
    (broken / "config.json").write_text('{"model_type": "mamba"}')
    shutil.copy(llama / "model.safetensors", broken)
    assert "must be llama or bert" in _said(capsys, *_train(broken, text, out))
    (broken / "tokenizer.json").write_text("[]")
    assert "tokenizer.json" in _said(capsys, *_train(broken, text, out))
    assert "MODEL itself" in _said(capsys, *_train(llama, text, llama))
    assert not out.exists()


def test_texts(capsys, tmp_path, text):
    llama, bert, out = DATA / "tiny-llama3", DATA / "tiny-bert", tmp_path / "out"
    assert "no-such.txt" in _said(capsys, *_train(llama, tmp_path / "no-such.txt", out))
    assert "more than --length 100000" in _said(capsys, *_train(llama, text, out, "--length", 100000))
    assert "an encoder --sentences" in _said(capsys, *_train(bert, text, out))
    empty = tmp_path / "empty.txt"
    empty.write_text(" \0\n")
    assert "no text in it" in _said(capsys, *_train(llama, empty, out))
    packed = tmp_path / "text.bz2"
    packed.write_bytes(b"no archive")
    assert "cannot be read" in _said(capsys, *_train(llama, packed, out))


@pytest.mark.parametrize("rows,rule", [
    ("", "no rows"), ("a sentence alone\n", "must be sentence<TAB>label"), ("the sea\t0\nonly this\n", "row 2 has 1"),
])
def test_sentences(capsys, tmp_path, rows, rule):
    file = tmp_path / "rows.tsv"
    file.write_text(rows)
    words = ["train", DATA / "tiny-bert", "--sentences", file, "--attention", "atp:form=linear", "-o", tmp_path / "out"]
    assert rule in _said(capsys, *words)


def test_what_is_needed_after_training_is_asked_for_before(capsys, tmp_path, text):
    out, rows = tmp_path / "out", tmp_path / "rows.tsv"
    rows.write_text("the sea\t0\nthe ship\t1\n")
    llama, bert = _train(DATA / "tiny-llama3", text, out), ["train", DATA / "tiny-bert", "--sentences", rows, "-o", out]
    assert "form=none" in _said(capsys, *llama, "--attention-after", "atp:form=none")
    assert "--test no-such.txt" in _said(capsys, *llama, "--test", "no-such.txt")
    assert "3 names, must be 2" in _said(capsys, *bert, "--labels", "a,b,c")
    assert not out.exists()


def test_adapters_of_other_models(capsys, tmp_path):
    adapter = tmp_path / "adapter.safetensors"
    words = ["merge", DATA / "tiny-llama3", adapter, "-o", tmp_path / "out"]
    adapter.write_bytes(b"none")
    assert "no safetensors file" in _said(capsys, *words)
    save_file({"model.norm.weight": torch.zeros(3)}, adapter)
    assert "no parameter of this model" in _said(capsys, *words)
    save_file({"model.layers.99.mlp.up_proj.lora_a": torch.zeros(2, 3)}, adapter)
    assert "no parameter of this model" in _said(capsys, *words)


def test_checkpoints(capsys, tmp_path, text):
    words = _train(DATA / "tiny-llama3", text, tmp_path / "out", "--steps", 2)
    checkpoint = tmp_path / "out/checkpoint.pt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"cut off")
    assert "say --resume, or remove it" in _said(capsys, *words)
    assert "no checkpoint" in _said(capsys, *words, "--resume")
    torch.save({"parameters": [torch.zeros(2)], "optimizer": {}, "step": 1, "elapsed": 0.0, "losses": []}, checkpoint)
    assert "the options that it began with" in _said(capsys, *words, "--resume")


@pytest.mark.parametrize("option", ["--steps=0", "--batch=none", "--minutes=-1", "--rate=nan", "--dtype=int4",
                                    "--lora=-1", "--codes=2", "--needles=few", "--test-lengths=64,", "--device=tpu"])
def test_numbers(option, capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "MODEL", "-o", "OUT", option])
    assert end.value.code == 2 and option.partition("=")[0] in capsys.readouterr().err


def test_dtype_of_what_is_written(tmp_path, text):
    for name in ("float32", "bfloat16"):
        out = tmp_path / name
        assert main([str(word) for word in _train(DATA / "tiny-llama3", text, out, "--dtype", name)]) == 0
        kinds = {tensor.dtype for tensor in load_file(out / "model.safetensors").values()}
        assert kinds == {getattr(torch, name)}
