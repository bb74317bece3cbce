// y = W x + bias + residual for many rows: a workgroup has a tile of TILE rows of W and TILE of x. DEPTH columns at a time become
// floats in the memory of the workgroup, and each lane keeps the sums of SIDE rows of W and SIDE of x.
const ACROSS = TILE / SIDE;
const LANES = ACROSS * ACROSS;
const DEPTH = 32u;
const QUADS = TILE * DEPTH / 4u;        // of 4 columns: [DEPTH / 4][TILE]
var<workgroup> tile_w: array<vec4<f32>, QUADS>;
var<workgroup> tile_x: array<vec4<f32>, QUADS>;

fn put(token: u32, row: u32, sum: f32) {
    if (token < frame[p.many] && row < p.rows) {
        var y = sum;
        if (p.bias != NONE) { y += vectors[p.bias + row]; }
        if (p.residual != NONE) { y += a[p.residual + token * p.residual_stride + row]; }
        a[p.y + token * p.y_stride + row] = y;
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row0 = group.x * TILE;
    let token0 = group.y * TILE;
    let tokens = frame[p.many];
    let cols = p.blocks * COLS;
    let down = lane % ACROSS;
    let along = lane / ACROSS;
    //each t SIDE
    var sums_$t = vec4<f32>(0.0);
    //end
    for (var column = 0u; column < cols; column += DEPTH) {
        for (var i = lane; i < QUADS; i += LANES) {
            let row = row0 + i % TILE;
            let token = token0 + i % TILE;
            let c = column + i / TILE * 4u;
            var four = vec4<f32>(0.0);
            if (row < p.rows && c < cols) {
                let at = (row / 16u * p.blocks + c / COLS) * SIZE;
                let s = c % COLS / SUB;
                four = quad(at, s, c % SUB / 4u, row % 16u) * scale(at, s, row % 16u);
                if (OFFSET) { four += offset(at, s, row % 16u); }
            }
            tile_w[i] = four;
            four = vec4<f32>(0.0);
            if (token < tokens && c < cols) {
                four = fours[(p.x + token * p.x_stride + c) / 4u];
            }
            tile_x[i] = four;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH / 4u; k++) {
            let w0 = tile_w[k * TILE + down];
            let w1 = tile_w[k * TILE + down + ACROSS];
            let w2 = tile_w[k * TILE + down + 2u * ACROSS];
            let w3 = tile_w[k * TILE + down + 3u * ACROSS];
            //each t SIDE
            {
                let v = tile_x[k * TILE + along + $tu * ACROSS];
                sums_$t += vec4<f32>(dot(w0, v), dot(w1, v), dot(w2, v), dot(w3, v));
            }
            //end
        }
        workgroupBarrier();
    }
    //each t SIDE
    //each i SIDE
    put(token0 + along + $tu * ACROSS, row0 + down + $iu * ACROSS, sums_$t[$i]);
    //end
    //end
}
