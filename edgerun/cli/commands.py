"""The commands there are. Adding one is a file `edgerun/cli/NAME.py` with a function `command`, and a line here."""

from __future__ import annotations

# Each with the first line of its function's docstring, so that listing the commands imports none of them.
COMMANDS = {
    "run": "Answer one prompt.",
    "chat": "Talk with a model.",
    "embed": "Turn texts into vectors.",
    "classify": "Score labels for texts, or texts for a query.",
    "pull": "Fetch a model.",
    "list": "List the models on this machine.",
    "show": "Show what is in a model file.",
    "template": "Show a model's chat template, or what it makes of messages.",
    "tokenize": "Show the tokens of a text.",
    "rm": "Remove models from this machine.",
    "path": "Print where a model file is.",
    "bench": "Measure how fast models run here.",
    "convert": "Make a model file of a checkpoint, or an adapter file of a LoRA.",
    "quantize": "Make a model smaller.",
    "imatrix": "Measure which weights of a model matter.",
    "check": "Look a model file through for damage.",
    "edit": "Write a copy of a model with other metadata.",
    "perplexity": "Measure how well a model predicts a text.",
    "compare": "Measure what a smaller model lost.",
    "doctor": "Tell what this machine offers and what limits a model on it.",
    "warmup": "Do ahead what the first run of a model does.",
}
PROGRAM = "edgerun"
