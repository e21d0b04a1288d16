"""python -m lowkey.adapt: see HELP."""
import argparse
import json
import pathlib
import sys

import torch

from . import data, evaluate, folder
from .spec import parse
from .train import SentenceTask, TextTask, Trainer

HELP = """Teaches a model to live with low-rank attention (ATP), and writes a folder that lowkey runs with it.

A Llama-family model learns from a text: to say what it would say with dense attention (--loss distil), or what the
text says (--loss text). An encoder (BERT) learns from sentences with labels: sentence<TAB>label as SST-2 has them, or
the rows of MRPC.

  python -m lowkey.adapt train MODEL --text books.txt --attention atp:form=factor,r=1/4 --steps 500 -o ADAPTED
  lowkey run ADAPTED -p "The island"          # config.json says which attention it was adapted to

  python -m lowkey.adapt train MINILM --sentences train.tsv --test test.tsv --attention atp:form=softmax,r=1/4 -o OUT
  lowkey run OUT -p "a charming journey"      # prints the class

  python -m lowkey.adapt eval ADAPTED --text unseen.txt --length 8192

Ctrl-C loses nothing: the same command with --resume goes on."""

ABOUT_TRAIN = "Without --lora 0, only low-rank changes of matrices and the gains of norms are trained; they are merged."


def main(arguments=None):
    options = _options().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, FileNotFoundError) as error:
        print(f"lowkey.adapt: {error}", file=sys.stderr)
        return 2


