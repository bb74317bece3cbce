"""The WGSL of a packed form, written from its data: how a kernel gets at codes, scales and offsets. Knows no format by name.

Three functions of a block at word `at`, its sub-block s, a group g of 4 columns in that, and row r of 16:

    codes(at, s, g, r)   4 columns as signed bytes of a word, with bias and table already applied
    scale(at, s, r)      what a code is multiplied with
    offset(at, s, r)     what is added for each column, where OFFSET is true

and `quad`, the 4 columns as floats before scale and offset, the only one that float matrices need.
"""

from __future__ import annotations

from edgerun.formats.packing import ROWS, Packing

_FLOATS = {
    "f32": "bitcast<f32>(w[at + 16u * k + r])",
    "f16": "unpack2x16float(w[at + 8u * k + r / 2u])[r % 2u]",
    "bf16": "bitcast<f32>(extractBits(w[at + 8u * k + r / 2u], 16u * (r % 2u), 16u) << 16u)",
}
_HELPERS = """
fn half(at: u32, r: u32) -> f32 { return unpack2x16float(w[at + r / 2u])[r % 2u]; }
fn bfloat(at: u32, r: u32) -> f32 { return bitcast<f32>(extractBits(w[at + r / 2u], 16u * (r % 2u), 16u) << 16u); }
fn u8(at: u32, r: u32) -> f32 { return f32(extractBits(w[at + r / 4u], 8u * (r % 4u), 8u)); }
fn s8(at: u32, r: u32) -> f32 { return f32(extractBits(i32(w[at + r / 4u]), 8u * (r % 4u), 8u)); }
"""


def block_columns(packing: Packing) -> int:
    """Columns of what kernels take for a block: of floats, a group."""
    return packing.cols if packing.kind == "code" else 4


def block_words(packing: Packing) -> int:
    """Words of such a block of 16 rows."""
    return packing.nbytes(ROWS, block_columns(packing)) // 4


