// Write a pair of columns of a key or of a value into the page of the row's position.
struct Params { k: u32, k_stride: u32, v: u32, v_stride: u32, heads: u32 }

fn pair_at(x: u32, i: u32, width: u32) -> vec2<f32> {
    return vec2<f32>(a[x + 2u * i], select(0.0, a[min(x + 2u * i + 1u, x + width - 1u)], 2u * i + 1u < width));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let each = KEY_PAIRS + VALUE_PAIRS;
    if (id.x >= p.heads * each) { return; }
    let head = id.x / each;
    let pair = id.x % each;
    let position = frame[POSITIONS + id.y];
    let own = frame[frame[STARTS + id.y] + position / PAGE] * p.heads + head;
    let slot = position % PAGE;
    if (pair < KEY_PAIRS) {
        let x = pair_at(p.k + id.y * p.k_stride + head * KEY_WIDTH, pair, KEY_WIDTH);
        let at = (own * KEY_PAIRS + pair) * PAGE + slot;
        if (HALF) { keys[at] = half_pair(x); }
        else { keys[2u * at] = bitcast<u32>(x.x); keys[2u * at + 1u] = bitcast<u32>(x.y); }
    } else {
        let i = pair - KEY_PAIRS;
        let x = pair_at(p.v + id.y * p.v_stride + head * VALUE_WIDTH, i, VALUE_WIDTH);
        let at = (own * PAGE + slot) * VALUE_PAIRS + i;
        if (HALF) { values[at] = half_pair(x); }
        else { values[2u * at] = bitcast<u32>(x.x); values[2u * at + 1u] = bitcast<u32>(x.y); }
    }
}
