"""The numbers that a file states about its architecture, checked before anything is built from them (`stated.py`).

Knows the GGUF key names (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) and no family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from edgerun.errors import ModelError, Unsupported
from edgerun.graph.builder import Shape
from edgerun.graph.lower import Embedding, Head, Layer
from edgerun.models.components import (
    Classifier,
    Heads,
    Hidden,
    LinearScaling,
    LongScaling,
    Norm,
    Pairing,
    Rope,
    Routing,
    Temperature,
    YarnScaling,
)
from edgerun.models.components import Embedding as TokenEmbedding
from edgerun.models.spec import Spec
from edgerun.models.stated import Stated, among, is_array, is_number, shown

MAX_EXPERTS = 1024
MAX_CONTEXT = 1 << 31
MAX_LABELS = 4096
POOLING = ("none", "mean", "cls", "last", "rank")   # by the number that the file has

# Keys that change what a model computes, with the values that change nothing. A family either reads such a key or cannot
# run a file that sets it to something else: nothing is left out silently.
_DECISIVE: dict[str, tuple[Any, ...]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "attention.recurrent_layers": (),
    "activation_sparsity_scale": (),
    "altup.num_inputs": (1,),
    "attention.scale": (0,),
    "attention.shared_kv_layers": (0,),
    "attention.sliding_window": (0,),
    "attention.temperature_scale": (0,),
    "attn_logit_softcapping": (0,),
    "embedding_length_per_layer_input": (0,),
    "embedding_scale": (0, 1),
    "expert_count": (0,),
    "expert_gating_func": (0,),
    "expert_group_count": (0, 1),
    "expert_shared_count": (0,),
    "expert_shared_feed_forward_length": (0,),
    "expert_weights_norm": (False,),
    "expert_weights_scale": (0, 1),
    "leading_dense_block_count": (0,),
    "final_logit_softcapping": (0,),
    "logit_scale": (0, 1),
    "moe_every_n_layers": (0,),
    "nextn_predict_layers": (0,),
    "residual_scale": (0, 1),
    "ssm.dt_b_c_rms": (False,),
    "rope.scaling.alpha": (0,),
    "rope.scaling.yarn_ext_factor": (1, -1),
    "rope.scaling.yarn_log_multiplier": (0,),
    "use_parallel_residual": (False,),
}

Gating = Literal["softmax", "sigmoid"]
_GATINGS: tuple[tuple[Gating, bool], ...] = (("softmax", False), ("sigmoid", False), ("softmax", True))   # and whether weights are always normalised


class Hyperparameters(Stated):
    """What the keys of one file mean for the model that is built from them."""

    def __init__(self, architecture: str, metadata: Mapping[str, Any], shapes: Mapping[str, Shape], read: Callable[[str], Any]) -> None:
        super().__init__(architecture, metadata, shapes, read)
        self.n_embd = self.count("embedding_length")
        self.context = self.count("context_length", most=MAX_CONTEXT)
        self.n_vocab = self._vocabulary()

    def eps(self) -> float:
        """The eps of RMS norms."""
        return self.number("attention.layer_norm_rms_epsilon", most=1.0)

    def layer_norm_eps(self) -> float:
        """The eps of layer norms."""
        return self.number("attention.layer_norm_epsilon", most=1.0)

    def heads(self, kv: int | None = None) -> Heads:
        """Head counts and widths; a width that the file does not state is n_embd / heads. kv: of this layer, where layers differ."""
        n = self.count("attention.head_count")
        kv = self._same_in_all("attention.head_count_kv", n) if kv is None else kv
        if n % kv:
            raise self.wrong("attention.head_count_kv", kv, f"it must divide head_count, {n}")
        if self.n_embd % n and (self.get("attention.key_length") is None or self.get("attention.value_length") is None):
            raise self.wrong("attention.head_count", n, f"it must divide embedding_length, {self.n_embd}, or key_length and value_length be given")
        return Heads(n, kv, self.count("attention.key_length", self.n_embd // n), self.count("attention.value_length", self.n_embd // n))

    def window(self, default: int = 0) -> int | None:
        """Positions that a sliding layer sees, the own included; None where that hides nothing within the context."""
        window = self.count("attention.sliding_window", default, least=0, most=MAX_CONTEXT)
        return window if 0 < window < self.context else None

    def sliding(self, period: int) -> tuple[bool, ...]:
        """Which layers slide: as the file says by period or layer by layer, else all but each `period`th; none without a window."""
        if not self.count("attention.sliding_window", 0, least=0, most=MAX_CONTEXT):
            return (False,) * self.n_layer
        pattern = self.get("attention.sliding_window_pattern")
        if is_array(pattern):
            return self._flags("attention.sliding_window_pattern", pattern)
        period = self.count("attention.sliding_window_pattern", period, least=0)
        return tuple(period == 0 or i % period < period - 1 for i in range(self.n_layer))

    def layers(self) -> int:
        """How many layers lead to the next token. Those behind them guess the ones after that (arXiv:2412.19437): their tensors are left alone."""
        n = self.n_layer - self.count("nextn_predict_layers", 0, least=0, most=self.n_layer - 1)
        behind = {str(i) for i in range(n, self.n_layer)}
        self._consumed |= {name for name in self._shapes if name.startswith("blk.") and name.split(".")[1] in behind}
        return n

    def temperature(self, length: int | None = None) -> Temperature | None:
        """How queries grow with their position, None where they do not. length: where the file does not state it."""
        beta = self.number("attention.temperature_scale", 0.0, most=1e3)
        return Temperature(beta, self.count("attention.temperature_length", length, most=MAX_CONTEXT)) if beta else None

    def memories(self, sliding: Sequence[bool]) -> tuple[int | None, ...]:
        """The layer whose keys and values each of the last ones reads: the last of its kind with its own; None for its own."""
        own = self.n_layer - self.count("attention.shared_kv_layers", 0, least=0, most=self.n_layer - 1)
        last = {kind: i for i, kind in enumerate(sliding[:own])}
        if not set(sliding) <= last.keys():
            raise self.wrong("attention.shared_kv_layers", self.n_layer - own, "a layer of each kind must have keys and values of its own")
        return tuple(None if i < own else last[kind] for i, kind in enumerate(sliding))

    def near_rope(self, key_width: int) -> Rope:
        """The rope of sliding layers where it is one of their own: it is never stretched."""
        return Rope(self._turning("rope.dimension_count_swa", key_width), self.base("rope.freq_base_swa", 10000.0), "halves")

    def rope(self, pairing: Pairing, heads: Heads | None = None) -> Rope:
        """The rope that the file describes: width, base, scaling, and the divisors in rope_freqs.weight. heads: where layers differ."""
        width = self._turning("rope.dimension_count", (heads or self.heads()).key)
        base = self.base("rope.freq_base", 10000.0)
        divisors = self.vector("rope_freqs.weight", width // 2) if "rope_freqs.weight" in self._shapes else None
        return Rope(width, base, pairing, self._scaling(width), divisors, self.positive("rope.scaling.attn_factor", 1.0))

    def _turning(self, key: str, key_width: int) -> int:
        """How many columns of a head turn: all of them where the file does not say."""
        width = self.count(key, key_width, most=key_width)
        if width % 2:
            raise self.wrong(key, width, "an even number is needed")
        return width

    def base(self, key: str, default: float) -> float:
        """The base of a rope's frequencies."""
        return self.number(key, default, least=1.001, most=1e30)

    def sections(self) -> bool:
        """Whether the rope is cut into sections, which turn by positions in an image or a film of their own."""
        sections = self.get("rope.dimension_sections")
        if sections is not None and not (is_array(sections) and len(sections) <= 8 and all(map(is_number, sections))):
            raise self.wrong("rope.dimension_sections", sections, "a few whole numbers are needed")
        return sections is not None and any(sections)

    def routing(self, gating: Gating, normalise: float | None = None, bias: str | None = None) -> Routing:
        """The routing that the file describes. gating, normalise (as in `ops.Route`): what holds where the file does not say.

        bias: the tensor of a layer that is added for ranking, if this file has it.
        """
        count = self.count("expert_count", most=MAX_EXPERTS)
        used = self.count("expert_used_count", most=count)
        kind = self.count("expert_gating_func", 0, least=0)
        if kind > len(_GATINGS):
            raise Unsupported(f"'{self.architecture}.expert_gating_func' is {kind}; edgerun computes 1 (softmax), 2 (sigmoid) and 3 (softmax of the chosen)")
        gating, always = _GATINGS[kind - 1] if kind else (gating, False)
        normalised = self.get("expert_weights_norm")
        if not among(normalised, (None, True, False)):
            raise self.wrong("expert_weights_norm", normalised, "true or false is needed")
        if always or normalised:
            normalise = normalise or 0.0
        elif normalised is not None:
            normalise = None
        groups = self.count("expert_group_count", 1, least=0, most=count) or 1
        groups_used = self.count("expert_group_used_count", groups, least=0, most=groups) or groups
        if count % groups or used > count // groups * groups_used:
            raise self.wrong("expert_group_count", groups, f"it must divide the {count} experts and leave {used} to choose from")
        best = min(2, count // groups) if groups > 1 and gating == "sigmoid" else 1   # DeepSeek-V2 takes the best of a group, V3 the best two
        there = bias if bias and any(name.endswith(f".{bias}") for name in self._shapes) else None
        scale = self.optional("expert_weights_scale") or 1.0
        return Routing(count, used, gating, normalise, there, groups, groups_used, best, scale=scale)

    def encoded(self, norm: Norm | None = None) -> Hidden | Classifier:
        """The head of an encoder: the file's classifier, if it has one."""
        return self.classifier(norm) or Hidden(norm)

    def classifier(self, norm: Norm | None = None) -> Classifier | None:
        """The head of a model that scores labels, named as the file names them or LABEL_0, LABEL_1...; None without such tensors."""
        shape = self._shapes.get("cls.output.weight")
        if shape is None:
            return None
        count, labels = shape[0] if len(shape) > 1 else 1, self.get("classifier.output_labels")
        labels = [f"LABEL_{i}" for i in range(min(count, MAX_LABELS))] if labels is None else labels
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels) or len(labels) != count or not labels:
            raise self.wrong("classifier.output_labels", labels, f"{count} names are needed, at most {MAX_LABELS}")
        return Classifier(tuple(labels), norm)

    def pooling(self) -> str:
        """How the rows of a text become one vector; `none` where the file does not say."""
        return POOLING[self.count("pooling_type", 0, least=0, most=len(POOLING) - 1)]

    def spec(self, layers: Iterable[Layer], head: Head, embedding: Embedding | None = None) -> Spec:
        """The spec of these components; Unsupported when the file sets a decisive key that none of them asked for."""
        for key in sorted(_DECISIVE.keys() - self._asked):
            value = self.get(key)
            # A window as long as the context hides nothing.
            if not among(value, (None, *_DECISIVE[key])) and not (key == "attention.sliding_window" and self.window() is None):
                raise Unsupported(f"'{self.architecture}.{key}' is {shown(value)}, which edgerun does not compute for this architecture; see docs/adding.md")
        every = embedding or TokenEmbedding()
        return Spec(self.architecture, self.n_vocab, self.n_embd, self.context, every, tuple(layers), head, self.pooling(), frozenset(self._consumed))

    def _scaling(self, width: int) -> LinearScaling | YarnScaling | LongScaling | None:
        """llama.cpp's rules: no type means linear, factor 0 means none, rope.scale_linear is the older key."""
        kind = self.get("rope.scaling.type")
        factor = self.number("rope.scaling.factor", self.number("rope.scale_linear", 0.0))
        if not among(kind, (None, "none", "linear", "yarn", "longrope")):
            raise Unsupported(f"'{self.architecture}.rope.scaling.type' is {shown(kind)}; edgerun computes none, linear, yarn and longrope")
        if kind == "longrope" or "rope_factors_long.weight" in self._shapes:
            return self._long(kind, factor, width)
        if kind == "none" or factor in (0, 1):
            return None
        if not 1 <= factor <= 1e6:
            raise self.wrong("rope.scaling.factor", factor, "a number from 1 to 1000000 is needed")
        if kind != "yarn":
            return LinearScaling(factor)
        fast, slow = self.positive("rope.scaling.yarn_beta_fast", 32.0), self.positive("rope.scaling.yarn_beta_slow", 1.0)
        # llama.cpp ignores the last one; the checkpoint that it was converted from takes it as it is.
        return YarnScaling(factor, self._trained(), fast, slow, self.optional("rope.scaling.yarn_attn_factor"))

    def _long(self, kind: str | None, factor: float, width: int) -> LongScaling:
        """The scaling in rope_factors_short and _long: some files say so by these tensors alone."""
        if not among(kind, (None, "none", "longrope")) or factor not in (0, 1):
            raise Unsupported(f"'{self.architecture}.rope.scaling.type' is {shown(kind)} in a file with rope_factors_long.weight; edgerun does not scale a rope twice")
        return LongScaling(self.vector("rope_factors_short.weight", width // 2), self.vector("rope_factors_long.weight", width // 2), self._trained())

    def _trained(self) -> int:
        """The context before the rope was stretched."""
        return self.count("rope.scaling.original_context_length", self.context, most=MAX_CONTEXT)

    def _vocabulary(self) -> int:
        shape = self._shapes.get("token_embd.weight")
        if shape is None:
            raise ModelError("tensor 'token_embd.weight' is missing from the model file: it holds no model, or only the vocabulary of one")
        if len(shape) != 2 or shape[1] != self.n_embd or shape[0] < 1:
            raise ModelError(f"tensor 'token_embd.weight' has shape {list(shape)} where embedding_length calls for [n, {self.n_embd}]; convert the file again")
        return shape[0]
