//! The cases: distributions, awkward shapes, forms and branches.

use super::{Plain, plain};
use crate::loss::{Config, FloorMode, Form};
use crate::reference::{self, Reference};
use rand_distr::{Distribution as _, StandardNormal};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

/// How the rows of a case lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Normal elements: rows all over the sphere.
    Random,
    /// Samples around their own proxy: a trained model.
    Clustered,
    /// Samples almost on their own proxy, proxies at right angles or nearly so: a model trained to the end.
    Converged,
    /// All rows around one direction: cosines near 0.99 with a variance near 1e-6.
    NearlyParallel,
    /// All rows around one direction, two of one side at a cosine of about one minus this. The budget is absolute here:
    /// what forms similarities in `f32` is no measure.
    Parallel(f64),
    /// One and the same row everywhere: the gradient is zero.
    Equal,
    /// Row lengths from 1e-9 to 1e15.
    Lengths,
    /// Some rows of both sides zero.
    ZeroRows,
    /// Samples on the side opposite to their proxy: below every floor.
    Opposed,
}

/// One case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What a failure is reported under.
    pub name: String,
    /// `B`.
    pub batch: usize,
    /// `C`; the number of labels to draw from where there are no proxies.
    pub classes: usize,
    /// `D`.
    pub dim: usize,
    /// How the rows lie.
    pub distribution: Distribution,
    /// The settings.
    pub config: Config,
    /// `[B, D]`.
    pub embeddings: Vec<f32>,
    /// `[C, D]`.
    pub proxies: Vec<f32>,
    /// `[B]`.
    pub labels: Vec<i64>,
}

impl Case {
    /// Draws a case; the same arguments give the same case everywhere.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "rounding; small counts")]
    pub fn new(shape: (usize, usize, usize), distribution: Distribution, config: Config) -> Self {
        let (batch, classes, dim) = shape;
        let mut random = Pcg64Mcg::seed_from_u64(0x9d_105e + (batch * 31 + classes * 7 + dim) as u64);
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let labels: Vec<i64> = (0..batch).map(|i| (i * (i + 3) / 2 % classes) as i64).collect();
        let common: Vec<f64> = (0..dim).map(|_| normal()).collect();
        let mut proxies: Vec<f64> = (0..classes * dim).map(|_| normal()).collect();
        let mut embeddings: Vec<f64> = (0..batch * dim).map(|_| normal()).collect();
        let own = |i: usize, d: usize| labels[i].unsigned_abs() as usize * dim + d;
        match distribution {
            Distribution::Random | Distribution::Lengths | Distribution::ZeroRows => {}
            Distribution::Clustered | Distribution::Converged | Distribution::Opposed => {
                let (near, noise) = match distribution {
                    Distribution::Clustered => (1.0, 0.5),
                    Distribution::Converged => (1.0, 0.02),
                    _ => (-1.0, 0.5),
                };
                for (at, value) in embeddings.iter_mut().enumerate() {
                    *value = near * proxies[own(at / dim, at % dim)] + noise * *value;
                }
            }
            Distribution::Equal => {
                for (at, value) in proxies.iter_mut().chain(&mut embeddings).enumerate() {
                    *value = common[at % dim];
                }
            }
            Distribution::Parallel(distance) => {
                // Noise of length r across a unit direction: 1 - cos = r^2.
                let length = common.iter().map(|value| value * value).sum::<f64>().sqrt();
                let noise = (distance / dim as f64).sqrt();
                let around = |value: f64, d: usize| common[d] / length + noise * value;
                proxies.iter_mut().enumerate().for_each(|(at, value)| *value = around(*value, at % dim));
                for (at, value) in embeddings.iter_mut().enumerate() {
                    let own = proxies[own(at / dim, at % dim)] - common[at % dim] / length;
                    *value = around(*value, at % dim) + 0.5 * own;
                }
            }
            Distribution::NearlyParallel => {
                // Cosine of two such rows: 1 / (1 + 0.1^2), spread by the noise's own inner products.
                let around = |value: f64, d: usize| common[d] + 0.1 * value;
                proxies.iter_mut().enumerate().for_each(|(at, value)| *value = around(*value, at % dim));
                for (at, value) in embeddings.iter_mut().enumerate() {
                    let own = proxies[own(at / dim, at % dim)];
                    *value = 0.8 * around(*value, at % dim) + 0.2 * own;
                }
            }
        }
        for (rows, step) in [(&mut embeddings, 3), (&mut proxies, 4)] {
            for (at, row) in rows.chunks_mut(dim).enumerate() {
                if distribution == Distribution::Lengths {
                    let scale = [1e-9, 1.0, 1e15, 1e4, 1e-4][at % 5];
                    row.iter_mut().for_each(|value| *value *= scale);
                }
                if distribution == Distribution::ZeroRows && at % step == 1 {
                    row.fill(0.0);
                }
            }
        }
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        Self {
            name: format!(
                "B={batch} C={classes} D={dim} {distribution:?} {} {} floor {} t {}",
                config.form(),
                config.floor_mode(),
                config.floor(),
                config.temperature()
            ),
            batch,
            classes,
            dim,
            distribution,
            config,
            embeddings: narrow(embeddings),
            proxies: narrow(proxies),
            labels,
        }
    }

