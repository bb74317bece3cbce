"""What the kernels are told of the rows of a step: numbers in one buffer. Knows no op.

    ROWS, OUTPUTS   how many rows there are, and how many of them are asked for
    POSITIONS       [rows] the position of each
    STARTS          [rows] where in the frame the pages of its sequence begin
    SELECTED        [rows] the rows that are asked for
    TABLES          the pages of each sequence that has a row, up to those of its last one
"""

from __future__ import annotations

import numpy as np

from edgerun.backends.executor import PAGE

MOST_ROWS = 256   # rows of one frame: longer steps are cut
ROWS, OUTPUTS, POSITIONS = 0, 1, 4
STARTS = POSITIONS + MOST_ROWS
SELECTED = STARTS + MOST_ROWS
TABLES = SELECTED + MOST_ROWS
CONSTANTS = (("ROWS", ROWS), ("OUTPUTS", OUTPUTS), ("POSITIONS", POSITIONS), ("STARTS", STARTS), ("SELECTED", SELECTED))


def words(rows: int, pages: int) -> int:
    """Words of a frame for so many rows, each of a sequence of its own that fills the memory."""
    return TABLES + rows * pages


def fill(positions: np.ndarray, sequences: np.ndarray, tables: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The frame of some rows, uint32; asked: the first of those asked for, when not all are computed at once."""
    n, m = len(positions), len(asked)
    frame = np.zeros(TABLES, np.uint32)
    frame[ROWS], frame[OUTPUTS] = n, m
    frame[SELECTED : SELECTED + m] = asked
    frame[POSITIONS : POSITIONS + n] = positions
    pieces, start = [frame], TABLES
    for sequence in np.unique(sequences):
        here = sequences == sequence
        pages = tables[sequence, : int(positions[here].max()) // PAGE + 1]
        frame[STARTS : STARTS + n][here] = start
        pieces.append(pages.astype(np.uint32))
        start += len(pages)
    return np.concatenate(pieces)
