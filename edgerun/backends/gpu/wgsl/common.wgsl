// What every kernel is bound to. Rows of a buffer lie `stride` numbers apart in `a`; offsets and strides are counted in 4-byte words.
@group(0) @binding(0) var<storage, read_write> a: array<f32>;        // activations: all buffers of the program
@group(0) @binding(1) var<storage, read> vectors: array<f32>;        // weights of norms, biases, sinks
@group(0) @binding(2) var<storage, read> frame: array<u32>;          // the batch: see frame.py
@group(0) @binding(3) var<uniform> p: Params;
@group(0) @binding(4) var<storage, read> w: array<u32>;              // a matrix, packed
@group(0) @binding(5) var<storage, read_write> keys: array<u32>;     // [page][head][pair of columns][position]
@group(0) @binding(6) var<storage, read_write> values: array<u32>;   // [page][head][position][pair of columns]
@group(0) @binding(7) var<storage, read_write> fours: array<vec4<f32>>;   // activations that a product reads: see Layout.apart

const NONE = 0xffffffffu;      // an offset that stands for nothing
const LOWEST = -3.4e38;        // instead of -infinity, which a driver may assume away
const PAGE = 64u;
