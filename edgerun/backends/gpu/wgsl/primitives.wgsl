// What kernels are made of: row i of `a` becomes the i-th thing that primitives.py names, of the numbers in row 0 and the words in w.
struct Params { turns: u32 }

const LANES = 64u;
var<workgroup> shared_numbers: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    let x = a[lane];
    let word = w[lane];
    a[LANES + lane] = dot(vec4<f32>(unpack4xI8(word)), vec4<f32>(1.0, 256.0, 3.0, 5.0));
    let halves = unpack2x16float(word & 0xbfffbfffu);
    a[2u * LANES + lane] = halves.x + halves.y;
    a[3u * LANES + lane] = unpack2x16float(pack2x16float(vec2<f32>(0.0, x))).y;
    a[4u * LANES + lane] = f32(extractBits(bitcast<i32>(word), 16u, 8u));
    a[5u * LANES + lane] = exp(min(x, 0.0));
    a[6u * LANES + lane] = tanh(clamp(x, -15.0, 15.0));
    a[7u * LANES + lane] = sqrt(abs(x));
    shared_numbers[lane] = x;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < LANES; i++) { sum += shared_numbers[i]; }
    a[8u * LANES + lane] = sum;
    var turns = 0.0;
    for (var i = 0u; i < p.turns; i++) {
        var once = array<f32, 2>();
        once[i % 2u] += 1.0;
        turns += once[i % 2u];
    }
    a[9u * LANES + lane] = turns;
}
