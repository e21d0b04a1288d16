#!/usr/bin/env python3
"""Write a tiny random BertForSequenceClassification folder for tests (below 300 kB), and what PyTorch computes with it.

Its heads are of 8 numbers, the weights large (std 0.15), so that attention is peaked. The vocabulary has letters, some
words and endings, and single characters of many scripts, so that ids tell how a text was normalised.
The fixture (safetensors), of a run in f64 with eager attention, each text by itself:
  ids, counts    [T], [B] i32   the texts one after another, special tokens included
  hidden         [T, C] f32     after the last layer
  mean, cls      [B, C] f32     mean over the tokens, and the first token
  logits         [B, N] f32     of the classifier
  f32_error      [2] f32        largest error of `hidden` and of `logits` of PyTorch's own f32 run

    pip install numpy torch transformers tokenizers
    tools/make_tiny_bert.py -o tests/data/tiny-bert --fixture tests/data/tiny-bert.fixture.safetensors
"""
import argparse
import json
import pathlib
import string

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """the of and to in is was that it he with on for as his at by not are but had be from this have an they which one
you were all her she there would their we him been has when who will no more if out so up said what its about than into
them can only other time new some could these two may first then do any like my now over such our man me even most made
after also did many off before must well back through year where much your way down should because long how good little""".split()
ENDINGS = "s ed ing er ly es en al ion able ness ment est ous ful ' t re ve ll".split()
OTHERS = list("äöüßéèçñøłœæ") + list("абвгдежзиклмнопрстуя") + list("αβγδεσς") + list("אבגדה") + list("ابتثج") + \
    list("ひらがなカタ゛") + list("中文字日本") + list("กขคง") + [chr(c) for c in range(0x1100, 0x1113)] + \
    [chr(c) for c in range(0x1161, 0x1176)] + list("٠١٢०१२²½Ⅷ") + list("€£✓☃ﬁ") + ["😀", "𝒳", "İ"]
TEXTS = [
    "", "the", "It is not easy being green.", "He would have made it, but they didn't!", "ÀÉÎõü ß straße",
    "All of their new time was before the first year in which one could do it; after that, no more.",
    "中文 and 日本 have no spaces between them", "x" * 40, " ".join(WORDS[:50]), "... --- ... ???",
    "That she was there when it had been said, and that they would not go back through it, is what I like most about it",
]


def make_tokenizer():
    letters = list(string.ascii_lowercase + string.digits)
    names = SPECIAL + list(string.punctuation) + letters + WORDS + OTHERS
    names += ["##" + piece for piece in letters + ENDINGS + OTHERS]
    vocab = {name: i for i, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])])
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def make_config(vocab_size):
    return {
        "architectures": ["BertForSequenceClassification"], "model_type": "bert", "hidden_size": 40,
        "intermediate_size": 88, "num_hidden_layers": 2, "num_attention_heads": 5, "vocab_size": vocab_size,
        "max_position_embeddings": 64, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
        "position_embedding_type": "absolute", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        "id2label": {"0": "low", "1": "middle", "2": "high"}, "label2id": {"low": 0, "middle": 1, "high": 2},
        "pad_token_id": 0, "torch_dtype": "float32",
    }


def randomise(model, args):
    generator = torch.Generator().manual_seed(args.seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.1 * noise if "LayerNorm.weight" in name else args.std * noise)


def run(model, ids):
    """hidden [T, C] and logits [N] of one text."""
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    return out.hidden_states[-1][0], out.logits[0]


def write_fixture(path, model, tokenizer):
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    assert max(map(len, ids)) <= model.config.max_position_embeddings, max(map(len, ids))
    single = [run(model, i) for i in ids]
    exact = [run(model.double(), i) for i in ids]
    hidden, logits = torch.cat([h for h, _ in exact]), torch.stack([l for _, l in exact])
    error = [(torch.cat([h for h, _ in single]) - hidden).abs().max(),
             (torch.stack([l for _, l in single]) - logits).abs().max()]
    save_file({
        "ids": torch.tensor(sum(ids, [])).int(), "counts": torch.tensor([len(i) for i in ids]).int(),
        "hidden": hidden.float(), "mean": torch.stack([h.mean(0) for h, _ in exact]).float(),
        "cls": torch.stack([h[0] for h, _ in exact]).float(), "logits": logits.float(),
        "f32_error": torch.stack(error).float(),
    }, path, metadata={"torch": torch.__version__, "transformers": transformers.__version__,
                       "texts": json.dumps(TEXTS)})
    path.chmod(0o644)
    print(f"{path}: {len(ids)} texts of {min(map(len, ids))} to {max(map(len, ids))} tokens, hidden {hidden.min():.2f} to "
          f"{hidden.max():.2f}, logits {logits.min():.2f} to {logits.max():.2f}, f32 errors {error[0]:.2e} {error[1]:.2e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("--fixture", type=pathlib.Path, required=True)
    parser.add_argument("--std", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(args.output / "tokenizer.json"))
    config = make_config(tokenizer.get_vocab_size())
    (args.output / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    model = BertForSequenceClassification(BertConfig.from_pretrained(args.output, attn_implementation="eager")).eval()
    randomise(model, args)
    # The config of save_pretrained follows the installed transformers' spelling; ours stays as written above.
    tensors = {name: weight.detach().clone().contiguous() for name, weight in model.named_parameters()}
    save_file(tensors, str(args.output / "model.safetensors"), metadata={"format": "pt"})
    (args.output / "model.safetensors").chmod(0o644)
    write_fixture(args.fixture, model, tokenizer)


if __name__ == "__main__":
    main()
