// Attention that several workgroups did a share of the pages of: the parts of a head of a row added up, in a fixed order.
struct Params { parts: u32, out: u32, out_stride: u32, heads: u32 }

const LANES = 64u;
const PART = 2u + 2u * VALUE_PAIRS;   // words: the highest score, the sum of weights, the weighted sum of values

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let parts = p.parts + (group.y * p.heads + group.x) * SPLITS * PART;
    var best = LOWEST;
    for (var i = 0u; i < SPLITS; i++) { best = max(best, a[parts + i * PART]); }
    var total = 0.0;
    for (var i = 0u; i < SPLITS; i++) { total += a[parts + i * PART + 1u] * exp(max(a[parts + i * PART] - best, -100.0)); }
    for (var column = lane; column < VALUE_WIDTH; column += LANES) {
        var sum = 0.0;
        for (var i = 0u; i < SPLITS; i++) { sum += a[parts + i * PART + 2u + column] * exp(max(a[parts + i * PART] - best, -100.0)); }
        a[p.out + group.y * p.out_stride + group.x * VALUE_WIDTH + column] = sum / total;
    }
}
