// A workgroup has one head of one row: a page at a time, a lane scores one position of it and sums some pairs of columns.
// With SPLITS above 1, workgroup z has each SPLITS-th page, and leaves its part for combine.wgsl.
struct Params { q: u32, q_stride: u32, out: u32, out_stride: u32, heads: u32, sharing: u32, window: u32, chunk: u32, sinks: u32, scale: f32, softcap: f32, parts: u32 }

const LANES = 64u;                                   // one for each position of a page
const SHARE = (VALUE_PAIRS + LANES - 1u) / LANES;    // pairs of a lane
var<workgroup> query: array<vec2<f32>, KEY_PAIRS>;
var<workgroup> scores: array<f32, LANES>;
var<workgroup> tops: array<f32, 8>;
var<workgroup> parts: array<f32, LANES>;

fn key(at: u32) -> vec2<f32> {
    if (HALF) { return unpack2x16float(keys[at]); }
    return vec2<f32>(bitcast<f32>(keys[2u * at]), bitcast<f32>(keys[2u * at + 1u]));
}
fn value(at: u32) -> vec2<f32> {
    if (HALF) { return unpack2x16float(values[at]); }
    return vec2<f32>(bitcast<f32>(values[2u * at]), bitcast<f32>(values[2u * at + 1u]));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let row = group.y;
    let x = p.q + row * p.q_stride + head * KEY_WIDTH;
    for (var i = lane; i < KEY_PAIRS; i += LANES) {
        query[i] = p.scale * vec2<f32>(a[x + 2u * i], select(0.0, a[min(x + 2u * i + 1u, x + KEY_WIDTH - 1u)], 2u * i + 1u < KEY_WIDTH));
    }
    workgroupBarrier();
    let last = frame[POSITIONS + row];
    var first = 0u;
    if (p.window != NONE && last + 1u > p.window) { first = last + 1u - p.window; }
    if (p.chunk != NONE) { first = max(first, last - last % p.chunk); }
    var highest = LOWEST;
    var total = 0.0;
    if (p.sinks != NONE && group.z == 0u) { highest = vectors[p.sinks + head]; total = 1.0; }
    var sums: array<vec2<f32>, SHARE>;
    for (var page = first / PAGE + group.z; page <= last / PAGE; page += SPLITS) {
        let own = frame[frame[STARTS + row] + page] * p.heads + head / p.sharing;
        let position = page * PAGE + lane;
        let seen = position >= first && position <= last;
        var score = LOWEST;
        if (seen) {
            let at = own * KEY_PAIRS * PAGE + lane;
            score = 0.0;
            for (var i = 0u; i < KEY_PAIRS; i++) { score += dot(query[i], key(at + i * PAGE)); }
            if (p.softcap > 0.0) { score = p.softcap * tanh(clamp(score / p.softcap, -15.0, 15.0)); }
        }
        scores[lane] = score;
        workgroupBarrier();
        if (lane < 8u) {
            var top = LOWEST;
            for (var i = 0u; i < 8u; i++) { top = max(top, scores[8u * lane + i]); }
            tops[lane] = top;
        }
        workgroupBarrier();
        var best = highest;
        for (var i = 0u; i < 8u; i++) { best = max(best, tops[i]); }
        parts[lane] = select(0.0, exp(score - best), seen);
        workgroupBarrier();
        let fading = exp(max(highest - best, -100.0));
        highest = best;
        total *= fading;
        for (var j = 0u; j < SHARE; j++) { sums[j] *= fading; }
        let count = min(PAGE, last + 1u - page * PAGE);
        for (var i = 0u; i < count; i++) {
            let part = parts[i];
            total += part;
            for (var j = 0u; j < SHARE; j++) {
                let pair = lane + j * LANES;
                if (pair < VALUE_PAIRS) { sums[j] += part * value((own * PAGE + i) * VALUE_PAIRS + pair); }
            }
        }
    }
    if (SPLITS > 1u) {
        let part = p.parts + ((row * p.heads * p.sharing + head) * SPLITS + group.z) * (2u + 2u * VALUE_PAIRS);
        if (lane == 0u) { a[part] = highest; a[part + 1u] = total; }
        for (var j = 0u; j < SHARE; j++) {
            let pair = lane + j * LANES;
            if (pair < VALUE_PAIRS) { a[part + 2u + 2u * pair] = sums[j].x; a[part + 3u + 2u * pair] = sums[j].y; }
        }
        return;
    }
    let out = p.out + row * p.out_stride + head * VALUE_WIDTH;
    for (var j = 0u; j < SHARE; j++) {
        let column = 2u * (lane + j * LANES);
        let y = sums[j] / total;
        if (column < VALUE_WIDTH) { a[out + column] = y.x; }
        if (column + 1u < VALUE_WIDTH) { a[out + column + 1u] = y.y; }
    }
}
