// out = EXPRESSION of x and y, number by number. EXPRESSION may use the column, and the numbers u, v and s of p.
struct Params {
    x: u32, x_stride: u32, y: u32, y_stride: u32, y_step: u32, out: u32, out_stride: u32, width: u32, u: f32, v: f32, s: f32, vector: u32,
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x;
    let row = id.y;
    if (column >= p.width) { return; }
    let x = a[p.x + row * p.x_stride + column];
    a[p.out + row * p.out_stride + column] = EXPRESSION;
}
