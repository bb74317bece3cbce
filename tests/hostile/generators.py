"""Bad GGUF files, one small function per class of badness. Each returns the bytes; the decorator says what the message must say.

`CASES` lists them all. Bytes are laid out by hand here, as the writer refuses to write such things.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
HUGE = (1 << 64) - 1


class Case(NamedTuple):
    """A class of bad files: `make()` gives one, whose error must contain `message`."""

    name: str
    make: Callable[[], bytes]
    message: str


CASES: list[Case] = []


def hostile(message: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    def register(make: Callable[[], bytes]) -> Callable[[], bytes]:
        CASES.append(Case(make.__name__, make, message))
        return make

    return register


# ----------------------------------------------------------------------------------------------------------------------
# The parts of a file


def string(content: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(content) if length is None else length) + content


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return string(name) + struct.pack("<I", kind) + value


def array(item: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", item, count) + items


def tensor(name: bytes = b"w", dimensions: Sequence[int] = (32,), type_id: int = 0, offset: int = 0, count: int | None = None) -> bytes:
    dims = struct.pack(f"<{len(dimensions)}Q", *dimensions)
    return string(name) + struct.pack("<I", len(dimensions) if count is None else count) + dims + struct.pack("<IQ", type_id, offset)


def gguf(
    keys: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: int = 0,
    version: int = 3,
    key_count: int | None = None,
    tensor_count: int | None = None,
) -> bytes:
    """A file of these keys and tensors with `data` zero bytes behind the padding; the counts may lie."""
    counts = (len(tensors) if tensor_count is None else tensor_count, len(keys) if key_count is None else key_count)
    head = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(data) if tensors else head


def one_key(kind: int, value: bytes) -> bytes:
    """A file of one key, whose value is the last thing in it."""
    return gguf([key(b"some.key", kind, value)])


# ----------------------------------------------------------------------------------------------------------------------
# Not GGUF at all


@hostile("the file is empty")
def empty() -> bytes:
    return b""


@hostile("not a GGUF file: it starts with b'Once'")
def text() -> bytes:
    return b"Once upon a time there was a file that somebody took for a model.\n" * 50


@hostile("it is a web page")
def web_page() -> bytes:
    return b"<!DOCTYPE html><html><body>404 Not Found</body></html>"


@hostile("it is a Git LFS pointer")
def lfs_pointer() -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"


@hostile("it is a safetensors checkpoint")
def safetensors() -> bytes:
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return struct.pack("<Q", len(header)) + header + bytes(4)


@hostile("it is a zip archive")
def zip_archive() -> bytes:
    return b"PK\3\4" + bytes(60)


@hostile("from before GGUF")
def ggml() -> bytes:
    return struct.pack("<II", 0x67676D6C, 1) + bytes(64)


@hostile("not a GGUF file")
def control_characters() -> bytes:
    return b"\x1b]0;owned\x07\x1b[2J" + bytes(64)


@hostile("the version reaches 4 bytes past the end of the file")
def magic_alone() -> bytes:
    return b"GGUF"


# ----------------------------------------------------------------------------------------------------------------------
# Version and counts


@hostile("GGUF version 1 is no longer read")
def version_1() -> bytes:
    return b"GGUF" + struct.pack("<III", 1, 0, 0)


@hostile("GGUF version 4 is not known")
def version_4() -> bytes:
    return gguf(version=4)


@hostile("GGUF version 0 is not known")
def version_0() -> bytes:
    return gguf(version=0)


@hostile("the file is big-endian")
def big_endian() -> bytes:
    return b"GGUF" + struct.pack(">IQQ", 3, 0, 0)


@hostile("the number of tensors reaches 5 bytes past the end of the file")
def cut_in_counts() -> bytes:
    return gguf()[:11]


@hostile("18446744073709551615 tensors are claimed")
def tensor_count() -> bytes:
    return gguf(tensor_count=HUGE)


@hostile("1099511627776 metadata keys are claimed")
def key_count() -> bytes:
    """43 bytes that keep the gguf package's reader busy for ever."""
    return gguf(key_count=1 << 40) + bytes(19)


