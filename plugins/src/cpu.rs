//! The CPU backend. For now the specification's plain loops, form `log` with the tangent floor.
use crate::{error::{Error, Result}, forward::Inputs, kernel::Attributes, ort_api::{Plain, Run}, schema::Operator};

pub(crate) trait Element: Plain + Into<f64> + Default { fn from_f64(x: f64) -> Self; }
#[allow(clippy::cast_possible_truncation)]
impl Element for f32 { fn from_f64(x: f64) -> Self { x as f32 } }
impl Element for f64 { fn from_f64(x: f64) -> Self { x } }
pub(crate) trait Label: Plain + Into<i64> {}
impl Label for i32 {}
impl Label for i64 {}
#[derive(Debug)]
pub(crate) struct Settings { floor: f64 }
impl Settings {
    pub(crate) fn new(attributes: &Attributes<'_>, _: Operator) -> Result<Self> {
        let _ = attributes.text(c"form")?;
        Ok(Self { floor: attributes.number(c"floor")?.unwrap_or(1.0) })
    }
}
pub(crate) struct State<T> { pub(crate) loss: T, pub(crate) moments: [f64; 8], pub(crate) saved: Vec<f64> }
fn unit<T: Element>(x: &[T], d: usize) -> (Vec<f64>, Vec<f64>) {
    let mut z = Vec::new(); let mut n = Vec::new();
    for row in x.chunks(d) { let r: Vec<f64> = row.iter().map(|&v| v.into()).collect(); let k = r.iter().map(|v| v*v).sum::<f64>().sqrt().max(1e-12); z.extend(r.iter().map(|v| v/k)); n.push(k); }
    (z, n)
}
pub(crate) fn forward<T: Element, L: Label>(settings: &Settings, i: &Inputs<'_, T, L>, run: &Run<'_>) -> Result<State<T>> {
    run.parallel_for(4, &|_| {})?;
    for (row, &l) in i.labels.iter().enumerate() { let l: i64 = l.into(); if l < 0 || l >= i.classes as i64 { return Err(Error::Loss(format!("labels: row {row} has label {l}"))); } }
    let (z, _) = unit(i.embeddings, i.dim); let (q, _) = unit(i.proxies.unwrap_or_default(), i.dim);
    let (mut g, mut m) = (Vec::new(), Vec::new());
    for b in 0..i.batch { for c in 0..i.classes { let s: f64 = (0..i.dim).map(|k| z[b*i.dim+k]*q[c*i.dim+k]).sum(); let l: i64 = i.labels[b].into(); if l == c as i64 { g.push(s) } else { m.push(s) } } }
    let mean = |v: &[f64]| v.iter().sum::<f64>()/v.len() as f64; let (mg, mm) = (mean(&g), mean(&m));
    let var = |v: &[f64], mu: f64| v.iter().map(|x| (x-mu)*(x-mu)).sum::<f64>()/v.len() as f64;
    let (vg, vm) = (var(&g, mg), var(&m, mm)); let v = (vg+vm).max(1e-12); let gap = mg-mm; let d = gap/(v/2.0).sqrt();
    let loss = if d > settings.floor { -d.ln() } else { -settings.floor.ln() - (d-settings.floor)/settings.floor } + 0.5*2f64.ln();
    let slope = if d > settings.floor { -1.0/d } else { -1.0/settings.floor };
    let (lg, lv) = (-slope/(v/2.0).sqrt(), -slope*d/(2.0*v));
    Ok(State { loss: T::from_f64(loss), moments: [mg, mm, vg, vm, d, g.len() as f64, m.len() as f64, 0.0], saved: vec![lg, lv, mg, mm] })
}
pub(crate) fn backward<T: Element, L: Label>(_: &Settings, i: &Inputs<'_, T, L>, saved: &[f64], up: T, ge: &mut [T], gp: &mut [T], _: &Run<'_>) -> Result<()> {
    let &[lg, lv, mg, mm] = saved else { return Err(Error::tensor("saved", "4", saved.len().to_string())) };
    let up: f64 = up.into(); let (z, zn) = unit(i.embeddings, i.dim); let (q, qn) = unit(i.proxies.unwrap_or_default(), i.dim);
    let (mut dz, mut dq) = (vec![0.0; z.len()], vec![0.0; q.len()]); let (ng, nm) = (i.batch as f64, (i.batch*(i.classes-1)) as f64);
    for b in 0..i.batch { for c in 0..i.classes { let s: f64 = (0..i.dim).map(|k| z[b*i.dim+k]*q[c*i.dim+k]).sum(); let l: i64 = i.labels[b].into();
        let w = up * if l == c as i64 { (-lg + 2.0*lv*(s-mg))/ng } else { (lg + 2.0*lv*(s-mm))/nm };
        for k in 0..i.dim { dz[b*i.dim+k] += w*q[c*i.dim+k]; dq[c*i.dim+k] += w*z[b*i.dim+k]; } } }
    for (d, x, n, out) in [(&dz, &z, &zn, ge), (&dq, &q, &qn, gp)] { for (r, n) in n.iter().enumerate() { let s = r*i.dim; let dot: f64 = (0..i.dim).map(|k| d[s+k]*x[s+k]).sum(); for k in 0..i.dim { if !out.is_empty() { out[s+k] = T::from_f64((d[s+k]-x[s+k]*dot)/n); } } } }
    Ok(())
}
