//! The optimisers' rules, number by number, in the order of operations that `pdloss::graph::step` has in standard operators.

use super::{
    factors::Factors,
    rule::{Optimizer, Rule},
};
use crate::cpu::Float;

impl Rule {
    /// Moves a block of a weight, and what is kept of it, on.
    pub(super) fn step<T: Float>(&self, factors: &Factors<T>, weight: &mut [T], gradient: &[T], kept: &mut [&mut [T]]) {
        match (self.optimizer, kept) {
            (Optimizer::Sgd { momentum, nesterov }, kept) => {
                let momentum = T::of(momentum);
                let memory = kept.first_mut().map(|memory| &mut **memory);
                match factors.decay {
                    Some(decay) => {
                        descend(factors, (momentum, nesterov), weight, gradient, memory, |g, w| g + w * decay)
                    }
                    None => descend(factors, (momentum, nesterov), weight, gradient, memory, |g, _| g),
                }
            }
            (Optimizer::AdamW { beta1, beta2, .. }, [m, v]) => {
                let ([kept1, new1], [kept2, new2]) = (shares::<T>(beta1), shares::<T>(beta2));
                let Factors { clip, size, epsilon, keep, .. } = *factors;
                for (((w, &g), m), v) in weight.iter_mut().zip(gradient).zip(&mut **m).zip(&mut **v) {
                    let g = g * clip;
                    *m = *m * kept1 + g * new1;
                    *v = *v * kept2 + g * g * new2;
                    *w = *w * keep - *m / (v.sqrt() + epsilon) * size;
                }
            }
            (Optimizer::Lion { beta1, beta2 }, [m]) => {
                let ([kept1, new1], [kept2, new2]) = (shares::<T>(beta1), shares::<T>(beta2));
                let Factors { clip, size, keep, .. } = *factors;
                for ((w, &g), m) in weight.iter_mut().zip(gradient).zip(&mut **m) {
                    let g = g * clip;
                    let direction = sign(*m * kept1 + g * new1);
                    *m = *m * kept2 + g * new2;
                    *w = *w * keep - direction * size;
                }
            }
            _ => unreachable!("there are as many as the rule has tensors"),
        }
    }
}

/// SGD; `decayed` adds the weight's decay to a gradient.
fn descend<T: Float>(
    factors: &Factors<T>,
    (momentum, nesterov): (T, bool),
    weight: &mut [T],
    gradient: &[T],
    memory: Option<&mut [T]>,
    decayed: impl Fn(T, T) -> T,
) {
    let Factors { clip, size, .. } = *factors;
    let pairs = weight.iter_mut().zip(gradient);
    let Some(memory) = memory else {
        return pairs.for_each(|(w, &g)| *w = *w - decayed(g * clip, *w) * size);
    };
    for ((w, &g), b) in pairs.zip(memory) {
        let direction = decayed(g * clip, *w);
        *b = *b * momentum + direction;
        let direction = if nesterov { direction + *b * momentum } else { *b };
        *w -= direction * size;
    }
}

/// What stays of a moving average, and what is new.
fn shares<T: Float>(beta: f64) -> [T; 2] {
    [T::of(beta), T::of(1.0 - beta)]
}

/// -1, 0 or 1; what is no number stays so.
fn sign<T: Float>(value: T) -> T {
    if value > T::zero() {
        T::one()
    } else if value < T::zero() {
        -T::one()
    } else if value.is_nan() {
        value
    } else {
        T::zero()
    }
}
