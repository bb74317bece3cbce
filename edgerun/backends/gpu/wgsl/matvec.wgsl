// y = W x + bias + residual for TOKENS rows: a workgroup has 16 rows of W, its other lanes share the columns; one sum in a fixed order.
// Of a stack of matrices, workgroup z has the one that slot z of the row chose.
var<workgroup> part: array<f32, LANES * TOKENS>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let r = lane % 16u;
    let token = group.y * TOKENS;
    let most = frame[p.many] - 1u;
    var base = group.x * p.blocks * SIZE;
    var bias = p.bias;
    var units = p.blocks * SUBS;   // 0 where the matrix is not in this piece of the stack: all lanes come to the barrier
    if (STACK) {
        let id = u32(a[p.choice + min(token, most) * p.choice_stride + group.z]);
        if (id < p.first || id >= p.first + p.count) { units = 0u; }
        base += (id - p.first) * p.size;
        if (bias != NONE) { bias += id * p.rows; }
    }
    //each t TOKENS
    let x_$t = (p.x + min(token + $tu, most) * p.x_stride + group.z * p.x_slot) / 4u;
    var sum_$t = 0.0;
    //end
    for (var unit = lane / 16u; unit < units; unit += SPLITS) {
        let at = base + unit / SUBS * SIZE;
        let s = unit % SUBS;
        //each t TOKENS
        var dots_$t = 0.0;
        var plain_$t = 0.0;
        //end
        //each g GROUPS
        {
            let c = quad(at, s, $gu, r);
            //each t TOKENS
            {
                let v = fours[x_$t + unit * GROUPS + $gu];
                dots_$t += dot(c, v);
                if (OFFSET) { plain_$t += dot(vec4<f32>(1.0), v); }
            }
            //end
        }
        //end
        let factor = scale(at, s, r);
        //each t TOKENS
        sum_$t += dots_$t * factor;
        if (OFFSET) { sum_$t += plain_$t * offset(at, s, r); }
        //end
    }
    //each t TOKENS
    part[$tu * LANES + lane] = sum_$t;
    //end
    workgroupBarrier();
    for (var i = lane; i < 16u * TOKENS; i += LANES) {
        let t = i / 16u;
        let row = group.x * 16u + i % 16u;
        var y = 0.0;
        //each k SPLITS
        y += part[t * LANES + 16u * $ku + i % 16u];
        //end
        if (units > 0u && row < p.rows && token + t <= most) {
            if (bias != NONE) { y += vectors[bias + row]; }
            if (p.residual != NONE) { y += a[p.residual + (token + t) * p.residual_stride + row]; }
            a[p.y + (token + t) * p.y_stride + group.z * p.y_slot + row] = y;
        }
    }
}