    /// The labels as row numbers.
    #[must_use]
    pub fn rows(&self) -> Vec<usize> {
        self.labels.iter().map(|&label| usize::try_from(label).expect("labels of the cases are rows")).collect()
    }

    /// The embeddings, widened.
    #[must_use]
    pub fn embeddings_f64(&self) -> Vec<f64> {
        self.embeddings.iter().copied().map(f64::from).collect()
    }

    /// The proxies, widened.
    #[must_use]
    pub fn proxies_f64(&self) -> Vec<f64> {
        self.proxies.iter().copied().map(f64::from).collect()
    }

    /// The truth: PD-Loss.
    #[must_use]
    pub fn reference(&self) -> Reference {
        let (embeddings, proxies) = (self.embeddings_f64(), self.proxies_f64());
        self.known(reference::pd_loss(&self.config, self.dim, &embeddings, &proxies, &self.rows()))
    }

    /// The truth: D-Loss.
    #[must_use]
    pub fn d_loss_reference(&self) -> Reference {
        self.known(reference::d_loss(&self.config, self.dim, &self.embeddings_f64(), &self.rows()))
    }

    /// With the gradients that are known without computing: what the oracle leaves of a zero is rounding.
    fn known(&self, mut truth: Reference) -> Reference {
        if self.distribution == Distribution::Equal {
            truth.embeddings.fill(0.0);
            truth.proxies.fill(0.0);
        }
        truth
    }

    /// How far `f64` results may lie from the oracle's: sums in another order, a few hundred roundings.
    #[must_use]
    pub fn f64_slack(&self) -> f64 {
        match self.distribution {
            // The oracle forms similarities, and they differ in their last ten digits only.
            Distribution::Parallel(distance) if distance < 1e-4 => 1e-8,
            _ => 1e-9,
        }
    }

    /// The budget: PD-Loss. Of nearly parallel rows the plain version keeps few digits; there it is the truth, which
    /// leaves the slack alone.
    #[must_use]
    pub fn plain(&self) -> Plain {
        if matches!(self.distribution, Distribution::Parallel(_) | Distribution::Equal) {
            let Reference { loss, embeddings, proxies, .. } = self.reference();
            return Plain { loss, embeddings, proxies };
        }
        plain(&self.config, self.dim, &self.embeddings, Some(&self.proxies), &self.rows())
    }

    /// The budget: D-Loss.
    #[must_use]
    pub fn d_loss_plain(&self) -> Plain {
        if matches!(self.distribution, Distribution::Parallel(_) | Distribution::Equal) {
            let Reference { loss, embeddings, proxies, .. } = self.d_loss_reference();
            return Plain { loss, embeddings, proxies };
        }
        plain(&self.config, self.dim, &self.embeddings, None, &self.rows())
    }
}

