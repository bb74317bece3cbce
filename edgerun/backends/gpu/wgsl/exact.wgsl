        // PRODUCTS over activations as they are.
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