def sizes_of(packing: Packing) -> dict[str, int]:
    """Columns of a block, and of a sub-block; sub-blocks, groups and runs of 16 columns in these; words of a block of 16 rows."""
    cols, sub = block_columns(packing), packing.sub if packing.kind == "code" else 4
    return {"COLS": cols, "SUB": sub, "SUBS": cols // sub, "GROUPS": sub // 4, "BLOCKS": sub // 16, "SIZE": block_words(packing)}


def source_of(packing: Packing) -> str:
    """Constants and functions for kernels over this packing."""
    lines = [f"const {name} = {value}u;" for name, value in sizes_of(packing).items()]
    lines.append(f"const OFFSET = {str(packing.offset != 'bias').lower()};")
    return "\n".join(lines) + (_coded(packing) if packing.kind == "code" else _floats(packing.kind))


def _floats(kind: str) -> str:
    return f"""
fn number(at: u32, k: u32, r: u32) -> f32 {{ return {_FLOATS[kind]}; }}
fn quad(at: u32, s: u32, g: u32, r: u32) -> vec4<f32> {{ return vec4<f32>(number(at, 0u, r), number(at, 1u, r), number(at, 2u, r), number(at, 3u, r)); }}
fn scale(at: u32, s: u32, r: u32) -> f32 {{ return 1.0; }}
fn offset(at: u32, s: u32, r: u32) -> f32 {{ return 0.0; }}
"""


def _coded(packing: Packing) -> str:
    return _HELPERS + _table(packing) + _joined(packing) + f"""
fn codes(at: u32, s: u32, g: u32, r: u32) -> u32 {{
    let c = joined(at, s, g, r);
    return {_signed(packing)};
}}
fn quad(at: u32, s: u32, g: u32, r: u32) -> vec4<f32> {{ return vec4<f32>(unpack4xI8(codes(at, s, g, r))); }}
fn scale(at: u32, s: u32, r: u32) -> f32 {{ return {_scale(packing)}; }}
fn offset(at: u32, s: u32, r: u32) -> f32 {{ return {_offset(packing)}; }}
"""


def _joined(packing: Packing) -> str:
    """`joined`: codes as they are stored."""
    shared, layer = packing.span // packing.sub, packing.layer
    lines = [
        "fn joined(at: u32, s: u32, g: u32, r: u32) -> u32 {",
        f"    let group = s % {shared}u * GROUPS + g;",
        f"    let start = at + {packing.codes_at // 4}u + {16 * packing.vectors}u * (s / {shared}u) + r;",
        f"    let up = {packing.field}u * (group / {layer}u);",
    ]
    for place in range(packing.vectors, layer):
        done, parts = 0, []
        for vector, at, bits in packing.pieces(place):
            parts.append(f"({_field(f'{vector}u', f'up + {at}u', bits)} << {done}u)")
            done += bits
        lines.append(f"    if (group % {layer}u == {place}u) {{ return {' | '.join(parts)}; }}")
    whole = _field(f"group % {layer}u", f"up + {packing.pieces(0)[0][1]}u", packing.bits)
    return "\n".join([*lines, f"    return {whole};", "}"])


def _field(vector: str, at: str, bits: int) -> str:
    """Bits of each byte of a word, from bit `at` on."""
    word = f"w[start + 16u * ({vector})]"
    return word if bits == 8 else f"(({word} >> ({at})) & {((1 << bits) - 1) * 0x01010101:#x}u)"


def _signed(packing: Packing) -> str:
    """Signed bytes of c: the table's entries, or the codes less their bias; no byte borrows from the next."""
    if packing.table is not None:
        return " | ".join(f"(look(extractBits(c, {8 * i}u, 4u)) << {8 * i}u)" for i in range(4))
    if packing.offset != "bias":
        assert packing.bits < 8, "codes without a bias are signed bytes as they are"
        return "c"
    return f"((c | 0x80808080u) - {packing.bias * 0x01010101:#x}u) ^ 0x80808080u" if packing.bits < 8 else "c ^ 0x80808080u"


def _table(packing: Packing) -> str:
    """`look`: an entry of the table of at most 16 signed bytes, chosen among constants."""
    if packing.table is None:
        assert packing.bits < 8 or packing.bias == 128 or packing.offset != "bias", "a bias that one bit takes off"
        return ""
    assert packing.offset == "bias", "a table has no offset"
    assert len(packing.table) <= 16, "indices of 4 bits"
    entries = [value & 255 for value in (*packing.table, *[0] * (16 - len(packing.table)))]
    words = [f"{sum(entries[i + j] << 8 * j for j in range(4)):#x}u" for i in range(0, 16, 4)]
    return f"""
fn look(i: u32) -> u32 {{
    let odd = (i & 4u) != 0u;
    let four = select(select({words[0]}, {words[1]}, odd), select({words[2]}, {words[3]}, odd), (i & 8u) != 0u);
    return extractBits(four, 8u * (i & 3u), 8u);
}}
"""


def _top(packing: Packing, at: int) -> str:
    """An entry of d or m, which begins at byte `at`."""
    place = f"at + {at // 4}u" + (" + 8u * s" if packing.tops > 1 else "")
    return f"{'bfloat' if packing.scale == 'bf16' else 'half'}({place}, r)"


def _scale(packing: Packing) -> str:
    factors = [_top(packing, 0)]
    if packing.scaled:
        factors.append(f"{packing.scale[-2:]}(at + {packing.scales_at // 4}u + 4u * s, r)")
    if packing.unit != 1.0:
        factors.append(f"{packing.unit:.10g}")
    return " * ".join(factors)


def _offset(packing: Packing) -> str:
    if packing.offset == "bias":
        return "0.0"
    m = _top(packing, packing.m_at)
    return m if packing.offset == "f16" else f"-{m} * u8(at + {packing.mins_at // 4}u + 4u * s, r)"