/// Every form with every branch of its floor, and a temperature.
fn configs() -> Vec<Config> {
    let mut configs = Vec::new();
    for form in [Form::Log, Form::Negative, Form::Inverse] {
        let base = Config::default().with_form(form);
        let floors = [0.05, 20.0].into_iter().filter_map(|floor| base.with_floor(floor).ok());
        configs.extend(floors);
        let clamp = base.with_floor_mode(FloorMode::Clamp);
        configs.extend(clamp.with_temperature(0.5).ok());
        configs.extend(clamp.with_eps(1e3).ok());
    }
    configs
}

/// The cases of PD-Loss.
#[must_use]
pub fn cases() -> Vec<Case> {
    use Distribution::{Clustered, Converged, Equal, Lengths, NearlyParallel, Opposed, Parallel, Random, ZeroRows};
    let default = Config::default();
    let mut cases = Vec::new();
    for config in configs() {
        for distribution in [Random, Clustered, Opposed] {
            cases.push(Case::new((17, 23, 19), distribution, config));
        }
    }
    for distribution in [Random, Clustered, Converged, NearlyParallel, Lengths, ZeroRows, Opposed] {
        for shape in [(32, 100, 64), (48, 300, 129), (200, 80, 33), (6, 700, 127)] {
            cases.push(Case::new(shape, distribution, default));
        }
    }
    for shape in [(1, 2, 8), (1, 9, 5), (2, 2, 1), (5, 2, 128), (7, 3, 2), (64, 5, 16), (3, 1100, 40)] {
        cases.push(Case::new(shape, Random, default));
        cases.push(Case::new(shape, Clustered, default));
    }
    // Around the class counts and sizes at which the paths change, and nearer and nearer to parallel.
    for shape in [(128, 100, 192), (64, 64, 128), (64, 65, 128), (128, 128, 128), (150, 140, 33), (16, 300, 64)] {
        for distance in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
            cases.push(Case::new(shape, Parallel(distance), default));
        }
    }
    // Two classes, and a single impostor pair, which has no variance.
    for distribution in [Random, Clustered, Parallel(1e-3)] {
        for shape in [(1, 2, 5), (1, 2, 6), (1, 2, 7), (3, 2, 5), (64, 2, 16)] {
            cases.push(Case::new(shape, distribution, default));
        }
    }
    for shape in [(4, 5, 3), (16, 100, 64), (40, 700, 128), (150, 140, 33)] {
        cases.push(Case::new(shape, Equal, default));
    }
    for distribution in [Random, NearlyParallel] {
        let mut case = Case::new((24, 31, 48), distribution, default);
        case.labels.fill(30);
        case.name += ", all one label";
        cases.push(case);
    }
    cases
}

/// The cases of D-Loss. [`Case::proxies`] only shape the clusters.
#[must_use]
pub fn d_loss_cases() -> Vec<Case> {
    use Distribution::{Clustered, Converged, Equal, Lengths, NearlyParallel, Parallel, Random, ZeroRows};
    let default = Config::default().with_form(Form::Inverse);
    let mut cases = Vec::new();
    for config in configs() {
        for distribution in [Random, Clustered] {
            cases.push(Case::new((23, 6, 19), distribution, config));
        }
    }
    for distribution in [Random, Clustered, Converged, NearlyParallel, Lengths, ZeroRows] {
        for shape in [(40, 7, 64), (130, 10, 33), (60, 3, 129), (600, 2, 16)] {
            cases.push(Case::new(shape, distribution, default));
        }
    }
    for shape in [(9, 2, 1), (6, 3, 128), (5, 4, 2)] {
        cases.push(Case::new(shape, Random, default));
    }
    for distribution in [Parallel(1e-2), Parallel(1e-4), Parallel(1e-6), Equal] {
        cases.push(Case::new((40, 7, 64), distribution, default));
    }
    cases
}
