"""Which type each tensor gets in a file called Q4_K_M and the like: llama.cpp's mixes, as data. Knows names and counts, no bytes.

A recipe has a type for most tensors and rules for those by which a model suffers most: the first rule that fits a tensor's role and
place decides. (llama.cpp, src/llama-quant.cpp; its exceptions for Falcon and for models of 80 layers are left out.)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

# A tensor's role by the end of its name.
_ROLES = [
    (r"token_embd\.weight", "token_embd"),
    (r"output\.weight", "output"),
    (r".*attn_qkv\.weight", "attn_qkv"),
    (r".*attn_q\.weight", "attn_q"),
    (r".*attn_k\.weight", "attn_k"),
    (r".*attn_(v|kv_b)\.weight", "attn_v"),
    (r".*attn_output\.weight", "attn_output"),
    (r".*ffn_(down|down_exps|down_shexp)\.weight", "ffn_down"),
    (r".*ffn_(gate|gate_exps|gate_shexp|gate_up_exps)\.weight", "ffn_gate"),
    (r".*ffn_(up|up_exps|up_shexp)\.weight", "ffn_up"),
]
# Matrices that stay as they are: small ones on which much depends, and tables that are not multiplied with.
_KEPT = re.compile(
    r".*(_norm|ffn_gate_inp|ffn_gate_inp_shexp|position_embd|token_types|ssm_conv1d|shortconv\.conv|per_layer_model_proj|attn_rel_b)\.weight|.*(altup|laurel).*"
)


@dataclass(frozen=True)
class Place:
    """Where a tensor stands: it is the `index`th of its role among `count`, in a model with these properties.

    gqa: queries to a key/value head; experts: of a layer, 0 for none; measured: whether an importance matrix is given; tied: whether the
    token table is the output matrix too.
    """

    index: int
    count: int
    gqa: int = 1
    experts: int = 0
    measured: bool = False
    tied: bool = False

    @property
    def worth_more(self) -> bool:
        """The first and last eighth and every third in between, where more bits help most."""
        eighth = self.count // 8
        return self.index < eighth or self.index >= 7 * self.count // 8 or (self.index - eighth) % 3 == 2

    def first(self, parts: int) -> bool:
        """Whether it is in the first of so many parts."""
        return self.index < self.count // parts


Condition = Callable[[Place], bool]


def always(place: Place) -> bool:
    """Everywhere."""
    return True


def few_heads(place: Place) -> bool:
    """Where keys and values are small, so that more bits cost little."""
    return place.gqa >= 4


def eight_experts(place: Place) -> bool:
    """Mixtral's size, where attention is a small part of the file."""
    return place.experts == 8


def worth_more(place: Place) -> bool:
    """See `Place.worth_more`."""
    return place.worth_more


def unmeasured(place: Place) -> bool:
    """Without an importance matrix."""
    return not place.measured


def first_eighth(place: Place) -> bool:
    """In the first layers."""
    return place.first(8)


def middle(place: Place) -> bool:
    """Not in the first nor the last eighth."""
    return place.count // 8 <= place.index < 7 * place.count // 8


@dataclass(frozen=True)
class Rule:
    """Tensors of `role` get `type` where `when` holds."""

    role: str
    type: str
    when: Condition = always


@dataclass(frozen=True)
class Recipe:
    """name: as files are called; file_type: llama.cpp's number for general.file_type; base: the type of most matrices."""

    name: str
    file_type: int
    base: str
    rules: tuple[Rule, ...] = field(default=())
    output: str = "Q6_K"
    stacks: str | None = None   # of tensors with experts

    def type_of(self, name: str, shape: tuple[int, ...], place: Place) -> str | None:
        """The type for a tensor; None where it stays as it is."""
        if not quantizable(name, shape):
            return None
        role = role_of(name)
        if role == "output" or (role == "token_embd" and place.tied):
            return self.output
        if self.stacks and len(shape) == 3:
            return self.stacks
        return next((rule.type for rule in self.rules if rule.role == role and rule.when(place)), self.base)


