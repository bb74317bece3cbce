"""Which tokens a checkpoint gives a purpose, and which of them a text is given: `tokenizer.ggml.*_token_id`, `add_*_token`.

The rules are those of llama.cpp's converter (gguf-py's `SpecialVocab`), with `special_tokens_map.json` and lists of ids too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgerun.errors import TokenizerError
from edgerun.text.fields import PREFIX
from edgerun.text.special import EOG
from quant.convert.documents import Documents

# What GGUF calls the purposes; the spelling of one is the format's.
_KEYS = {
    "bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask", "eot": "eot", "eom": "eom",
    "prefix": "fim_pre", "suffix": "fim_suf", "middle": "fim_mid",
}  # fmt: skip
_NAMED = ("bos", "eos", "unk", "sep", "pad", "cls", "mask", "prefix", "suffix", "middle", "eot")   # as `bos_token`
_ADDED = ("bos", "eos", "sep")   # as `add_bos_token`

_BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}   # where a vocab.txt is all there is
# By `model_type`: purposes that the files of these models do not name, by the text of the token.
_GLM = {"eot": "<|user|>", "unk": "<|endoftext|>"}
_OF_TYPE = {
    "glm": {**_GLM, "eos": "<|endoftext|>"},
    "chatglm": {**_GLM, "eos": "<|endoftext|>"},
    "glm4": {**_GLM, "eos": "<|endoftext|>", "bos": "<|endoftext|>"},
    **{each: {**_GLM, "bos": "[gMASK]", "eom": "<|observation|>"} for each in ("glm4_moe", "glm4_moe_lite", "glm_moe_dsa")},
}


def named(documents: Documents) -> dict[str, str]:
    """The texts of special tokens by purpose (`bos`, `unk`, ...), as tokenizer_config.json or special_tokens_map.json name them."""
    texts: dict[str, str] = {}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        for purpose in _NAMED:
            text = text_of(documents.json(name).get(purpose + "_token"))
            if text is not None:
                texts.setdefault(purpose, text)
    return {**_BERT, **texts} if documents.has("vocab.txt") and not documents.has("tokenizer.json") else texts


def text_of(value: Any) -> str | None:
    """The text of a token that is given as such or as {"content": text, ...}."""
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) and value else None


class SpecialTokens:
    """ids: by purpose. adds: whether a text is given BOS, EOS, SEP, where the checkpoint says so."""

    def __init__(self, documents: Documents, ids: Mapping[str, int], count: int) -> None:
        """ids: of the tokens by text; count: how many tokens there are. Raises TokenizerError."""
        texts = named(documents)
        self.adds: dict[str, bool] = {}
        for purpose, spare in (("cls", "bos"), ("sep", "eos")):
            if purpose in texts:
                texts.setdefault(spare, texts[purpose])
        if documents.has("tokenizer.json"):
            self._surround(texts, documents.json("tokenizer.json").get("post_processor"))
        config = documents.json("tokenizer_config.json")
        self.adds |= {each: config[f"add_{each}_token"] for each in _ADDED if isinstance(config.get(f"add_{each}_token"), bool)}
        model = documents.json("config.json")
        nested = model.get("text_config")
        self.ids = {purpose: ids[text] for purpose, text in texts.items() if text in ids}
        for values in (model, nested if isinstance(nested, dict) else {}):
            for purpose in _KEYS:
                value = values.get(purpose + "_token_id")
                value = value[0] if isinstance(value, list) and value else value
                if type(value) is int and 0 <= value < count:
                    self.ids.setdefault(purpose, value)
        for each in documents.model_types:
            for purpose, text in _OF_TYPE.get(each, {}).items():
                if text in ids:
                    self.ids.setdefault(purpose, ids[text])
        self._end(documents.json("generation_config.json").get("eos_token_id"), {ids[text] for text in EOG if text in ids}, count)

    def entries(self) -> Iterator[tuple[str, Any, str | None]]:
        """The GGUF keys, values and types."""
        for purpose, token in self.ids.items():
            if purpose in _KEYS:
                yield f"{PREFIX}{_KEYS[purpose]}_token_id", token, "u32"
        for purpose, value in self.adds.items():
            yield f"{PREFIX}add_{purpose}_token", value, "bool"

    def _end(self, ends: Any, known: set[int], count: int) -> None:
        """Tokens that end a generation, and that nobody would know by their text, take the purposes that are free."""
        ends = [end for end in ends if type(end) is int and 0 <= end < count] if isinstance(ends, list) else []
        free = [purpose for purpose in ("eos", "eot", "eom") if purpose not in self.ids]
        others = [end for end in dict.fromkeys(ends) if end not in known and end not in self.ids.values()]
        self.ids |= dict(zip(free, others, strict=False))

    def _surround(self, texts: dict[str, str], processor: Any) -> None:
        """Learn from the `post_processor` of tokenizer.json what stands around a text; completes `texts`."""
        for each in _objects(processor.get("processors", [processor])) if isinstance(processor, dict) else ():
            if each.get("type") in ("RobertaProcessing", "BertProcessing"):
                self.adds |= dict.fromkeys(_ADDED, True)
                for purpose, spare in (("cls", "bos"), ("sep", "eos")):
                    pair = each.get(purpose)
                    if isinstance(pair, list) and pair and isinstance(pair[0], str):
                        texts.setdefault(purpose, pair[0])
                        texts.setdefault(spare, pair[0])
            elif each.get("type") == "TemplateProcessing":
                self._template(texts, _objects(each.get("single")), _objects(each.get("pair")))

    def _template(self, texts: dict[str, str], single: list[dict[str, Any]], pair: list[dict[str, Any]]) -> None:
        first = _special(single[0]) if len(single) > 1 else None
        last = _special(single[-1]) if len(single) > 1 else None
        if first:
            if not _special(single[1]):
                texts.setdefault("bos", first)
            self.adds["bos"] = first in (texts.get("bos"), texts.get("cls"))   # of several at the start, a GGUF can name one
        if last:
            end = texts.setdefault("eos", last)
            if end != last:   # what ends a text is not what ends an answer
                texts["eom" if "eot" in texts else "eot"] = end
                texts["eos"] = last
            self.adds["eos"] = True
        start = 1 if first and pair and _special(pair[0]) == first else 0
        stop = len(pair) - 1 if last and pair and _special(pair[-1]) == last else len(pair)
        pair = pair[start:stop]
        if len(pair) > 2 and _sequence(pair[0]) == "A" and _sequence(pair[-1]) == "B":
            between, ends = [_special(each) for each in pair[1:-1]], {texts.get("sep"), texts.get("eos")} - {None}
            self.adds["sep"] = (between[0] in ends and not last) or (len(between) == 2 and between[1] in ends)
            if self.adds["sep"] and "eos" in texts:
                texts.setdefault("sep", texts["eos"])


def _objects(values: Any) -> list[dict[str, Any]]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise TokenizerError("tokenizer.json: the post_processor makes no sense")
    return values


def _special(part: Mapping[str, Any]) -> str | None:
    return _id(part.get("SpecialToken"))


def _sequence(part: Mapping[str, Any]) -> str | None:
    return _id(part.get("Sequence"))


def _id(value: Any) -> str | None:
    return value["id"] if isinstance(value, dict) and isinstance(value.get("id"), str) else None


def texts_of(values: Iterable[Any]) -> list[str]:
    """The texts of tokens, without what is none."""
    return [text for text in map(text_of, values) if text is not None]