def _options():
    top = argparse.ArgumentParser(
        prog="python -m lowkey.adapt", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = top.add_subparsers(required=True, metavar="VERB")
    add = verbs.add_parser("train", help="adapt a model", description=ABOUT_TRAIN)
    _add_model(add)
    _add_data(add)
    add.add_argument("-o", "--out", required=True, help="the folder to write")
    add.add_argument("--adapter", action="store_true", help="write what changed only, OUT/adapter.safetensors (merge)")
    add.add_argument("--attention-after", metavar="SPEC", help="what config.json says, if not the --attention trained")
    add.add_argument("--loss", choices=("distil", "text"), default="distil", help="text models: towards what")
    add.add_argument("--codes", type=float, default=0.16, help="share of windows with hidden codes (default 0.16)")
    add.add_argument("--lora", type=int, default=32, help="rank of what is learned; 0: all weights (default 32)")
    add.add_argument("--steps", type=int, help="default: 500, or 3 epochs of sentences")
    add.add_argument("--minutes", type=float, help="end by then, however many steps that is")
    add.add_argument("--batch", type=int, help="windows or sentences a step (default 8, 64)")
    add.add_argument("--rate", type=float, help="learning rate (default 5e-4; all weights 1e-4)")
    add.add_argument("--seed", type=int, default=1)
    add.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt, if it is there")
    add.add_argument("--save-every", type=float, default=60.0, metavar="SECONDS", help="checkpoints (default 60)")
    add.set_defaults(run=train)

    merge_verb = verbs.add_parser("merge", help="put an adapter into a model")
    merge_verb.add_argument("model", metavar="MODEL", help="the folder it was trained from")
    merge_verb.add_argument("adapter", metavar="ADAPTER", help="adapter.safetensors")
    merge_verb.add_argument("-o", "--out", required=True)
    merge_verb.set_defaults(run=merge)

    eval_verb = verbs.add_parser("eval", help="perplexity and codes found, or accuracy, here in PyTorch")
    _add_model(eval_verb)
    _add_data(eval_verb)
    eval_verb.add_argument("--adapter", help="put this in first")
    eval_verb.set_defaults(run=evaluate_model)
    return top


def _add_model(verb):
    verb.add_argument("model", metavar="MODEL", help="a Hugging Face folder: Llama or BERT family")
    verb.add_argument("--attention", metavar="SPEC", help="as of lowkey: atp:form=softmax|linear|factor,r=1/4; dense")
    verb.add_argument("--device", default="auto", help="auto, cuda or cpu")


def _add_data(verb):
    verb.add_argument("--text", help="a text, its documents divided by NUL bytes; also .bz2, and .npy of tokens")
    verb.add_argument("--sentences", help="TSV of sentences and labels")
    verb.add_argument("--labels", help="names of classes, separated by commas, in the order of their sorted labels")
    verb.add_argument("--test", action="append", default=[], help="what to measure on in the end; several times")
    verb.add_argument("--length", type=int, default=2048, help="tokens a window (default 2048); sentences: at most 128")
    verb.add_argument("--test-lengths", help="of --test texts, separated by commas (default: --length)")
    verb.add_argument("--windows", type=int, default=8, help="windows of each --test text, evenly spaced (default 8)")
    verb.add_argument("--needles", type=int, default=0, help="documents with a hidden code in the end (default 0)")


def _open(options, labels=None):
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = folder.load(options.model, labels)
    text = options.attention or model.config.get(folder.ATTENTION_KEY, "dense")
    spec = parse(text, model.causal)
    if model.causal != bool(options.text):
        raise ValueError("a Llama-family model needs --text, an encoder --sentences")
    if device == "cuda" and model.causal:
        model.model.compute = torch.bfloat16
    return model.to(device), spec, text, device


def train(options):
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    tokenizer = data.open_tokenizer(options.model)
    sentences = _sentences(options, options.sentences, tokenizer) if options.sentences else None
    model, spec, text, device = _open(options, sentences and sentences.labels)
    text = options.attention_after or text
    if sentences:
        count = options.batch or 64
        task = SentenceTask(model, spec, sentences, count)
        steps = options.steps or 3 * task.steps_per_epoch
    else:
        ids = data.text_ids(options.text, tokenizer, model.config)
        windows = data.Windows(ids, tokenizer, options.length, options.codes)
        task = TextTask(model, spec, windows, options.batch or 8, options.loss == "distil")
        steps = options.steps or (None if options.minutes else 500)
    _choose_parameters(model, options.lora)
    out = pathlib.Path(options.out)
    trainer = Trainer(
        model, task, device, seed=options.seed, rate=options.rate or (5e-4 if options.lora else 1e-4), steps=steps,
        seconds=60 * options.minutes if options.minutes else None, file=out / "checkpoint.pt", every=options.save_every,
    )
    if options.resume and trainer.file.exists():
        trainer.resume()
    if not trainer.run():
        print(f"interrupted after {trainer.step} steps; the same command with --resume goes on", file=sys.stderr)
        return 130
    facts = {"attention": text, "trained": options.attention, "seed": options.seed, "steps": trainer.step,
             "seconds": round(trainer.elapsed, 1), "losses": trainer.losses}  # fmt: skip
    if options.adapter:
        folder.save_adapter(model, out / "adapter.safetensors", {"attention": text})
    facts.update(_measure(options, model, parse(text, model.causal), tokenizer, device, sentences and sentences.labels))
    if not options.adapter:
        for layer in model.adaptable().values():
            layer.merge_lora()
        folder.save(model, options.model, out, text, _names(options, sentences))
    (out / "adapt.json").write_text(json.dumps(facts, indent=1) + "\n")
    trainer.file.unlink()
    print(json.dumps({k: v for k, v in facts.items() if k != "losses"}))
    return 0


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
    from safetensors import safe_open

    with safe_open(options.adapter, "pt") as file:
        attention = (file.metadata() or {}).get("attention", "dense")
        labels = file.keys()
    config = folder.read_config(options.model)
    names = None
    if "classifier.weight" in labels:
        names = list(config.get("id2label", {"0": "0", "1": "1"}).values())
    model = folder.load(options.model, names)
    folder.add_adapter(model, options.adapter)
    for layer in model.adaptable().values():
        layer.merge_lora()
    folder.save(model, options.model, options.out, attention, names)
    return 0


def evaluate_model(options):
    tokenizer = data.open_tokenizer(options.model)
    model, spec, text, device = _open(options)
    if options.adapter:
        folder.add_adapter(model, options.adapter)
        model.to(device)
    options.test.append(options.sentences or options.text)
    labels = sorted(model.config.get("label2id", {"0": 0, "1": 1}))
    facts = _measure(options, model, spec, tokenizer, device, labels)
    print(json.dumps({"attention": text, **facts}))
    return 0


def _sentences(options, file, tokenizer, labels=None):
    longest = min(options.length, 128, folder.read_config(options.model)["max_position_embeddings"])
    return data.Sentences(file, tokenizer, longest, labels)


def _names(options, sentences):
    if sentences is None:
        return None
    return options.labels.split(",") if options.labels else sentences.labels


def _measure(options, model, spec, tokenizer, device, labels):
    facts = {}
    for file in options.test:
        name = pathlib.Path(file).stem
        if not model.causal:
            found = evaluate.accuracy(model, spec, _sentences(options, file, tokenizer, labels), device)
            facts[f"accuracy {name}"] = found
            continue
        ids = data.text_ids(file, tokenizer, model.config)
        for length in map(int, (options.test_lengths or str(options.length)).split(",")):
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
