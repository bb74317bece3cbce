// Rows as int8, in q: for each 16 columns their codes, then the step between codes and the sum of what the codes stand for.
fn packed(v: vec4<f32>) -> u32 { return pack4xI8(vec4<i32>(round(clamp(v, vec4<f32>(-127.0), vec4<f32>(127.0))))); }

// The 16 numbers from a[x] on, to q[out].
fn quantize(x: u32, out: u32) {
    //each g 4
    let v_$g = vec4<f32>(a[x + {4 * $g + 0}u], a[x + {4 * $g + 1}u], a[x + {4 * $g + 2}u], a[x + {4 * $g + 3}u]);
    //end
    let highest = max(max(abs(v_0), abs(v_1)), max(abs(v_2), abs(v_3)));
    let largest = max(max(highest.x, highest.y), max(highest.z, highest.w));
    let inverse = select(0.0, 127.0 / largest, largest > 1e-30);
    let codes = vec4<u32>(packed(v_0 * inverse), packed(v_1 * inverse), packed(v_2 * inverse), packed(v_3 * inverse));
    let step = largest / 127.0;
    var sum = 0;
    //each g 4
    sum += dot4I8Packed(codes[$g], 0x01010101u);
    //end
    q[out] = codes;
    q[out + 1u] = bitcast<vec4<u32>>(vec4<f32>(step, f32(sum) * step, 0.0, 0.0));
}
