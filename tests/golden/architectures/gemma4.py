"""Gemma 4: small ones with a table for each layer and shared keys and values, larger ones with keys for values, one with experts."""

from __future__ import annotations

from typing import Any

from make import Case, Tensors, renamed

VOCAB, EMBD, HEADS, WIDTH, FAR = 96, 32, 4, 16, 32   # FAR: the width of heads in global layers
NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
    "layer_output_scale.weight": "layer_scalar",
    "inp_gate.weight": "per_layer_input_gate.weight",
    "proj.weight": "per_layer_projection.weight",
    "post_norm.weight": "post_per_layer_input_norm.weight",
}
EXPERTS, USED, EXPERT = 6, 2, 24   # EXPERT: the width of one
EXPERT_NAMES = {
    "ffn_gate_inp.weight": "router.proj.weight",
    "ffn_gate_inp.scale": "router.scale",
    "ffn_gate_up_exps.weight": "experts.gate_up_proj",
    "ffn_down_exps.weight": "experts.down_proj",
    "ffn_down_exps.scale": "router.per_expert_scale",
    "pre_ffw_norm_2.weight": "pre_feedforward_layernorm_2.weight",
    "post_ffw_norm_1.weight": "post_feedforward_layernorm_1.weight",
    "post_ffw_norm_2.weight": "post_feedforward_layernorm_2.weight",
}
OUTER = {
    "per_layer_model_proj.weight": "model.per_layer_model_projection.weight",
    "per_layer_proj_norm.weight": "model.per_layer_projection_norm.weight",
    "per_layer_token_embd.weight": "model.embed_tokens_per_layer.weight",
}


def case(slides: list[bool], shared: int = 0, narrow: int = 0, kv: tuple[int, int] = (2, 2), keys_for_values: bool = False, ff: int = 40, experts: bool = False) -> Case:
    """slides: of each layer; shared: how many last layers read the memory of others, with feed-forwards twice as wide; narrow:
    width of the tables of each layer; kv: key/value heads of sliding and of global layers."""
    layers = len(slides)
    widths = [ff if i < layers - shared else 2 * ff for i in range(layers)]

    def model() -> Any:
        from transformers import Gemma4ForCausalLM, Gemma4TextConfig

        return Gemma4ForCausalLM(
            Gemma4TextConfig(
                vocab_size=VOCAB,
                vocab_size_per_layer_input=VOCAB,
                hidden_size=EMBD,
                hidden_size_per_layer_input=narrow,
                intermediate_size=ff,
                use_double_wide_mlp=shared > 0,
                num_hidden_layers=layers,
                num_attention_heads=HEADS,
                num_key_value_heads=kv[0],
                num_global_key_value_heads=kv[1],
                num_kv_shared_layers=shared,
                attention_k_eq_v=keys_for_values,
                head_dim=WIDTH,
                global_head_dim=FAR,
                max_position_embeddings=128,
                sliding_window=16,
                layer_types=["sliding_attention" if near else "full_attention" for near in slides],
                final_logit_softcapping=4.0,
                rms_norm_eps=0.01,
                enable_moe_block=experts,
                **({"num_experts": EXPERTS, "top_k_experts": USED, "moe_intermediate_size": EXPERT, "experts_implementation": "eager"} if experts else {}),
                attn_implementation="eager",
            )
        )

    def state(t: Tensors) -> Tensors:
        return renamed(t, layers, NAMES | EXPERT_NAMES) | {there: t[here] for here, there in OUTER.items() if here in t}

    def layer(i: int) -> dict[str, tuple[int, ...]]:
        width, heads = (WIDTH, kv[0]) if slides[i] else (FAR, kv[1])
        odd = {
            "attn_q.weight": (HEADS * width, EMBD),
            "attn_k.weight": (heads * width, EMBD),
            "attn_v.weight": (heads * width, EMBD),
            "attn_q_norm.weight": (width,),
            "attn_k_norm.weight": (width,),
            "attn_output.weight": (EMBD, HEADS * width),
            "ffn_gate.weight": (widths[i], EMBD),
            "ffn_up.weight": (widths[i], EMBD),
            "ffn_down.weight": (EMBD, widths[i]),
            "layer_output_scale.weight": (1,),
            "inp_gate.weight": (narrow, EMBD),
            "proj.weight": (EMBD, narrow),
            "ffn_gate_inp.weight": (EXPERTS, EMBD),
            "ffn_gate_up_exps.weight": (EXPERTS, 2 * EXPERT, EMBD),
            "ffn_down_exps.weight": (EXPERTS, EMBD, EXPERT),
            "ffn_down_exps.scale": (EXPERTS,),
        }
        left_out = {"attn_k.weight", "attn_v.weight", "attn_k_norm.weight"} if i >= layers - shared else set()
        left_out |= {"attn_v.weight"} if keys_for_values and not slides[i] else set()
        left_out |= set() if narrow else {"inp_gate.weight", "proj.weight", "post_norm.weight"}
        return {f"blk.{i}.{name}": odd.get(name, (EMBD,)) for name in (NAMES | EXPERT_NAMES if experts else NAMES) if name not in left_out}

    tables = {
        "per_layer_token_embd.weight": (VOCAB, layers * narrow),
        "per_layer_model_proj.weight": (layers * narrow, EMBD),
        "per_layer_proj_norm.weight": (narrow,),
    }
    return Case(
        "gemma4",
        model,
        {
            "block_count": layers,
            "context_length": 128,
            "embedding_length": EMBD,
            "embedding_length_per_layer_input": narrow,
            "feed_forward_length": widths if shared else ff,
            "attention.head_count": HEADS,
            "attention.head_count_kv": [kv[0] if near else kv[1] for near in slides],
            "attention.key_length": FAR,
            "attention.value_length": FAR,
            "attention.key_length_swa": WIDTH,
            "attention.value_length_swa": WIDTH,
            "attention.layer_norm_rms_epsilon": 0.01,   # so that the last layer's scale matters
            "attention.sliding_window": 16,
            "attention.sliding_window_pattern": slides,
            "attention.shared_kv_layers": shared,
            "rope.dimension_count": FAR,
            "rope.dimension_count_swa": WIDTH,
            "rope.freq_base": 1e6,
            "rope.freq_base_swa": 1e4,
            "final_logit_softcapping": 4.0,
            **({"expert_count": EXPERTS, "expert_used_count": USED, "expert_feed_forward_length": EXPERT} if experts else {}),
        },
        {
            "token_embd.weight": (VOCAB, EMBD),
            "rope_freqs.weight": (FAR // 2,),
            "output_norm.weight": (EMBD,),
            **(tables if narrow else {}),
            **{name: shape for i in range(layers) for name, shape in layer(i).items()},
        },
        state,
        windows=(16,),
        spreads=[
            ("token_embd.weight", 0.0, 0.3),
            ("per_layer_token_embd.weight", 0.0, 0.5),
            ("*.layer_output_scale.weight", 0.7, 0.3),
            ("*.attn_q_norm.weight", 0.4, 0.2),
            ("*exps.scale", 1.0, 0.5),
            ("*inp.scale", 3.0, 2.0),   # so that experts differ, although the router's input is divided by the root of its width
        ],
        values={"rope_freqs.weight": [1.0] * (FAR // 8) + [1e30] * (3 * FAR // 8)},
    )


CASES = {
    "gemma4-shared": case([True, False, True, False, True, False], shared=2, narrow=8),
    "gemma4-keys": case([True, True, False], kv=(2, 1), keys_for_values=True),
    "gemma4-experts": case([True, True, False], kv=(2, 1), keys_for_values=True, experts=True),
}
