"""The pre-tokenizers of byte-level BPE: `tokenizer.ggml.pre` to how a text is cut into words, as a table. Knows no code.

The names, and what llama.cpp does for each, are those of llama.cpp's `llama-vocab.cpp` (commit 0c1e570).
"""

from __future__ import annotations

from edgerun.dataclass import dataclass


@dataclass(frozen=True)
class Thousands:
    """A step that cuts each run of `digits` into threes from the right. Its `joined` side stays attached to the neighbour.

    unless: a run with this after it is left whole; it has to include the digits.
    """

    digits: str
    joined: str = ""
    unless: str = ""


Step = str | Thousands


@dataclass(frozen=True)
class Family:
    """Pre-tokenizers that work alike.

    names: values of `tokenizer.ggml.pre`. steps: applied one after another, each to the pieces that the one before left;
    a match is a piece and so is what lies between two. `\\p{..}` may stand in sets only; `\\s` is Unicode's white space.
    whole_words: a word that is a token is taken as it is, whatever the merges say; newline_runs: only one of newlines is.
    trained: the steps that the models were trained with, where these are known to differ; for strict tokenizers.
    byte_level: words are written in GPT-2's alphabet. escape_spaces: a space is U+2581. The others: as in `Settings`.
    """

    names: str
    steps: tuple[Step, ...]
    trained: tuple[Step, ...] = ()
    clean_spaces: bool = False
    whole_words: bool = False
    newline_runs: bool = False
    byte_level: bool = True
    escape_spaces: bool = False
    add_bos: bool = False
    force_bos: bool = False
    add_sep: bool = False
    needs_merges: bool = True
    bos: int | None = 11   # llama.cpp's default for a file that names none


_SUFFIX = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_DIGIT = r"[\p{N}]"
_THREE = r"[\p{N}]{1,3}"
_WORD = r"[^\r\n\p{L}\p{N}]?[\p{L}]+"
_WORDS = r"[^\r\n\p{L}\p{N}]?[\p{L}][\p{M}]*(?: ?[\p{L}][\p{M}]*)*"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Single digits first, then GPT-2, in one pass: white space sees a digit as the end of its piece.
_GPT2_DIGITS = rf"{_DIGIT}|'s|'t|'re|'ve|'m|'ll|'d| ?[\p{{L}}]+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?![^\s\p{{N}}])|\s+"
_LLAMA3 = f"{_SUFFIX}|{_WORD}|{_THREE}|{_SIGNS}|{_BLANKS}"
_QWEN2 = f"{_SUFFIX}|{_WORD}|{_DIGIT}|{_SIGNS}|{_BLANKS}"
_JAIS2 = "".join(rf"\s{{{n}}}(?!\S)|" for n in (512, 256, 128, 64, 32, 16, 8, 4)) + r"\s{1,2}(?!\S)|\s"

_CASED = r"[^\r\n\p{L}\p{N}]?(?:[\p{Lu}]*[\p{Ll}]+|[\p{Lu}]+[\p{Ll}]*)"
# A mark may be the first character of a word or the sign before one: which is tried first matters, so these are written out.
_MARKED = r"[^\r\n\p{{L}}\p{{N}}]?[\p{{{0}}}\p{{M}}]*[\p{{{1}}}\p{{M}}]+{2}|[^\r\n\p{{L}}\p{{N}}]?[\p{{{0}}}\p{{M}}]+[\p{{{1}}}\p{{M}}]*{2}"
_CASED_MARKS = _MARKED.format("Lu", "Ll", _SUFFIX + "?")
_CASED_TRULY = _MARKED.format("Upper", "Lower", _SUFFIX + "?")
_UNCASED = rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+{_SUFFIX}?"
_SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"

_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_ASCII_SIGN = r"[!-/:-@\[-`{-~][A-Za-z]+"
_MARKED_WORD = r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
_DEEPSEEK3 = rf"{_ASCII_SIGN}|{_MARKED_WORD}| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_BLANKS}"
_SPARK = rf"{_ASCII_SIGN}|{_MARKED_WORD}| ?[\p{{P}}\p{{S}}]+|[\r\n]|\s+(?!\S)|\s+"
_DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377"
    "\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5"
    "\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
    "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4"
    "\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d"
    "\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06"
    "\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
    "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
