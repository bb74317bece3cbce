// A workgroup ranks the experts of one row and weighs the best of them; of equals the lower number is better.
struct Params { x: u32, x_stride: u32, out: u32, out_stride: u32, count: u32, used: u32, bias: u32, factors: u32, scale: f32, floor: f32, normalised: u32 }

const LANES = 64u;
var<workgroup> scores: array<f32, COUNT>;
var<workgroup> ranks: array<f32, COUNT>;
var<workgroup> best: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let x = p.x + group.y * p.x_stride;
    let out = p.out + group.y * p.out_stride;
    for (var i = lane; i < COUNT; i += LANES) { scores[i] = a[x + i]; }
    workgroupBarrier();
    var highest = LOWEST;
    var sum = 0.0;
    if (SOFTMAX) {
        for (var i = 0u; i < COUNT; i++) { highest = max(highest, scores[i]); }
        for (var i = 0u; i < COUNT; i++) { sum += exp(scores[i] - highest); }
    }
    workgroupBarrier();
    for (var i = lane; i < COUNT; i += LANES) {
        let score = select(sigmoid(scores[i]), exp(scores[i] - highest) / sum, SOFTMAX);
        var rank = score;
        if (p.bias != NONE) { rank += vectors[p.bias + i]; }
        scores[i] = score;
        ranks[i] = rank;
    }
    workgroupBarrier();
    var chosen = 0.0;
    for (var slot = 0u; slot < p.used; slot++) {
        var own = NONE;
        for (var i = lane; i < COUNT; i += LANES) {
            if (ranks[i] > LOWEST && (own == NONE || ranks[i] > ranks[min(own, COUNT - 1u)])) { own = i; }
        }
        best[lane] = own;
        workgroupBarrier();
        if (lane == 0u) {
            for (var i = 1u; i < LANES; i++) {
                let other = best[i];
                if (other != NONE && (own == NONE || ranks[other] > ranks[own] || (ranks[other] == ranks[own] && other < own))) { own = other; }
            }
            own = min(own, COUNT - 1u);
            ranks[own] = LOWEST;
            chosen += scores[own];
            a[out + slot] = f32(own);
            a[out + p.used + slot] = scores[own];
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        for (var slot = 0u; slot < p.used; slot++) {
            var weight = a[out + p.used + slot];
            if (p.normalised != 0u) { weight /= chosen + p.floor; }
            if (p.factors != NONE) { weight *= vectors[p.factors + min(u32(a[out + slot]), COUNT - 1u)]; }
            a[out + p.used + slot] = weight * p.scale;
        }
    }
}
