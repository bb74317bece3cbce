"""Short chat templates for model files that bring none, and which one fits a vocabulary. Text only; knows no Jinja.

Formats as the model cards give them: system and earlier turns, then the turn to be answered. No tools.
"""

from __future__ import annotations

from collections.abc import Callable

_TURNS = "{% for message in messages %}"
_CONTENT = "{{ message['content'] | trim }}"
_END = "{% endfor %}"

# Formats without a place for a system message put it in front of the first user message.
_MERGED = """\
{%- set ns = namespace(lead='') -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' or message['role'] == 'developer' -%}
{%- set ns.lead = ns.lead ~ (message['content'] | trim) ~ '\\n\\n' -%}
{%- elif message['role'] == 'assistant' -%}
ASSISTANT
{%- else -%}
USER
{%- set ns.lead = '' -%}
{%- endif -%}
{%- endfor -%}"""


def _merged(user: str, assistant: str) -> str:
    return _MERGED.replace("USER", user).replace("ASSISTANT", assistant)


_ASKED = "ns.lead ~ (message['content'] | trim)"

FALLBACKS: dict[str, str] = {
    "chatml": (
        _TURNS + "{{ '<|im_start|>' ~ message['role'] ~ '\\n' }}{{ message['content'] }}{{ '<|im_end|>\\n' }}" + _END
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "llama3": (
        "{{ bos_token }}" + _TURNS
        + "{{ '<|start_header_id|>' ~ message['role'] ~ '<|end_header_id|>\\n\\n' }}" + _CONTENT + "{{ '<|eot_id|>' }}" + _END
        + "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
    ),
    "llama4": (
        "{{ bos_token }}" + _TURNS
        + "{{ '<|header_start|>' ~ message['role'] ~ '<|header_end|>\\n\\n' }}" + _CONTENT + "{{ '<|eot|>' }}" + _END
        + "{% if add_generation_prompt %}{{ '<|header_start|>assistant<|header_end|>\\n\\n' }}{% endif %}"
    ),
    "llama2": _merged(
        "{{ bos_token ~ '[INST] ' ~ ('<<SYS>>\\n' ~ (ns.lead | trim) ~ '\\n<</SYS>>\\n\\n' if ns.lead else '') }}"
        "{{ (message['content'] | trim) ~ ' [/INST]' }}",
        "{{ ' ' ~ (message['content'] | trim) ~ ' ' ~ eos_token }}",
    ),
    "mistral": "{{ bos_token }}" + _merged(
        "{{ '[INST] ' ~ " + _ASKED + " ~ ' [/INST]' }}",
        "{{ ' ' ~ (message['content'] | trim) ~ eos_token }}",
    ),
    "gemma": (
        "{{ bos_token }}" + _merged(
            "{{ '<start_of_turn>user\\n' ~ " + _ASKED + " ~ '<end_of_turn>\\n' }}",
            "{{ '<start_of_turn>model\\n' ~ (message['content'] | trim) ~ '<end_of_turn>\\n' }}",
        )
        + "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
    ),
    "phi3": (
        _TURNS + "{{ '<|' ~ message['role'] ~ '|>\\n' }}{{ message['content'] }}{{ '<|end|>\\n' }}" + _END
        + "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
    ),
    "zephyr": (
        _TURNS + "{{ '<|' ~ message['role'] ~ '|>\\n' }}{{ message['content'] }}{{ eos_token ~ '\\n' }}" + _END
        + "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
    ),
    "granite": (
        _TURNS + "{{ '<|start_of_role|>' ~ message['role'] ~ '<|end_of_role|>' }}{{ message['content'] }}{{ '<|end_of_text|>\\n' }}" + _END
        + "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}"
    ),
    "command-r": (
        "{{ bos_token }}" + _TURNS
        + "{%- set who = {'system': 'SYSTEM', 'assistant': 'CHATBOT'}[message['role']] | default('USER') -%}"
        + "{{ '<|START_OF_TURN_TOKEN|><|' ~ who ~ '_TOKEN|>' }}" + _CONTENT + "{{ '<|END_OF_TURN_TOKEN|>' }}" + _END
        + "{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"
    ),
    "deepseek": (
        "{{ bos_token }}" + _merged(
            "{{ ns.lead ~ '<｜User｜>' ~ (message['content'] | trim) }}",
            "{{ '<｜Assistant｜>' ~ (message['content'] | trim) ~ eos_token }}",
        )
        + "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
    ),
    "gpt-oss": (
        _TURNS
        + "{%- set who = 'developer' if message['role'] == 'system' else message['role'] -%}"
        + "{{ '<|start|>' ~ who ~ ('<|channel|>final' if who == 'assistant' else '') ~ '<|message|>' }}"
        + "{{ message['content'] }}{{ '<|end|>' }}" + _END
        + "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
    ),
    "vicuna": (
        "{{ bos_token }}" + _merged(
            "{{ ns.lead ~ 'USER: ' ~ (message['content'] | trim) ~ '\\n' }}",
            "{{ 'ASSISTANT: ' ~ (message['content'] | trim) ~ eos_token ~ '\\n' }}",
        )
        + "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    "alpaca": (
        "{{ bos_token }}" + _merged(
            "{{ ns.lead ~ '### Instruction:\\n' ~ (message['content'] | trim) ~ '\\n\\n' }}",
            "{{ '### Response:\\n' ~ (message['content'] | trim) ~ eos_token ~ '\\n\\n' }}",
        )
        + "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
    ),
}

_SIGNS: list[tuple[str, tuple[str, ...]]] = [   # the first template whose tokens are all in the vocabulary
    ("chatml", ("<|im_start|>", "<|im_end|>")),
    ("llama3", ("<|start_header_id|>", "<|eot_id|>")),
    ("llama4", ("<|header_start|>", "<|eot|>")),
    ("gemma", ("<start_of_turn>", "<end_of_turn>")),
    ("granite", ("<|start_of_role|>", "<|end_of_role|>")),
    ("command-r", ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>")),
    ("gpt-oss", ("<|start|>", "<|message|>", "<|channel|>")),
    ("deepseek", ("<｜User｜>", "<｜Assistant｜>")),
    ("phi3", ("<|user|>", "<|assistant|>", "<|end|>")),
    ("zephyr", ("<|user|>", "<|assistant|>")),
    ("mistral", ("[INST]", "[/INST]")),
]


def fallback_name(has: Callable[[str], bool]) -> str | None:
    """The name of the template for a vocabulary; has(text) tells whether the text is one token. None if nothing fits."""
    return next((name for name, tokens in _SIGNS if all(map(has, tokens))), None)
