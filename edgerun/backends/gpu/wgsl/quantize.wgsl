// Rows of x as int8, into q.
struct Params { x: u32, x_stride: u32, q_stride: u32, width: u32 }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < p.width / 16u) { quantize(p.x + id.y * p.x_stride + 16u * id.x, id.y * p.q_stride + 2u * id.x); }
}
