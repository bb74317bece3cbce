"""Text from outside made safe to show on a terminal. Knows no terminal: it only makes control characters visible."""

from __future__ import annotations

_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]        # C0, DEL and C1: every control sequence begins with one of them
_LINES = [0x2028, 0x2029]                             # line and paragraph separator
_DIRECTIONS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]   # they make text read as what it is not
_SURROGATES = range(0xD800, 0xE000)                   # undecodable bytes of an argument; no encoding takes them
_VISIBLE = {code: repr(chr(code))[1:-1] for code in (*_CONTROLS, *_LINES, *_DIRECTIONS, *_SURROGATES)}
_MULTILINE = {code: text for code, text in _VISIBLE.items() if chr(code) not in "\n\t"}


def clean(text: str, keep_newlines: bool = True) -> str:
    """`text` with every control character as its escape (`\\x1b`); line feeds and tabs stay unless keep_newlines is False.

    Each character is judged by itself, so the pieces of a stream can be cleaned one by one.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_MULTILINE if keep_newlines else _VISIBLE)
