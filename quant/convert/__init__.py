"""From a checkpoint folder, as Hugging Face has them, to a GGUF file.

`checkpoint.py` reads the folder, `families/` say what GGUF calls the numbers and tensors of each family, `vocabulary.py` makes the
tokenizer's keys and `card.py` those that describe the model, `plan.py` decides what the new file will hold, `convert.py` writes it.
`peft.py` reads the folder of an adapter, `lora.py` plans a file of it, `merge.py` folds it into a checkpoint. Only
JSON, text, SentencePiece models and safetensors are ever parsed: no pickle, no code of the repository.
"""

from __future__ import annotations

from quant.convert.card import card
from quant.convert.checkpoint import Checkpoint
from quant.convert.convert import convert
from quant.convert.lora import adapter_plan
from quant.convert.merge import merged
from quant.convert.peft import Peft
from quant.convert.plan import OUTTYPES, Plan, token_rows
from quant.convert.vocabulary import vocabulary

__all__ = ["OUTTYPES", "Checkpoint", "Peft", "Plan", "adapter_plan", "card", "convert", "merged", "token_rows", "vocabulary"]
