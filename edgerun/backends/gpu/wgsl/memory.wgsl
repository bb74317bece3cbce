// A pair of columns of a key or of a value takes WORDS words: two halves, or two floats.
fn half_pair(x: vec2<f32>) -> u32 { return pack2x16float(clamp(x, vec2<f32>(-65504.0), vec2<f32>(65504.0))); }
