"""Which name of `tokenizer.ggml.pre` stands for the way a tokenizer.json cuts text. Knows no file.

A definition is recognised by what it does: it and a family of `edgerun/text/families.py` cut the same short texts, made of a
few characters of every class that an expression may tell apart. Where no family cuts all of them alike, one is taken that gives
the same tokens all the same, because the vocabulary joins nothing across the cuts in which the two differ.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import chain, product
from random import Random

from edgerun.errors import TokenizerError
from edgerun.text.bpe import ALPHABET
from edgerun.text.families import COMPOSED, FAMILIES, Family, Step
from edgerun.text.merge import merge
from edgerun.text.pretokenize import family as family_of
from edgerun.text.pretokenize import splitter
from quant.convert.definition import Definition, letters

_CHARACTERS = (
    "asAZé\u01c5\u02b0\u00aaЖω你のア가ㄱㄅกعक" "\u093f\u0301" "17٣Ⅷ½" "'\".,!/-_(`$+<^~|" "。，、…’·€😀" " \t\n\r\u3000\u00a0" "\x01\u200d"
)
_TEXTS = (
    "it's I'm we've you're they'll he'd don't", "IT'S I'M WE'VE YOU'RE THEY'LL HE'D DON'T", " 'S 'T'RE 'Ve'lL 'x x'", "1 12 123 1234 12345 1234567 x1y22",
    "a12345b 1,234.5 ١٢٣٤٥", "a  b   c    d\t\te \n f\n\ng \r\n\r\n h\n  i   ", "camelCase HTTPServer XMLHttp iPhone A1b2", "if (x==1){\n\treturn y;//\n}\n",
    "http://a.b/c?d=e ./.. ////\n", "你好，世界。漢字かなカナ한글", "किताब éa e\u0301a ກຂ กขค", "   ", "a" + " " * 9 + "b", "\n" * 5 + "x",
)  # fmt: skip
_RANDOM = 4000
_LETTERS = frozenset(ALPHABET)
_LONGEST_TOKEN = 64   # characters of a token that serves as a text

# By `model_type` of config.json: the name that llama.cpp's converter gives to the models of that type, where the cuts allow it.
_OF_TYPE = {
    **dict.fromkeys(("gpt_neox", "mamba", "mamba2", "olmo", "olmoe"), "olmo"),
    **dict.fromkeys(("olmo2", "olmo3", "dbrx", "phi3"), "dbrx"),
    **dict.fromkeys(("granite", "granitemoe", "granitemoeshared", "granitemoehybrid", "refact"), "refact"),
    **dict.fromkeys(("starcoder2", "gpt_bigcode"), "starcoder"),
    **dict.fromkeys(("cohere", "cohere2"), "command-r"),
    **dict.fromkeys(("glm4", "glm4_moe", "glm4_moe_lite", "glm4v"), "glm4"),
    **dict.fromkeys(("glm", "chatglm"), "chatglm-bpe"),
    **dict.fromkeys(("gpt_oss",), "gpt-4o"),
    **dict.fromkeys(("llama4", "llama4_text"), "llama4"),
    **dict.fromkeys(("lfm2", "lfm2_moe"), "lfm2"),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"), "qwen2"),
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text"), "qwen35"),
    **dict.fromkeys(("deepseek_v3", "deepseek_v32"), "deepseek-v3"),
    **dict.fromkeys(("mistral", "mistral3", "ministral", "ministral3", "mistral4"), "tekken"),
    **dict.fromkeys(("bailing_moe", "bailing_moe_v2"), "bailingmoe2"),
    "gpt2": "gpt-2", "phi": "phi-2", "falcon": "falcon", "falcon_h1": "falcon-h1", "exaone": "exaone", "exaone4": "exaone4", "exaone_moe": "exaone-moe",
    "deepseek_v2": "deepseek-llm", "llama": "llama-bpe", "smollm3": "smollm", "stablelm": "stablelm2", "mpt": "mpt", "bloom": "bloom",
    "modernbert": "modern-bert", "roberta": "roberta-bpe", "jais": "jais", "jais2": "jais-2", "codeshell": "codeshell", "minimax_m2": "minimax-m2",
    "hunyuan_v1_moe": "hunyuan", "hunyuan_v1_dense": "hunyuan-dense", "seed_oss": "seed-coder", "afmoe": "afmoe", "solar_open": "solar-open",
    "chameleon": "chameleon", "kimi_k2": "kimi-k2", "youtu": "youtu",
}  # fmt: skip


def named(model_type: str) -> str | None:
    """The name that models of this type usually have, for those that define none."""
    return _OF_TYPE.get(model_type)


def recognise(definition: Definition, tokens: Sequence[str], merges: Sequence[str], whole_words: bool, clean_spaces: bool, model_type: str) -> str:
    """The name that gives the ids of the definition.

    tokens, merges: those of the vocabulary, in GPT-2's alphabet. whole_words: a word that is a token is taken whole.
    clean_spaces: `decode` drops spaces before signs. Raises TokenizerError, which shows the definition.
    """
    usual = _OF_TYPE.get(model_type, "")
    exact = [each for each in FAMILIES if each.byte_level and each.whole_words == whole_words and _cut_alike(definition, each)]
    if exact:
        names = [(each, name) for each in exact for name in each.names.split()]
        if any(name == usual for _, name in names):
            return usual
        best = min(names, key=lambda pair: ((pair[1] in COMPOSED) != definition.composed, pair[0].clean_spaces != clean_spaces))
    joins = _Joins(definition, tokens, merges, whole_words)
    if usual and joins.alike(family_of(usual)[0]):
        return usual
    if exact:
        return best[1]
    for each in FAMILIES[1:]:   # not the default, which is what an unknown name gets
        if each.byte_level and joins.alike(each):
            return each.names.split()[0]
    raise TokenizerError(
        "tokenizer.json: no known pre-tokenizer cuts text as this one does; where one is known to serve, name it with --pre NAME "
        f"(as --pre {usual or 'qwen2'}): {definition.source}"
    )


def _ways(family: Family) -> Iterable[tuple[tuple[Step, ...], bool]]:
    """The steps of a family as llama.cpp takes them, and as the models were trained with."""
    return (family.steps, False), (family.trained or family.steps, True)


def _cut_alike(definition: Definition, family: Family) -> bool:
    def alike(steps: tuple[Step, ...], strict: bool) -> bool:
        split = splitter(steps, strict)
        return all(list(map(letters, split(text))) == definition.cut(text) for text in _texts())

    return any(alike(steps, strict) for steps, strict in _ways(family))


def _texts() -> Iterable[str]:
    """Short texts: some that tell many expressions apart, all pairs of characters, and longer ones at random, always the same."""
    random = Random(1)
    yield from _TEXTS
    yield from map("".join, product(_CHARACTERS, repeat=2))
    for _ in range(_RANDOM):
        yield "".join(random.choices(_CHARACTERS, k=random.randint(3, 12)))


class _Joins:
    """Texts become tokens by a definition's cuts and by those of a family, with one vocabulary."""

    def __init__(self, definition: Definition, tokens: Sequence[str], merges: Sequence[str], whole_words: bool) -> None:
        self._definition, self._whole = definition, whole_words
        self._tokens, self._merges = frozenset(tokens), merges
        self._known: dict[str, list[str]] = {}

    def alike(self, family: Family) -> bool:
        """Whether all texts, and those of the tokens, give the same tokens both ways."""
        split = splitter(family.steps)
        if family.whole_words != self._whole and not self._plain:
            return False
        return all(self._same(self._definition.cut(text), list(map(letters, split(text)))) for text in chain(_texts(), self._readable))

    def _same(self, ours: list[str], theirs: list[str]) -> bool:
        return ours == theirs or self._parts(ours) == self._parts(theirs)

    def _parts(self, words: list[str]) -> list[str]:
        return [part for word in words for part in self._joined(word)]

    def _joined(self, word: str) -> list[str]:
        if word not in self._known:
            whole = self._whole and word in self._tokens
            self._known[word] = [word] if whole else merge(list(word), self._ranks, " ")
        return self._known[word]

    @cached_property
    def _ranks(self) -> Callable[[str, int], int]:
        return dict(zip(reversed(self._merges), range(len(self._merges) - 1, -1, -1), strict=True)).get

    @cached_property
    def _plain(self) -> bool:
        """Whether each token is what the merges make of its letters, so that to take words whole changes nothing."""
        return all(merge(list(token), self._ranks, " ") == [token] for token in self._tokens if _LETTERS.issuperset(token))

    @cached_property
    def _readable(self) -> list[str]:
        back = codecs.charmap_build(ALPHABET)
        texts = (codecs.charmap_encode(token, "strict", back)[0] for token in self._tokens if len(token) <= _LONGEST_TOKEN and _LETTERS.issuperset(token))
        return [text.decode("utf-8", "ignore") for text in texts]
