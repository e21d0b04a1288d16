"""python -m lowkey.adapt: what options.HELP says."""
import json
import pathlib
import sys

import torch

from . import data, evaluate, folder
from .options import parse_options
from .spec import parse
from .train import SentenceTask, TextTask, Trainer


def main(arguments=None):
    options = parse_options(arguments)
    try:
        return {"train": train, "merge": merge, "eval": evaluate_model}[options.verb](options)
    except (ValueError, OSError) as error:
        print(f"lowkey.adapt: {error}", file=sys.stderr)
        return 2
    except torch.OutOfMemoryError:
        print("lowkey.adapt: the device's memory is full: a smaller --batch or --length needs less", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; what was trained is in the checkpoint: the same command with --resume", file=sys.stderr)
        return 130


def _open(options, labels=None):
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no GPU here")
    model = folder.load(options.model, labels)
    text = options.attention or model.config.get(folder.ATTENTION_KEY, "dense")
    spec = parse(text, model.causal)
    if model.causal != bool(options.text) or model.causal == bool(options.sentences):
        raise ValueError(f"{options.model}: a Llama-family model needs --text, an encoder --sentences")
    if device == "cuda" and model.causal:
        model.model.compute = torch.bfloat16
    return model.to(device), spec, text, device


def train(options):
    _refuse_same(options)
    _require_tests(options)
    out = pathlib.Path(options.out)
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    tokenizer = data.open_tokenizer(options.model)
    sentences = _sentences(options, options.sentences, tokenizer) if options.sentences else None
    if sentences and options.tail:
        raise ValueError("--tail: of encoders there is none, must be of a Llama-family model")
    model, spec, text, device = _open(options, sentences and sentences.labels)
    text = options.attention_after or text
    after, names = parse(text, model.causal), _names(options, sentences)
    if sentences:
        count = options.batch or 64
        task = SentenceTask(model, spec, sentences, count)
        steps = options.steps or 3 * task.steps_per_epoch
    else:
        ids = data.text_ids(options.text, tokenizer, model.config)
        windows = data.Windows(ids, tokenizer, options.length, options.codes)
        if options.tail and (spec is None or spec.form != "factor"):
            raise ValueError(f"--tail {options.tail:g}: only form=factor has directions that lose something")
        task = TextTask(model, spec, windows, options.batch or 8, options.loss == "distil", options.tail)
        steps = options.steps or (None if options.minutes else 500)
    _choose_parameters(model, options.lora)
    trainer = Trainer(
        model, task, device, seed=options.seed, rate=options.rate or (5e-4 if options.lora else 1e-4), steps=steps,
        seconds=60 * options.minutes if options.minutes else None, file=out / "checkpoint.pt", every=options.save_every,
    )
    if trainer.file.exists():
        if not options.resume:
            raise ValueError(f"{trainer.file} is of a training that was interrupted: say --resume, or remove it")
        trainer.resume()
    if not trainer.run():
        print(f"interrupted after {trainer.step} steps; the same command with --resume goes on", file=sys.stderr)
        return 130
    if trainer.warning():
        print(f"lowkey.adapt: {trainer.warning()}", file=sys.stderr)
    facts = {"attention": text, "trained": options.attention, "seed": options.seed, "steps": trainer.step,
             "seconds": round(trainer.elapsed, 1), "losses": trainer.losses}  # fmt: skip
    if options.adapter:
        facts_inside = {"attention": text, **({"labels": json.dumps(names)} if names else {})}
        folder.save_adapter(model, out / "adapter.safetensors", facts_inside)
    facts.update(_measure(options, model, after, tokenizer, device, sentences and sentences.labels))
    if not options.adapter:
        for layer in model.adaptable().values():
            layer.merge_lora()
        folder.save(model, options.model, out, text, names, options.dtype)
    (out / "adapt.json").write_text(json.dumps(facts, indent=1) + "\n")
    trainer.file.unlink()
    print(json.dumps({k: v for k, v in facts.items() if k != "losses"}))
    return 0


def _refuse_same(options):
    out = pathlib.Path(options.out)
    if out.exists() and out.samefile(options.model):
        raise ValueError(f"--out {out}: is MODEL itself, must be another folder")


def _require_tests(options):
    """Said now, not after the training."""
    for file in options.test:
        if not pathlib.Path(file).is_file():
            raise ValueError(f"--test {file}: no such file")


def _choose_parameters(model, rank):
    """With LoRA: its factors, gains of norms, and a classifier; else everything."""
    if rank == 0:
        return
    model.requires_grad_(False)
    for layer in model.adaptable().values():
        layer.add_lora(rank)
        layer.lora_a.requires_grad_(True)
        layer.lora_b.requires_grad_(True)
    for name, parameter in model.named_parameters():
        if "norm" in name.lower() or name.startswith(("classifier.", "bert.pooler.")):
            parameter.requires_grad_(True)


def merge(options):
    _refuse_same(options)
    facts, names = folder.adapter_facts(options.adapter), None
    attention = facts.get("attention", "dense")
    if "labels" in facts:
        names = json.loads(facts["labels"])
    model = folder.load(options.model, names)
    folder.add_adapter(model, options.adapter)
    for layer in model.adaptable().values():
        layer.merge_lora()
    folder.save(model, options.model, options.out, attention, names, options.dtype)
    return 0


def evaluate_model(options):
    tokenizer = data.open_tokenizer(options.model)
    model, spec, text, device = _open(options)
    if options.adapter:
        folder.add_adapter(model, options.adapter)
        model.to(device)
    options.test.append(options.sentences or options.text)
    number = model.config.get("label2id", {"0": 0, "1": 1})
    labels = options.labels.split(",") if options.labels else sorted(number, key=number.get)
    facts = _measure(options, model, spec, tokenizer, device, labels)
    print(json.dumps({"attention": text, **facts}))
    return 0


def _sentences(options, file, tokenizer, labels=None):
    longest = min(options.length, 128, folder.read_config(options.model)["max_position_embeddings"])
    return data.Sentences(file, tokenizer, longest, labels)


def _names(options, sentences):
    if sentences is None:
        return None
    names = options.labels.split(",") if options.labels else sentences.labels
    if len(names) != len(sentences.labels):
        raise ValueError(f"--labels {options.labels}: {len(names)} names, must be {len(sentences.labels)}")
    return names


def _measure(options, model, spec, tokenizer, device, labels):
    facts = {}
    for file in options.test:
        name = pathlib.Path(file).stem
        if not model.causal:
            found = evaluate.accuracy(model, spec, _sentences(options, file, tokenizer, labels), device)
            facts[f"accuracy {name}"] = found
            continue
        ids = data.text_ids(file, tokenizer, model.config)
        for length in options.test_lengths or [options.length]:
            facts.update(_measure_text(options, model, spec, ids, tokenizer, length, device))
    return facts


def _measure_text(options, model, spec, ids, tokenizer, length, device):
    """With the attention of the spec; and with dense attention, as the same weights do with it."""
    facts = {}
    windows = data.Windows(ids, tokenizer, length, 0)
    for name, how in {"": spec, "dense ": None}.items():
        facts[f"{name}perplexity@{length}"] = evaluate.perplexity(model, how, ids, length, options.windows, device)
        if options.needles:
            facts[f"{name}needles@{length}"] = evaluate.needles(model, how, windows, options.needles, device)
        if spec is None:
            break
    return facts


if __name__ == "__main__":
    sys.exit(main())