@hostile("the length of metadata key 0 reaches 8 bytes past the end of the file")
def key_count_beyond_file() -> bytes:
    return gguf(key_count=16000)


@hostile("the length of the name of tensor 1 reaches 8 bytes past")
def tensor_count_beyond_file() -> bytes:
    return gguf(tensors=[tensor()], tensor_count=30000)[:57]


# ----------------------------------------------------------------------------------------------------------------------
# Keys


@hostile("metadata key 0 is 0 bytes long")
def empty_key() -> bytes:
    return gguf([key(b"", U8, b"\0")])


@hostile("metadata key 0 is 65536 bytes long")
def long_key() -> bytes:
    return gguf([key(b"k" * 65536, U8, b"\0")])


@hostile("metadata key 0 is 18446744073709551615 bytes long")
def key_length() -> bytes:
    return gguf(key_count=1) + string(b"key", HUGE)


@hostile("metadata key 0 is not UTF-8")
def key_not_utf8() -> bytes:
    return gguf([key(b"\xff\xfe", U8, b"\0")])


@hostile("metadata key 0 has unprintable characters: 'a\\x1b[2Jb'")
def key_with_escape() -> bytes:
    return gguf([key(b"a\x1b[2Jb", U8, b"\0")])


@hostile("the key 'twice' appears twice")
def duplicate_key() -> bytes:
    return gguf([key(b"twice", U8, b"\0"), key(b"other", U8, b"\0"), key(b"twice", U8, b"\0")])


@hostile("the type of 'some.key' reaches 2 bytes past")
def cut_in_key_type() -> bytes:
    return one_key(U32, b"")[:-2]


# ----------------------------------------------------------------------------------------------------------------------
# Values


@hostile("'some.key' has the unknown type 13")
def value_type() -> bytes:
    return one_key(13, bytes(8))


@hostile("'some.key' has the unknown type 4294967295")
def value_type_huge() -> bytes:
    return one_key(0xFFFFFFFF, bytes(8))


@hostile("'some.key' is a bool of value 2")
def bool_of_two() -> bytes:
    return one_key(BOOL, b"\2")


@hostile("'some.key' is a bool of value 255")
def bool_in_array() -> bytes:
    return one_key(ARRAY, array(BOOL, 4, b"\0\1\xff\1"))


@hostile("'some.key' reaches 3 bytes past the end of the file")
def cut_in_number() -> bytes:
    return one_key(U64, bytes(5))


@hostile("'some.key' reaches 18446744073709551605 bytes past")
def string_length() -> bytes:
    return one_key(STRING, string(b"0123456789", HUGE))


@hostile("'some.key' reaches 9223372036854775808 bytes past")
def string_length_sign() -> bytes:
    return one_key(STRING, string(b"", 1 << 63))


@hostile("'some.key' reaches 1 bytes past the end of the file")
def string_one_too_long() -> bytes:
    return one_key(STRING, string(b"abc", 4))


# ----------------------------------------------------------------------------------------------------------------------
# Arrays


@hostile("'some.key' claims 18446744073709551615 items")
def array_count() -> bytes:
    return one_key(ARRAY, array(U64, HUGE))


@hostile("'some.key' claims 2305843009213693952 items")
def array_size_wraps() -> bytes:
    return one_key(ARRAY, array(U64, 1 << 61, bytes(16)))


@hostile("'some.key' reaches 7999984 bytes past the end of the file")
def array_beyond_file() -> bytes:
    return one_key(ARRAY, array(U64, 1000000, bytes(16)))


@hostile("items; at most 1048576, and 4194304 in all arrays")
def arrays_of_too_many_items() -> bytes:
    return gguf([key(b"k%d" % i, ARRAY, array(U8, 1 << 20, bytes(1 << 20))) for i in range(5)])


