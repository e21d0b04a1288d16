"""Specs, data, factorisation and the loop: small, without the engine."""
import json
import pathlib
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lowkey.adapt import data, folder, sketch, spec, svd
from lowkey.adapt.__main__ import main
from lowkey.adapt.layers import MetricCache
from lowkey.adapt.train import Trainer

DATA = pathlib.Path(__file__).parents[2] / "tests/data"


def test_spec_knows_what_is_short():
    atp = spec.parse("atp:form=softmax,r=1/4,sink=4,recent=16,chunk=32,min=0", causal=True)
    assert [atp.due(n) for n in (1, 51, 52, 83, 84, 300)] == [0, 0, 36, 36, 68, 260]
    assert atp.pieces(90) == [(0, 51, 0), (51, 83, 36), (83, 90, 68)]
    assert atp.directions(tokens=100, width=64) == 16
    encoder = spec.parse("atp:form=softmax,r=1/4", causal=False)
    assert (encoder.directions(tokens=22, width=64), encoder.due(22), encoder.sink) == (5, 22, 0)
    assert spec.parse("dense", causal=True) is None


@pytest.mark.parametrize("text", [
    "loki", "atp:form=low", "atp:r=0", "atp:r=3/2", "atp:r=0.9e", "atp:r=entropy", "atp:form=linear,r=4", "atp:k=3",
    "atp:recent=0", "atp:form=softmax,basis=output", "atp:form", "atp:form=softmax,linear=on", "atp:linear=maybe",
])
def test_spec_refuses(text):
    with pytest.raises(ValueError):
        spec.parse(text, causal=True)


def test_svd_is_orthonormal_and_near_the_best():
    torch.manual_seed(1)
    x = torch.randn(3, 200, 64) * 0.9 ** torch.arange(64)
    exact = torch.linalg.svdvals(x)
    for ritz, worse in ((True, 1.1), (False, 1.15)):
        rows, lengths = svd.truncated_svd(x, 16, ritz=ritz)
        assert (rows @ rows.mT - torch.eye(16)).abs().max() < 1e-5
        lost = (x - x @ rows.mT @ rows).square().sum((1, 2)).sqrt()
        assert (lost <= worse * exact[:, 16:].square().sum(1).sqrt()).all()
        assert (lengths.square().sum(1) >= 0.98 * exact[:, :16].square().sum(1)).all()


def test_random_rows_are_those_of_the_engine():
    draws = sketch.mersenne_twister(5489)
    assert [next(draws) for _ in range(10000)][-1] == 9981545732273789042  # of the C++ standard
    signs = sketch.signs(7, 30)
    assert (signs.abs().sum(0) == 2).all() and signs.min() == -1


def test_signs_that_cancel_leave_the_longest_row():
    sign, row = sketch.signs(1, 4)[0], torch.randn(5)
    x = torch.stack([torch.randn(4, 5), torch.stack([sign[0] * row, -sign[1] * row, 0 * row, 0 * row])])
    sums = svd.sketch(x, 1)
    torch.testing.assert_close(sums[0], sign[None] @ x[0])
    assert torch.equal(sums[1, 0], sign[0] * row)


def test_svd_of_fewer_directions_than_asked_for():
    x = torch.randn(2, 30, 5) @ torch.randn(5, 40)
    rows, lengths = svd.truncated_svd(x, 12)
    assert rows.shape == (2, 5, 40)
    assert (x - x @ rows.mT @ rows).abs().max() < 1e-3


@torch.no_grad()
@pytest.mark.parametrize("attention", ["atp:r=1/4", "atp:form=softmax,r=8", "atp:form=linear"])
def test_no_row_sees_the_future(attention):
    model = folder.load(DATA / "tiny-llama3")
    how = spec.parse(attention + ",sink=4,recent=16,chunk=32,min=0", causal=True)
    ids = torch.randint(0, 290, (1, 200), generator=torch.Generator().manual_seed(1))
    before = model(ids, how)
    for begin in (40, 150, 199):
        other = ids.clone()
        other[:, begin:] = (other[:, begin:] + 7) % 290
        after = model(other, how)
        assert torch.equal(before[:, :begin], after[:, :begin])
        assert not torch.equal(before, after)


def test_windows_hide_codes_and_ask_for_them():
    tokenizer = data.open_tokenizer(DATA / "tiny-llama3")
    windows = data.Windows(np.zeros(5000, np.int64), tokenizer, 2000, codes=1.0)
    text = tokenizer.decode(windows.batch(1, seed=3)[0].tolist())
    assert torch.equal(windows.batch(2, seed=3)[:1], windows.batch(1, seed=3))
    nouns = [noun for noun in data.NOUNS if f"the secret code of the {noun} is" in text]
    assert len(nouns) >= 2


def test_sentences_of_both_kinds(tmp_path):
    tokenizer = data.open_tokenizer(DATA / "tiny-bert")
    single, pairs = tmp_path / "a.tsv", tmp_path / "b.tsv"
    single.write_text("sentence\tlabel\nthe sea \t1\nan old sea\t0\na sea\t1\n")
    pairs.write_text("\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tthe sea\ta sea\n")
    sentences = data.Sentences(single, tokenizer, 64)
    assert sentences.labels == ["0", "1"] and sentences.targets.tolist() == [1, 0, 1]
    assert sorted(sum(sentences.batches(2, seed=1), [])) == [0, 1, 2]
    assert all(len({len(sentences.ids[i]) for i in batch}) == 1 for batch in sentences.batches(2, seed=1))
    pair = data.Sentences(pairs, tokenizer, 64, ["0", "1"])
    first, second = (tokenizer.encode(text).ids for text in ("the sea", "a sea"))
    assert pair.ids == [first + second[1:]] and pair.targets.tolist() == [1]


