"""What a step tells the kernels, as 8-byte words at a fixed address. Shared by kernels and `executor.py`; imports nothing.

    ROWS, OUTPUTS      rows of the batch; rows whose logits are asked for
    POSITIONS          int32 [rows]
    PAGES              int32 [rows], the page that the row's own position lies in
    SELECTED           int32 [outputs], row numbers
    TILES              int32 [tiles][4]: first row, rows, sequence, span or -1 for all: neighbouring rows of one sequence
    TABLES, TABLE      int32 [sequences][pages], bytes from one sequence's table to the next
    SEEN               int32 [rows], the last position that the row attends to: its own in a causal model, else its text's last
    SLOTS              int32 [rows][2]: where the row's results of attention go, and whether each span has a slot of its own
    STATES             int32 [rows]: the slot of recurrent state of the row's sequence
    RING_PAGES, RING_TABLES, RING_TABLE   as PAGES, TABLES and TABLE, of layers whose window is kept in rings (`rings.py`)
"""

ROWS, OUTPUTS, POSITIONS, PAGES, SELECTED, TILES, TABLES, TABLE, SEEN, SLOTS, STATES, RING_PAGES, RING_TABLES, RING_TABLE, WORDS = range(15)
SPAN = 256        # positions whose attention is computed together, from fresh: what threads split and what sums are ordered by
MAX_HEAD = 1024   # widest head of keys or values: attention keeps its queries and results on the stack
