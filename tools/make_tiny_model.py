#!/usr/bin/env python3
"""Write a tiny random LlamaForCausalLM folder for tests (below 1 MB).

Its shape meets the corners of the family: grouped queries (4 query heads, 2 KV heads), a head_dim of 48 that is not
hidden/heads, and a RoPE scaling whose original context is so short that it matters within 2,048 positions. The
weights are large (std 0.15), so that attention is peaked and the logits have a real range.

    pip install numpy torch transformers tokenizers
    tools/make_tiny_model.py --rope llama3 -o tests/data/tiny-llama3
    tools/make_tiny_model.py --rope linear --tied --dtype bfloat16 -o tests/data/tiny-linear
"""
import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

ROPE_SCALING = {
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "none": None,
}
# Llama-3's split, as in its tokenizer.json.
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
MERGES = ["t h", "th e", "Ġ the", "i n", "a n", "e r", "r e", "o n", "Ġ a", "e n", "Ġ t", "o r", "in g", "an d",
          "Ġ and", "e s", "Ġ o", "Ġo f", "Ġ in", "i s", "Ġ h", "e d", "Ġ s", "o u", "Ġ w", "l l", "h e", "Ġh e",
          "Ġ b", "Ġ m", "l e", "Ġ c"]


def make_tokenizer():
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [tuple(merge.split()) for merge in MERGES]
    names = ["<|begin_of_text|>", "<|end_of_text|>", *letters]
    names += [name for name in dict.fromkeys(a + b for a, b in merges)]
    known = set(names)
    assert all(a in known and b in known for a, b in merges), "each half of a merge must be a token"
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges,
                                     ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(names[:2])
    return tokenizer


def make_config(args, vocab_size):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 48,
        "vocab_size": vocab_size, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": args.tied, "bos_token_id": 0, "eos_token_id": 1,
        "torch_dtype": args.dtype, "attention_bias": False, "mlp_bias": False,
    }
    if ROPE_SCALING[args.rope]:
        config["rope_scaling"] = ROPE_SCALING[args.rope]
    return config


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("--rope", choices=ROPE_SCALING, default="llama3")
    parser.add_argument("--tied", action="store_true", help="no lm_head: the output shares the embedding")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--std", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(args.output / "tokenizer.json"))
    config = make_config(args, tokenizer.get_vocab_size())
    (args.output / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(args.output))
    generator = torch.Generator().manual_seed(args.seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.1 * noise if "norm" in name else args.std * noise)
    # The config of save_pretrained follows the installed transformers' spelling; ours stays as written above.
    dtype = getattr(torch, args.dtype)
    tensors = {name: weight.detach().to(dtype).contiguous() for name, weight in model.named_parameters()}
    save_file(tensors, str(args.output / "model.safetensors"), metadata={"format": "pt"})
    (args.output / "model.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
