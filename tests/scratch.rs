use ndarray::*;
use pdloss::loss::*;
fn lcg(seed: &mut u64) -> f64 {
    let mut s = 0.0;
    for _ in 0..4 {
        *seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        s += ((*seed >> 33) as f64) / ((1u64 << 31) as f64) - 0.5;
    }
    s
}
#[test]
fn quick() {
    for &(b, c, d) in &[
        (5usize, 7usize, 3usize),
        (1, 2, 1),
        (33, 70, 127),
        (200, 3000, 16),
        (9, 1500, 64),
    ] {
        for &near in &[0.0, 8.0] {
            let mut s = 1;
            let mk = |n: usize, s: &mut u64| {
                Array2::from_shape_fn((n, d), |(_, j)| {
                    lcg(s) + if j % 2 == 0 { near } else { 0.0 }
                })
            };
            let (x, p) = (mk(b, &mut s), mk(c, &mut s));
            let y: Vec<usize> = (0..b).map(|i| (i * 7) % c).collect();
            for path in [Path::Gram, Path::Tiles] {
                for form in [Form::Log, Form::Negative, Form::Inverse] {
                    for mode in [FloorMode::Tangent, FloorMode::Clamp] {
                        let cfg = Config::default()
                            .with_path(path)
                            .with_form(form)
                            .with_floor_mode(mode);
                        let r = pdloss::reference::pd_loss(
                            &cfg,
                            d,
                            x.as_slice().unwrap(),
                            p.as_slice().unwrap(),
                            &y,
                        );
                        let rel = |a: &[f64], b: &[f64]| {
                            let n: f64 = a
                                .iter()
                                .zip(b)
                                .map(|(a, b)| (a - b) * (a - b))
                                .sum::<f64>()
                                .sqrt();
                            n / b.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-300)
                        };
                        let f = forward(&cfg, x.view(), p.view(), &y, &Threads).unwrap();
                        let g = backward(&f.saved, 1.0, x.view(), p.view(), &y, &Threads).unwrap();
                        let (l2, _, g2) =
                            forward_backward(&cfg, x.view(), p.view(), &y, &Serial).unwrap();
                        let x32 = x.mapv(|v| v as f32);
                        let p32 = p.mapv(|v| v as f32);
                        let (l3, _, g3) =
                            forward_backward(&cfg, x32.view(), p32.view(), &y, &Serial).unwrap();
                        let g3x = g3.embeddings.mapv(f64::from);
                        let g3p = g3.proxies.mapv(f64::from);
                        println!(
                            "{b},{c},{d} near {near} {path} {form} {mode}: loss {:.3e} {:.3e} f32 {:.3e}; x {:.1e} {:.1e} f32 {:.1e}; p {:.1e} {:.1e} f32 {:.1e} | {:.4}",
                            f.loss - r.loss,
                            l2 - r.loss,
                            l3 - r.loss,
                            rel(g.embeddings.as_slice().unwrap(), &r.embeddings),
                            rel(g2.embeddings.as_slice().unwrap(), &r.embeddings),
                            rel(g3x.as_slice().unwrap(), &r.embeddings),
                            rel(g.proxies.as_slice().unwrap(), &r.proxies),
                            rel(g2.proxies.as_slice().unwrap(), &r.proxies),
                            rel(g3p.as_slice().unwrap(), &r.proxies),
                            r.loss
                        );
                    }
                }
            }
        }
    }
}
