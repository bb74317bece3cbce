"""What a step tells the kernels, as 8-byte words at a fixed address. Shared by kernels and `executor.py`; imports nothing.

    ROWS, OUTPUTS      rows of the batch; rows whose logits are asked for
    POSITIONS          int32 [rows]
    PAGES              int32 [rows], the page that the row's own position lies in
    SELECTED           int32 [outputs], row numbers
    TILES              int32 [tiles][4]: first row, rows, sequence, 0: neighbouring rows of one sequence
    TABLES, TABLE      int32 [sequences][pages], bytes from one sequence's table to the next
"""

ROWS, OUTPUTS, POSITIONS, PAGES, SELECTED, TILES, TABLES, TABLE, WORDS = range(9)
MAX_HEAD = 1024   # widest head of keys or values: attention keeps its queries and results on the stack
