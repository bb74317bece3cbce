// Where the operands of a product lie. A slot of a row is one of the experts that it chose; `many` says which number of the frame counts the rows.
struct Params {
    x: u32, x_stride: u32, x_slot: u32, y: u32, y_stride: u32, y_slot: u32, blocks: u32, rows: u32, bias: u32,
    residual: u32, residual_stride: u32, choice: u32, choice_stride: u32, first: u32, count: u32, size: u32, many: u32,
}
