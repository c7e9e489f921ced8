//! The parameters of the step's kernels: twins of the structs of the same names in `kernels/{update,activation,normalization,pool}.cu`.
#![allow(unsafe_code)]

use crate::cuda::params::{Address, Parameters, parameters};

parameters! {
    Update: 3656, ActivationGrad: 72, BatchNorm: 144, LayerNorm: 88, MaxPool: 88, SquareSums: 3088, GradientNorm: 24,
}
const _: () = assert!(size_of::<Updated>() == 112 && size_of::<Summed>() == 24);

/// Weights that a launch has at most: parameters end at 4 KiB.
pub(super) const UPDATED: usize = 32;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Updated {
    pub(super) weight: Address,
    pub(super) gradient: Address,
    pub(super) kept: [Address; 2],
    pub(super) average: Address,
    pub(super) next_weight: Address,
    pub(super) next_kept: [Address; 2],
    pub(super) next_average: Address,
    pub(super) count: u64,
    pub(super) rate: f64,
    pub(super) decay: f64,
    pub(super) stays: f64,
    pub(super) block: u64,
}

impl Updated {
    pub(super) const NONE: Self = Self {
        weight: Address::NULL,
        gradient: Address::NULL,
        kept: [Address::NULL; 2],
        average: Address::NULL,
        next_weight: Address::NULL,
        next_kept: [Address::NULL; 2],
        next_average: Address::NULL,
        count: 0,
        rate: 0.0,
        decay: 0.0,
        stays: 0.0,
        block: 0,
    };
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Update {
    pub(super) learning_rate: Address,
    pub(super) step: Address,
    pub(super) norm: Address,
    pub(super) betas: [f64; 2],
    pub(super) epsilon: f64,
    pub(super) clip: f64,
    pub(super) optimizer: u32,
    pub(super) nesterov: u32,
    pub(super) weights: u32,
    pub(super) skips: u32,
    pub(super) of: [Updated; UPDATED],
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct ActivationGrad {
    pub(super) grad: Address,
    pub(super) kept: Address,
    pub(super) second: Address,
    pub(super) out: Address,
    pub(super) count: u64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) factor: f64,
    pub(super) activation: u32,
    pub(super) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct BatchNorm {
    pub(super) x: Address,
    pub(super) grad: Address,
    pub(super) scale: Address,
    pub(super) bias: Address,
    pub(super) mean: Address,
    pub(super) variance: Address,
    pub(super) out: Address,
    pub(super) first: Address,
    pub(super) second: Address,
    pub(super) next_mean: Address,
    pub(super) next_variance: Address,
    pub(super) sums: Address,
    pub(super) epsilon: f64,
    pub(super) momentum: f64,
    pub(super) widened: f64,
    pub(super) batch: u32,
    pub(super) channels: u32,
    pub(super) length: u32,
    pub(super) slabs: u32,
    pub(super) slab: u32,
    pub(super) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct LayerNorm {
    pub(super) grad: Address,
    pub(super) x: Address,
    pub(super) scale: Address,
    pub(super) mean: Address,
    pub(super) deviation: Address,
    pub(super) out: Address,
    pub(super) scale_grad: Address,
    pub(super) bias_grad: Address,
    pub(super) sums: Address,
    pub(super) rows: u32,
    pub(super) width: u32,
    pub(super) slabs: u32,
    pub(super) slab: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct MaxPool {
    pub(super) grad: Address,
    pub(super) x: Address,
    pub(super) largest: Address,
    pub(super) out: Address,
    pub(super) planes: u64,
    pub(super) lengths: [u32; 2],
    pub(super) places: [u32; 2],
    pub(super) kernel: [u32; 2],
    pub(super) strides: [u32; 2],
    pub(super) dilations: [u32; 2],
    pub(super) begin: [u32; 2],
}

/// Tensors that a launch has at most.
pub(super) const SUMMED: usize = 128;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Summed {
    pub(super) values: Address,
    pub(super) count: u64,
    pub(super) block: u64,
}

impl Summed {
    pub(super) const NONE: Self = Self { values: Address::NULL, count: 0, block: 0 };
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct SquareSums {
    pub(super) out: Address,
    pub(super) tensors: u32,
    pub(super) unused: u32,
    pub(super) of: [Summed; SUMMED],
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct GradientNorm {
    pub(super) sums: Address,
    pub(super) out: Address,
    pub(super) count: u64,
}
