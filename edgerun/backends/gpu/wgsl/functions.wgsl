fn sigmoid(x: f32) -> f32 { return exp(min(x, 0.0)) / (1.0 + exp(-abs(x))); }
fn bent(x: f32) -> f32 { return tanh(clamp(x, -15.0, 15.0)); }   // some drivers make NaN of large ones

fn silu(x: f32) -> f32 { return x * sigmoid(x); }
fn gelu(x: f32) -> f32 { return 0.5 * x * (1.0 + bent(0.7978845608 * (x + 0.044715 * x * x * x))); }
fn relu(x: f32) -> f32 { return max(x, 0.0); }
fn relu2(x: f32) -> f32 { return max(x, 0.0) * max(x, 0.0); }

// Abramowitz and Stegun 7.1.26: the error is below 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - sum * exp(-min(x * x, 80.0)));
}
fn gelu_erf(x: f32) -> f32 { return 0.5 * x * (1.0 + erf(x * 0.7071067812)); }
