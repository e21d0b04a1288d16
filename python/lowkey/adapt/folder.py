"""Hugging Face folders: config.json, safetensors and tokenizer files, in and out."""
import json
import os
import pathlib
import shutil

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from .bert import Bert
from .llama import Llama

ATTENTION_KEY = "lowkey_attention"  # in config.json: what the C++ engine uses when the user names no method
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
NOT_COPIED = (".safetensors", ".bin", ".onnx", ".gguf", ".h5", ".ot", ".msgpack")


def read_config(folder):
    file = pathlib.Path(folder) / "config.json"
    if not file.is_file():
        raise ValueError(f"{folder}: no config.json in it, must be a Hugging Face folder")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: no JSON: {error}") from None


def read_tensors(file):
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: no safetensors file: {error}") from None


def load(folder, labels=None):
    """The model of a folder, f32. labels: of a classifier to train on an encoder, or None for those of the folder."""
    folder, config = pathlib.Path(folder), read_config(folder)
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        if not file.name.endswith("calibration.safetensors"):
            tensors.update(read_tensors(file))
    if not tensors:
        raise ValueError(f"{folder}: no .safetensors file in it")
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    kind = config.get("model_type")
    if kind == "llama":
        model = Llama(config)
        if model.lm_head is None:
            tensors.pop("lm_head.weight", None)
        _fill(model, tensors, may_miss=(), folder=folder)
    elif kind == "bert":
        model = Bert(config, len(labels or config.get("id2label", {0: "", 1: ""})))
        tensors = {_bert_name(name): t for name, t in tensors.items() if not name.endswith("position_ids")}
        _fill(model, tensors, may_miss=("classifier.", "bert.pooler."), folder=folder)
    else:
        raise ValueError(f"{folder}: model_type '{kind}', must be llama or bert")
    return model.eval()


def _bert_name(name):
    name = name if name.startswith(("bert.", "classifier.", "cls.")) else "bert." + name
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _fill(model, tensors, may_miss, folder):
    wanted = model.state_dict()
    if "classifier.weight" in tensors and tensors["classifier.weight"].shape != wanted["classifier.weight"].shape:
        tensors = {name: t for name, t in tensors.items() if not name.startswith("classifier.")}  # of another task
    for name, parameter in wanted.items():
        if name in tensors and tensors[name].shape != parameter.shape:
            raise ValueError(f"{folder}: {name} is {list(tensors[name].shape)}, must be {list(parameter.shape)}")
        if name not in tensors and not name.startswith(may_miss):
            raise ValueError(f"{folder}: tensor {name} is missing")
        if name not in tensors and name == "bert.pooler.dense.weight":
            torch.nn.init.normal_(model.bert.pooler.dense.weight, std=0.02)
    model.load_state_dict({name: t for name, t in tensors.items() if name in wanted}, strict=False)


def save(model, source, out, attention, labels=None, kind=None):
    """Writes the model as a folder like `source`: its files, with other weights and settings. LoRA must be merged.
    kind: of DTYPES, or None for that of the source."""
    source, out = pathlib.Path(source), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.is_file() and not file.name.endswith(NOT_COPIED):
            shutil.copyfile(file, out / file.name)
        elif file.is_dir() and file.name == "1_Pooling":
            shutil.copytree(file, out / file.name, dirs_exist_ok=True)
    config = read_config(source)
    if attention != "dense":
        config[ATTENTION_KEY] = attention
    else:
        config.pop(ATTENTION_KEY, None)
    if labels is not None:
        config["architectures"] = ["BertForSequenceClassification"]
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
        config["label2id"] = {label: i for i, label in enumerate(labels)}
    key = "dtype" if "dtype" in config else "torch_dtype"
    kind = kind or config.get(key, "float32")
    config[key] = kind
    exact = DTYPES.get(kind, torch.float32)
    tensors = {name: t.detach().to("cpu", exact).contiguous() for name, t in model.state_dict().items()}
    _write(out / "model.safetensors", lambda file: save_file(tensors, file, metadata={"format": "pt"}))
    _write(out / "config.json", lambda file: file.write_text(json.dumps(config, indent=2) + "\n"))


def save_adapter(model, file, facts):
    """What training changed, small: factors of LoRA as f16, other parameters as f32. For add_adapter()."""
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    kinds = {name: torch.float16 if ".lora_" in name else torch.float32 for name in trained}
    tensors = {name: p.to("cpu", kinds[name]).contiguous() for name, p in trained.items()}
    _write(pathlib.Path(file), lambda f: save_file(tensors, f, metadata={k: str(v) for k, v in facts.items()}))


def adapter_facts(file):
    try:
        with safe_open(file, "pt") as opened:
            return opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: no safetensors file: {error}") from None


def add_adapter(model, file):
    """Puts an adapter's parameters in; merge_lora() of the layers makes them plain weights."""
    tensors = read_tensors(file)
    layers = model.adaptable()
    for name, tensor in tensors.items():
        if name.endswith(".lora_a") and name.removesuffix(".lora_a") in layers:
            layers[name.removesuffix(".lora_a")].add_lora(tensor.shape[0])
    wanted = model.state_dict()
    for name, tensor in tensors.items():
        if name not in wanted or wanted[name].shape != tensor.shape:
            raise ValueError(f"{file}: {name} {list(tensor.shape)} is no parameter of this model")
    model.load_state_dict({n: t.float() for n, t in tensors.items()}, strict=False)


def _write(path, write):
    """All or nothing: a reader never sees half a file."""
    part = path.with_name(path.name + ".part")
    write(part)
    mask = os.umask(0)
    os.umask(mask)
    part.chmod(0o666 & ~mask)  # safetensors leaves it to its owner alone
    part.replace(path)