def role_of(name: str) -> str:
    """What a tensor is for; "" for what no rule speaks of."""
    return next((role for pattern, role in _ROLES if re.fullmatch(pattern, name)), "")


def kind_of(name: str) -> str:
    """The role of a tensor, or what its name has in common with those of other layers."""
    return role_of(name) or re.sub(r"^blk\.\d+\.|\.weight$", "", name)


def quantizable(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is a matrix, or a stack of them, that is meant to be made smaller."""
    return len(shape) >= 2 and name.endswith("weight") and not _KEPT.fullmatch(name)


def _both(a: Condition, b: Condition) -> Condition:
    return lambda place: a(place) and b(place)


def _not(a: Condition) -> Condition:
    return lambda place: not a(place)


_MIXTRAL = (Rule("attn_v", "Q8_0", eight_experts), Rule("attn_k", "Q8_0", eight_experts))
_OUTPUT5 = Rule("attn_output", "Q5_K", eight_experts)
_IQ2 = (
    Rule("attn_v", "Q4_K", lambda p: p.gqa >= 4 or p.experts >= 4),
    Rule("attn_k", "Q4_K", eight_experts),
    Rule("attn_output", "Q5_K", eight_experts),
)
_SMALL_IQ2 = (*_IQ2, Rule("attn_v", "Q2_K"), Rule("ffn_down", "Q2_K", first_eighth), Rule("token_embd", "Q2_K"))
_LARGE_IQ2 = (*_IQ2, *(Rule(role, "IQ3_S", when) for role, when in (("attn_v", always), ("ffn_down", first_eighth), ("attn_output", always), ("token_embd", always))))
_OLD = (Rule("ffn_down", "Q4_1", lambda p: p.measured and p.first(8)),)
_IQ4 = (*_MIXTRAL, _OUTPUT5, Rule("attn_v", "Q5_K", few_heads), Rule("ffn_down", "Q5_K", _both(first_eighth, unmeasured)))

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("F32", 0, "F32", output="F32"),
        Recipe("F16", 1, "F16", output="F16"),
        Recipe("BF16", 32, "BF16", output="BF16"),
        Recipe("Q8_0", 7, "Q8_0", output="Q8_0"),
        Recipe("Q4_0", 2, "Q4_0", (*_MIXTRAL, *_OLD)),
        Recipe("Q4_1", 3, "Q4_1", _MIXTRAL),
        Recipe("Q5_0", 8, "Q5_0", (*_MIXTRAL, Rule("ffn_down", "Q5_1", lambda p: p.measured and p.first(8)))),
        Recipe("Q5_1", 9, "Q5_1", _MIXTRAL),
        Recipe("Q2_K_S", 21, "Q2_K", (*_MIXTRAL, Rule("attn_v", "Q4_K", few_heads), Rule("ffn_down", "Q4_K", first_eighth))),
        Recipe(
            "Q2_K", 10, "Q2_K",
            (*_MIXTRAL, _OUTPUT5, Rule("attn_v", "Q4_K", few_heads), Rule("attn_v", "Q3_K"), Rule("ffn_down", "Q3_K"), Rule("attn_output", "Q3_K")),
        ),
        Recipe("Q3_K_S", 11, "Q3_K", (*_MIXTRAL, _OUTPUT5)),
        Recipe(
            "Q3_K_M", 12, "Q3_K",
            (*_MIXTRAL, _OUTPUT5, Rule("attn_v", "Q5_K", lambda p: p.index < 2), Rule("attn_v", "Q4_K"), Rule("ffn_down", "Q5_K", lambda p: p.first(16)),
             Rule("ffn_down", "Q4_K"), Rule("attn_output", "Q4_K"), Rule("attn_qkv", "Q4_K")),
        ),
        Recipe("Q3_K_L", 13, "Q3_K", (*_MIXTRAL, Rule("attn_v", "Q5_K"), Rule("ffn_down", "Q5_K"), Rule("attn_output", "Q5_K", _not(eight_experts)), Rule("attn_qkv", "Q4_K"))),
        Recipe("Q4_K_S", 14, "Q4_K", (*_MIXTRAL, _OUTPUT5, Rule("attn_v", "Q5_K", lambda p: p.index < 4), Rule("ffn_down", "Q5_K", first_eighth))),
        Recipe("Q4_K_M", 15, "Q4_K", (*_MIXTRAL, _OUTPUT5, Rule("attn_v", "Q6_K", worth_more), Rule("ffn_down", "Q6_K", worth_more), Rule("attn_qkv", "Q5_K"))),
        Recipe("Q5_K_S", 16, "Q5_K", _MIXTRAL),
        Recipe("Q5_K_M", 17, "Q5_K", (*_MIXTRAL, Rule("attn_v", "Q6_K", worth_more), Rule("ffn_down", "Q6_K", worth_more), Rule("attn_qkv", "Q6_K"))),
        Recipe("Q6_K", 18, "Q6_K", _MIXTRAL),
        Recipe("IQ4_NL", 25, "IQ4_NL", _IQ4),
        Recipe("IQ4_XS", 30, "IQ4_XS", _IQ4),
        Recipe(
            "IQ3_M", 27, "IQ3_S",
            (*_MIXTRAL, _OUTPUT5, Rule("attn_v", "Q4_K"), Rule("ffn_down", "Q4_K", first_eighth), Rule("ffn_down", "Q4_K", _both(eight_experts, worth_more)),
             Rule("attn_output", "Q4_K"), Rule("attn_qkv", "Q4_K")),
        ),
        Recipe("IQ3_S", 26, "IQ3_S", (*_MIXTRAL, _OUTPUT5, Rule("attn_v", "Q4_K", few_heads))),
        Recipe(
            "IQ3_XS", 22, "IQ3_S",
            (*_MIXTRAL, _OUTPUT5, Rule("attn_v", "Q4_K", few_heads), Rule("attn_k", "IQ3_XXS"), Rule("attn_q", "IQ3_XXS"), Rule("ffn_gate", "IQ3_XXS", middle),
             Rule("ffn_up", "IQ3_XXS", middle)),
        ),
        Recipe(
            "IQ3_XXS", 23, "IQ3_XXS",
            (*_MIXTRAL, _OUTPUT5, Rule("attn_v", "Q4_K", few_heads), Rule("attn_v", "IQ3_S", unmeasured), Rule("attn_k", "IQ2_S"), Rule("attn_q", "IQ2_S"),
             Rule("ffn_down", "Q4_K", _both(first_eighth, unmeasured)), Rule("ffn_down", "Q3_K", unmeasured), Rule("attn_output", "IQ3_S"), Rule("token_embd", "IQ3_S")),
            output="Q5_K",
        ),
        Recipe("IQ2_M", 29, "IQ2_S", _LARGE_IQ2, output="Q5_K"),
        Recipe("IQ2_S", 28, "IQ2_XS", _LARGE_IQ2, output="Q5_K"),
        Recipe("IQ2_XS", 20, "IQ2_XS", _SMALL_IQ2, output="Q5_K"),
        Recipe("IQ2_XXS", 19, "IQ2_XXS", _SMALL_IQ2, output="Q5_K"),
        Recipe("IQ1_S", 24, "IQ1_S", (*_SMALL_IQ2, Rule("attn_output", "IQ2_XXS")), output="Q5_K"),
        Recipe("IQ1_M", 31, "IQ1_M", (*_SMALL_IQ2, Rule("attn_output", "IQ2_XXS")), output="Q5_K"),
        Recipe("TQ1_0", 36, "TQ1_0", (*_MIXTRAL, Rule("token_embd", "Q4_K"))),
        Recipe("TQ2_0", 37, "TQ2_0", (*_MIXTRAL, Rule("token_embd", "Q4_K"))),
        Recipe("MXFP4_MOE", 38, "Q8_0", output="Q8_0", stacks="MXFP4"),
        Recipe("MXFP4", 38, "MXFP4"),
        Recipe("NVFP4", 39, "NVFP4"),
    )
}  # fmt: skip
ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}   # llama.cpp's