@hostile("'some.key' has the unknown type 77")
def array_item_type() -> bytes:
    return one_key(ARRAY, array(77, 1, bytes(16)))


@hostile("string 0 of 'some.key' reaches past the end of the file")
def array_of_missing_strings() -> bytes:
    return one_key(ARRAY, array(STRING, 1000))


@hostile("string 2 of 'some.key' reaches past the end of the file")
def array_string_length() -> bytes:
    return one_key(ARRAY, array(STRING, 4, string(b"a") + string(b"") + string(b"b", HUGE) + string(b"c")))


@hostile("string 0 of 'some.key' reaches past the end of the file")
def array_string_length_wraps() -> bytes:
    """A length that leads back to the start of the array when it is added in 64 bits."""
    return one_key(ARRAY, array(STRING, 1 << 20, string(b"", (1 << 64) - 8)))


@hostile("string 1 of 'some.key' reaches past the end of the file")
def array_cut_in_last_string() -> bytes:
    return one_key(ARRAY, array(STRING, 2, string(b"a") + string(b"bcd")))[:-1]


@hostile("string 0 of 'some.key' reaches past the end of the file")
def array_cut_in_last_length() -> bytes:
    return one_key(ARRAY, array(STRING, 2, string(b"a") + bytes(7)))


@hostile("nested deeper than 4")
def nested_too_deep() -> bytes:
    return one_key(ARRAY, array(ARRAY, 1, array(ARRAY, 1, array(ARRAY, 1, array(ARRAY, 1, array(U8, 1, b"\0"))))))


@hostile("nested deeper than 4")
def nested_bomb() -> bytes:
    return one_key(ARRAY, array(ARRAY, 1) * 100000)


@hostile("or more than 65536 of them")
def many_inner_arrays() -> bytes:
    return one_key(ARRAY, array(ARRAY, 70000, array(U8, 0) * 70000))


# ----------------------------------------------------------------------------------------------------------------------
# Alignment


def aligned(kind: int, value: bytes) -> bytes:
    return gguf([key(b"general.alignment", kind, value)], [tensor()], 128)


@hostile("'general.alignment' is u32; it must be")
def alignment_zero() -> bytes:
    return aligned(U32, struct.pack("<I", 0))


@hostile("'general.alignment' is 48; it must be")
def alignment_no_power() -> bytes:
    return aligned(U32, struct.pack("<I", 48))


@hostile("'general.alignment' is 4; it must be")
def alignment_small() -> bytes:
    return aligned(U32, struct.pack("<I", 4))


@hostile("'general.alignment' is 2147483648; it must be")
def alignment_huge() -> bytes:
    return aligned(U32, struct.pack("<I", 1 << 31))


@hostile("'general.alignment' is u64; it must be")
def alignment_of_another_type() -> bytes:
    return aligned(U64, struct.pack("<Q", 32))


@hostile("'general.alignment' is [u32; 1]; it must be")
def alignment_array() -> bytes:
    return aligned(ARRAY, array(U32, 1, struct.pack("<I", 32)))


# ----------------------------------------------------------------------------------------------------------------------
# Tensors


@hostile("the name of tensor 0 is 64 bytes long")
def long_name() -> bytes:
    return gguf(tensors=[tensor(b"n" * 64)], data=128)


@hostile("the name of tensor 0 is 0 bytes long")
def empty_name() -> bytes:
    return gguf(tensors=[tensor(b"")], data=128)


@hostile("the name of tensor 0 is not UTF-8")
def name_not_utf8() -> bytes:
    return gguf(tensors=[tensor(b"\xc3(")], data=128)


@hostile("the name of tensor 0 has unprintable characters")
def name_with_zero() -> bytes:
    return gguf(tensors=[tensor(b"w\0x")], data=128)


