        // PRODUCTS over activations as int8, which quantize.wgsl made.
        //each g GROUPS
        let codes_$g = codes(at, s, $gu, r);
        //end
        let factor = scale(at, s, r);
        //each t TOKENS
        {
            var total = 0.0;
            var plain = 0.0;
            //each k BLOCKS
            {
                let v = q[x_$t + 2u * (unit * BLOCKS + $ku)];
                let about = bitcast<vec4<f32>>(q[x_$t + 2u * (unit * BLOCKS + $ku) + 1u]);
                var dots = 0;
                //each j 4
                dots += dot4I8Packed(codes_{4 * $k + $j}, v[$j]);
                //end
                total += f32(dots) * about.x;
                if (OFFSET) { plain += about.y; }
            }
            //end
            sum_$t += total * factor;
            if (OFFSET) { sum_$t += plain * offset(at, s, r); }
        }
        //end
