// out = the slots of x, each times its weight where there is a choice, added up, plus a residual.
struct Params { x: u32, x_stride: u32, out: u32, out_stride: u32, width: u32, slots: u32, weights: u32, weights_stride: u32, residual: u32, residual_stride: u32 }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= p.width) { return; }
    var sum = 0.0;
    for (var j = 0u; j < p.slots; j++) {
        var x = a[p.x + id.y * p.x_stride + j * p.width + id.x];
        if (p.weights != NONE) { x *= a[p.weights + id.y * p.weights_stride + j]; }
        sum += x;
    }
    if (p.residual != NONE) { sum += a[p.residual + id.y * p.residual_stride + id.x]; }
    a[p.out + id.y * p.out_stride + id.x] = sum;
}
