// A workgroup brings one group of columns of one row to unit mean square, or to zero mean and unit variance.
struct Params { x: u32, x_stride: u32, out: u32, out_stride: u32, width: u32, weight: u32, bias: u32, own: u32, eps: f32 }

var<workgroup> part: array<f32, LANES>;

// The sum over all lanes, in the same order on every run.
fn total(lane: u32, x: f32) -> f32 {
    part[lane] = x;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        if (lane < step) { part[lane] += part[lane + step]; }
        workgroupBarrier();
    }
    let sum = part[0];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let x = p.x + group.y * p.x_stride + group.x * p.width;
    let out = p.out + group.y * p.out_stride + group.x * p.width;
    let at = group.x * p.own;
    var mean = 0.0;
    if (CENTRED) {
        var sum = 0.0;
        for (var i = lane; i < p.width; i += LANES) { sum += a[x + i]; }
        mean = total(lane, sum) / f32(p.width);
    }
    var squares = 0.0;
    for (var i = lane; i < p.width; i += LANES) { let y = a[x + i] - mean; squares += y * y; }
    let scale = 1.0 / sqrt(total(lane, squares) / f32(p.width) + p.eps);
    for (var i = lane; i < p.width; i += LANES) {
        var y = (a[x + i] - mean) * scale;
        if (p.weight != NONE) { y *= vectors[p.weight + at + i]; }
        if (p.bias != NONE) { y += vectors[p.bias + at + i]; }
        a[out + i] = y;
    }
}