@hostile("the tensor 'w' appears twice")
def duplicate_tensor() -> bytes:
    return gguf(tensors=[tensor(), tensor(offset=128)], data=256)


@hostile("tensor 'w' has 5 dimensions")
def five_dimensions() -> bytes:
    return gguf(tensors=[tensor(dimensions=(2, 2, 2, 2, 2))], data=128)


@hostile("tensor 'w' has 4294967295 dimensions")
def dimension_count() -> bytes:
    return gguf(tensors=[tensor(count=0xFFFFFFFF)], data=128)


@hostile("tensor 'w' has the impossible dimensions [32, 0]")
def zero_dimension() -> bytes:
    return gguf(tensors=[tensor(dimensions=(32, 0))], data=128)


@hostile("tensor 'w' has the impossible dimensions")
def product_wraps() -> bytes:
    """2^66 bytes, which are none in 64-bit arithmetic."""
    return gguf(tensors=[tensor(dimensions=(1 << 32, 1 << 32))], data=128)


@hostile("tensor 'w' has the impossible dimensions")
def dimension_huge() -> bytes:
    return gguf(tensors=[tensor(dimensions=(HUGE, HUGE, HUGE, HUGE))], data=128)


@hostile("bytes are missing")
def tensor_larger_than_any_disk() -> bytes:
    return gguf(tensors=[tensor(dimensions=(1 << 60,))], data=128)


@hostile("Q4_0 needs a multiple of 32")
def row_not_in_blocks() -> bytes:
    return gguf(tensors=[tensor(dimensions=(33, 2), type_id=2)], data=128)


@hostile("tensor 'w' is of the unknown type 5000")
def tensor_type() -> bytes:
    return gguf(tensors=[tensor(type_id=5000)], data=128)


@hostile("tensor 'w' is of the unknown type 4294967295")
def tensor_type_huge() -> bytes:
    return gguf(tensors=[tensor(type_id=0xFFFFFFFF)], data=128)


@hostile("is of type 139 (IQ4_K, ik_llama.cpp only)")
def tensor_type_of_a_fork() -> bytes:
    return gguf(tensors=[tensor(dimensions=(256,), type_id=139)], data=256)


@hostile("is of type 4 (Q4_2, removed from llama.cpp)")
def tensor_type_removed() -> bytes:
    return gguf(tensors=[tensor(type_id=4)], data=128)


@hostile("tensor 'w' has the offset 32, but the tensors before it end at 0")
def first_offset() -> bytes:
    return gguf(tensors=[tensor(offset=32)], data=256)


@hostile("tensor 'v' has the offset 129, but the tensors before it end at 128")
def offset_not_aligned() -> bytes:
    return gguf(tensors=[tensor(), tensor(b"v", offset=129)], data=512)


@hostile("tensor 'v' has the offset 0, but the tensors before it end at 128")
def tensors_overlap() -> bytes:
    return gguf(tensors=[tensor(), tensor(b"v", offset=0)], data=512)


@hostile("tensor 'v' has the offset 256, but the tensors before it end at 128")
def gap_between_tensors() -> bytes:
    return gguf(tensors=[tensor(), tensor(b"v", offset=256)], data=512)


@hostile("tensor 'v' has the offset 18446744073709551488")
def offset_huge() -> bytes:
    return gguf(tensors=[tensor(), tensor(b"v", offset=(1 << 64) - 128)], data=512)


@hostile("1 of 192 bytes are missing; download it again")
def data_one_byte_short() -> bytes:
    return gguf(tensors=[tensor()], data=127)


@hostile("128 of 192 bytes are missing; download it again")
def no_data() -> bytes:
    return gguf(tensors=[tensor()])[:64]


@hostile("the offset of 'w' reaches 3 bytes past the end of the file")
def cut_in_tensors() -> bytes:
    return gguf(tensors=[tensor()])[: 24 + len(tensor()) - 3]
