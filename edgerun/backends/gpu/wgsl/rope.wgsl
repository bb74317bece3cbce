// Turn each pair of each head, in place. The host computed cosines and sines: [row][cos, then sin of each pair].
struct Params { x: u32, x_stride: u32, width: u32, heads: u32, pairs: u32, table: u32, near: u32, far: u32 }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= p.heads * p.pairs) { return; }
    let pair = id.x % p.pairs;
    let turn = p.table + id.y * 2u * p.pairs + pair;
    let first = p.x + id.y * p.x_stride + id.x / p.pairs * p.width + pair * p.near;
    let second = first + p.far;
    let c = a[turn];
    let s = a[turn + p.pairs];
    let x = a[first];
    let y = a[second];
    a[first] = x * c - y * s;
    a[second] = x * s + y * c;
}
