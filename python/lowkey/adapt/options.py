"""The command line of python -m lowkey.adapt."""
import argparse

from .folder import DTYPES

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


def _count(word):
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word}, must be a whole number above 0")
    return int(word)


def _whole(word):
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word}, must be a whole number, 0 or more")
    return int(word)


def _counts(word):
    return [_count(part) for part in word.split(",")]


def _float(word):
    try:
        return float(word)
    except ValueError:
        return -1.0


def _share(word):
    if not 0 <= _float(word) <= 1:
        raise argparse.ArgumentTypeError(f"{word}, must be 0 to 1")
    return float(word)


def _number(word):
    if not 0 < _float(word) < float("inf"):
        raise argparse.ArgumentTypeError(f"{word}, must be above 0")
    return float(word)


def parse_options(arguments=None):
    top = argparse.ArgumentParser(
        prog="python -m lowkey.adapt", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = verbs.add_parser("train", help="adapt a model", description=ABOUT_TRAIN)
    _add_model(add)
    _add_data(add)
    add.add_argument("-o", "--out", required=True, help="the folder to write")
    add.add_argument("--adapter", action="store_true", help="write what changed only, OUT/adapter.safetensors (merge)")
    add.add_argument("--attention-after", metavar="SPEC", help="what config.json says, if not the --attention trained")
    add.add_argument("--labels", help="names of classes, separated by commas, in the order of their sorted labels")
    add.add_argument("--loss", choices=("distil", "text"), default="distil", help="text models: towards what")
    add.add_argument("--tail", type=_share, default=0.0, help="form=factor: weight in the loss of the share of keys "
                     "and values that its directions lose; 0.1 did well (default 0)")
    add.add_argument("--codes", type=_share, default=0.16, help="share of windows with hidden codes (default 0.16)")
    add.add_argument("--lora", type=_whole, default=32, help="rank of what is learned; 0: all weights (default 32)")
    add.add_argument("--steps", type=_count, help="default: 500, or 3 epochs of sentences")
    add.add_argument("--minutes", type=_number, help="end by then, however many steps that is")
    add.add_argument("--batch", type=_count, help="windows or sentences a step (default 8, 64)")
    add.add_argument("--rate", type=_number, help="learning rate (default 5e-4; all weights 1e-4; factor wants less)")
    add.add_argument("--seed", type=int, default=1)
    _add_dtype(add)
    add.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt, if it is there")
    add.add_argument("--save-every", type=_number, default=60.0, metavar="SECONDS", help="checkpoints (default 60)")

    merge_verb = verbs.add_parser("merge", help="put an adapter into a model")
    merge_verb.add_argument("model", metavar="MODEL", help="the folder it was trained from")
    merge_verb.add_argument("adapter", metavar="ADAPTER", help="adapter.safetensors")
    merge_verb.add_argument("-o", "--out", required=True, help="the folder to write")
    _add_dtype(merge_verb)

    eval_verb = verbs.add_parser("eval", help="perplexity and codes found, or accuracy, here in PyTorch")
    _add_model(eval_verb)
    _add_data(eval_verb)
    eval_verb.add_argument("--labels", help="as the TSV has them, in the order of the classes (default: their names)")
    eval_verb.add_argument("--adapter", help="put this in first")
    return top.parse_args(arguments)


def _add_model(verb):
    verb.add_argument("model", metavar="MODEL", help="a Hugging Face folder: Llama or BERT family")
    verb.add_argument("--attention", metavar="SPEC", help="as of lowkey: atp:form=softmax|linear|factor,r=1/4; dense")
    verb.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="what computes (default auto)")


def _add_dtype(verb):
    verb.add_argument("--dtype", choices=DTYPES, help="of the weights that are written (default: the model's)")


def _add_data(verb):
    verb.add_argument("--text", help="a text, its documents divided by NUL bytes; also .bz2, and .npy of tokens")
    verb.add_argument("--sentences", help="TSV of sentences and labels")
    verb.add_argument("--test", action="append", default=[], help="what to measure on in the end; several times")
    verb.add_argument("--length", type=_count, default=2048, help="tokens a window (default 2048)")
    verb.add_argument("--test-lengths", type=_counts, help="of --test texts, separated by commas (default: --length)")
    verb.add_argument("--windows", type=_count, default=8, help="windows of each --test text (default 8)")
    verb.add_argument("--needles", type=_whole, default=0, help="documents with a hidden code in the end (default 0)")