def _train(tmp_path, name, *more):
    text = tmp_path / "text.txt"
    text.write_text("the sea was calm and the ship was old. " * 200)
    words = ["train", DATA / "tiny-llama3", "--text", text, "--attention", "atp:r=1/4,recent=16,chunk=32,min=64",
             "--length", 128, "--batch", 2, "--device", "cpu", "--lora", 4, "-o", tmp_path / name, *more]
    return main([str(word) for word in words])


def test_resumed_training_equals_one_in_one_go(tmp_path, monkeypatch):
    monkeypatch.setattr(MetricCache, "EVERY", 1)  # a metric that is some steps old would be made anew by --resume
    assert _train(tmp_path, "whole", "--steps", 6) == 0
    one_step = Trainer._one_step

    def interrupted(self):
        if self.step == 3:
            signal.raise_signal(signal.SIGINT)
        return one_step(self)

    monkeypatch.setattr(Trainer, "_one_step", interrupted)
    assert _train(tmp_path, "parts", "--steps", 6) == 130
    assert (tmp_path / "parts/checkpoint.pt").exists()
    monkeypatch.setattr(Trainer, "_one_step", one_step)
    assert _train(tmp_path, "parts", "--steps", 6, "--resume") == 0
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    config = json.loads((tmp_path / "parts/config.json").read_text())
    assert config["lowkey_attention"] == "atp:r=1/4,recent=16,chunk=32,min=64"
    assert not (tmp_path / "parts/checkpoint.pt").exists()


def test_a_loss_that_rises_is_said():
    trainer = Trainer(torch.nn.Linear(2, 2), None, "cpu", seed=1, rate=0.5, steps=1, seconds=None, file="checkpoint.pt")
    trainer.losses = [[step, 0.1] for step in range(20)]
    assert trainer.warning() is None
    trainer.losses[-5:] = [[step, 0.15] for step in range(15, 20)]
    assert trainer.warning() == "the loss rose from 0.1000 to 0.1500: a lower --rate than 0.5 may do better"


def test_a_merged_adapter_is_the_trained_model(tmp_path):
    assert _train(tmp_path, "whole", "--steps", 3) == 0
    assert _train(tmp_path, "small", "--steps", 3, "--adapter") == 0
    merged = tmp_path / "merged"
    adapter = tmp_path / "small/adapter.safetensors"
    assert main(["merge", str(DATA / "tiny-llama3"), str(adapter), "-o", str(merged)]) == 0
    whole, parts = (load_file(f / "model.safetensors") for f in (tmp_path / "whole", merged))
    base = load_file(DATA / "tiny-llama3/model.safetensors")
    for name in whole:  # factors are kept as f16
        moved = (whole[name].float() - base[name].float()).abs().max()
        assert (whole[name].float() - parts[name].float()).abs().max() <= 2.0**-9 * moved + 2.0**-20


@torch.no_grad()
def test_classes_are_in_the_order_of_the_model(tmp_path, capsys):
    out, rows, names = tmp_path / "out", tmp_path / "rows.tsv", ["quiet", "aged"]
    torch.manual_seed(1)
    model = folder.load(DATA / "tiny-bert", names)
    folder.save(model, DATA / "tiny-bert", out, "dense", names)
    texts, tokenizer = ["the sea", "the ship was old", "calm", "a garden of stone"], data.open_tokenizer(out)
    said = [model.scores(model(torch.tensor([tokenizer.encode(t).ids]))).argmax().item() for t in texts]
    for labels, more in ((names, []), (["1", "0"], ["--labels", "1,0"])):
        rows.write_text("".join(f"{t}\t{labels[i]}\n" for t, i in zip(texts, said, strict=True)))
        assert main(["eval", str(out), "--sentences", str(rows), "--device", "cpu", *more]) == 0
        assert json.loads(capsys.readouterr().out)["accuracy rows"] == 1.0


def test_the_tail_shrinks_where_it_counts():
    """Trained for it alone, factors lose less: its gradient is right, directions being the best there are."""
    torch.manual_seed(1)
    model = folder.load(DATA / "tiny-llama3").train()
    how = spec.parse("atp:r=1/4,recent=16,chunk=64,min=64", causal=True)
    ids = torch.randint(0, 290, (2, 200), generator=torch.Generator().manual_seed(1))
    model.count_losses()
    layers = [block.self_attn for block in model.model.layers]
    optimizer, seen = torch.optim.SGD([p.weight for a in layers for p in (a.k_proj, a.v_proj)], lr=0.5), []
    for _ in range(5):
        optimizer.zero_grad()
        model(ids, how)
        model.lost().backward()
        optimizer.step()
        seen.append(model.lost().item())
    assert 0 < seen[-1] < seen[0] < 1 and seen == sorted(seen, reverse=True)