_DEEPSEEK_SIGNS = r"!-/:-~" "\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002"
_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_BLOOM = r" ?[^(\s|.,!?" "\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c" r")]+"
_LINES = r"[^\n]+|\n+"
_HANGUL_SIGNS_KANA = (
    "[\uac00-\ud7a3\u3131-\u318e]+|"
    "[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|"
    + _KANA
)
_SOUTH_EAST = (
    "[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-"
    "\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
)
_KIMI = rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?[\p{{L-Han}}]+{_SUFFIX}?|{_THREE}|{_SIGNS}|{_BLANKS}"

FAMILIES = (
    Family("default", (r"[\p{P}$+<=>^~|]+", _GPT2, r"[\p{N}]+", "[0-9][0-9][0-9]"), clean_spaces=True),
    Family("gpt-2 phi-2 gigachat a.x-4.0 mellum modern-bert exaone4 mpt olmo jais", (_GPT2,), clean_spaces=True),
    Family("jina-es jina-de jina-v2-es jina-v2-de", (_GPT2,), clean_spaces=True),
    Family("jina-v1-en jina-v2-code roberta-bpe", (_GPT2,), clean_spaces=True, add_sep=True),
    Family("trillion granite-docling", (_GPT2,)),
    Family("starcoder refact codeshell exaone minerva-7b mellum2", (_GPT2_DIGITS,), clean_spaces=True),
    Family("smollm command-r", (_GPT2_DIGITS,)),
    Family(
        "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
        (_LLAMA3,),
        clean_spaces=True,
        whole_words=True,
        add_bos=True,
    ),
    Family("dbrx smaug-bpe", (_LLAMA3,), clean_spaces=True),
    Family("chatglm-bpe", (_LLAMA3,), clean_spaces=True, bos=None),
    Family("glm4 glm5", (_LLAMA3,), clean_spaces=True, whole_words=True, bos=None),
    Family("minicpm5", (_THREE, f"{_SUFFIX}|{_WORD}|{_DIGIT}+|{_SIGNS}|{_BLANKS}"), clean_spaces=True, whole_words=True),
    Family("jais-2", (rf"{_SUFFIX}|{_WORD}|{_THREE}|{_SIGNS}|\s*[\r\n]+|{_JAIS2}",), clean_spaces=True),
    Family("qwen2 deepseek-r1-qwen kormo f2llmv2 hunyuan solar-open grok-2", (_QWEN2,)),
    Family("megrez stablelm2", (_QWEN2,), clean_spaces=True),
    Family("qwen35", (rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|{_DIGIT}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_BLANKS}",)),
    Family("ufakzeka", (f"{_WORD}|{_DIGIT}|{_SIGNS}|{_BLANKS}",)),
    Family("laguna", (_LINES, _QWEN2)),
    Family("seed-coder", (rf"{_SUFFIX}|{_WORD}|{_DIGIT}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_BLANKS}",)),
    Family("bailingmoe bailingmoe2 llada-moe", (rf"{_SUFFIX}|{_WORD}|{_DIGIT}|{_SIGNS}|\s*[\r\n]|\s+(?!\S)|\s+",)),
    Family(
        "exaone-moe",
        (rf"{_SUFFIX}|{_WORDS}|{_DIGIT}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",),
        clean_spaces=True,
    ),
    Family(
        "gpt-4o llama4 kanana2 talkie",
        (f"{_CASED}{_SUFFIX}?|{_THREE}|{_SLASHED}|{_BLANKS}",),
        trained=(f"{_CASED_TRULY}|{_THREE}|{_SLASHED}|{_BLANKS}",),
    ),
    Family("minimax-m2", (f"{_CASED}{_SUFFIX}?|{_THREE}|{_SLASHED}|{_BLANKS}",)),
    Family("granite-embed-multi-97m", (f"{_CASED_MARKS}|{_THREE}|{_SLASHED}|{_BLANKS}",), whole_words=True),
    Family(
        "tekken",
        (f"{_CASED}|{_DIGIT}|{_SLASHED}|{_BLANKS}",),
        trained=(f"{_MARKED.format('Upper', 'Lower', '')}|{_DIGIT}|{_SLASHED}|{_BLANKS}",),
        whole_words=True,
        add_bos=True,
    ),
    Family(
        "tiny_aya cohere2moe",
        (Thousands(_DIGIT, "left"), f"{_UNCASED}|{_THREE}|{_SLASHED}|{_BLANKS}"),
        trained=(Thousands(r"[\p{Nd}]", unless=r"[\p{W}]"), f"{_CASED_TRULY}|{_THREE}|{_SLASHED}|{_BLANKS}"),
    ),
    Family(
        "youtu",
        (_HANGUL_SIGNS_KANA, f"{_UNCASED}|{_DIGIT}|{_SLASHED}|{_BLANKS}"),
        trained=(_HANGUL_SIGNS_KANA, f"{_CASED_TRULY}|{_DIGIT}|{_SLASHED}|{_BLANKS}"),
        whole_words=True,
    ),
    Family("kimi-k2", (_KIMI,), needs_merges=False),
    Family("deepseek-v3 hunyuan-dense joyai-llm hy_v4", (_THREE, _KANA, _DEEPSEEK3)),
    Family("spark2_5", (_THREE, _KANA, _SPARK, _DIGIT)),
    Family("afmoe", (Thousands(_DIGIT, "left"), _SOUTH_EAST, _DEEPSEEK3)),
    # `(?<!\s)` keeps `\s+$` from starting anew at every character of a long run of white space.
    Family(
        "deepseek-llm",
        ("[\r\n]", rf"\s?[{_DEEPSEEK_LETTERS}]+", rf"\s?[{_DEEPSEEK_SIGNS}]+", r"(?<!\s)\s+\Z", _CJK, f"{_DIGIT}+"),
    ),
    Family("deepseek-coder", ("[\r\n]", r"\s?[\p{L}]+", r"\s?[\p{P}]+", _CJK, _DIGIT)),
    Family("falcon", (r"[\p{P}$+<=>^~|`]+", _GPT2, "[0-9][0-9][0-9]"), clean_spaces=True),
    Family("bloom gpt3-finnish", (_BLOOM,), clean_spaces=True),
    Family("poro-chat", (_BLOOM,)),
    Family("viking", (_BLOOM, _DIGIT)),
    Family("superbpe", (f"{_DIGIT}+", Thousands("[0-9]", "right"))),
    Family(
        "chameleon",
        ("<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", r"[\t\n]|    |  ", _DIGIT, r"[\p{P}!-/:-@\[-`{-~]", _GPT2),
        add_bos=True,
    ),
    Family(
        "gemma4 granite-embed-multi-311m",
        (_LINES,),
        clean_spaces=True,
        newline_runs=True,
        byte_level=False,
        escape_spaces=True,
        force_bos=True,
    ),
    Family("whitespace", (r"\S+",), clean_spaces=True, byte_level=False),
    Family("sarvam-moe", (_LINES,), byte_level=False, escape_spaces=True),
)

# Names of pre-tokenizers whose models were trained on text in Normalization Form C, which llama.cpp does not make.
COMPOSED = frozenset(("qwen2", "qwen35", "command-r", "mpt", "olmo"))

# The pre-tokenizer that the models of an architecture were trained with, where only one was ever used: for files that name none.
# OLMo took over GPT-NeoX's tokenizer.
OF_ARCHITECTURE = {
    "gptneox": "olmo",
    **{name: name for name in ("mpt", "falcon", "starcoder", "refact", "bloom", "qwen2", "command-r", "olmo", "codeshell", "jais")},
    "gpt2": "gpt-2", "phi2": "phi-2", "qwen2moe": "qwen2", "qwen3": "qwen2", "qwen3moe": "qwen2", "dbrx": "dbrx",
}
