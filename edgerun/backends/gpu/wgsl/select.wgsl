// Rows of x that are asked for become the first rows of out.
struct Params { x: u32, x_stride: u32, out: u32, out_stride: u32, width: u32 }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= p.width) { return; }
    a[p.out + id.y * p.out_stride + id.x] = a[p.x + frame[SELECTED + id.y] * p.x_stride + id.x];
}
