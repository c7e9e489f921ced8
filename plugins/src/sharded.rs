//! `PDLossOverRanks`: PD-Loss with a part of the classes on each rank.
//!
//! What travels is the moments of each rank's proxies (`D x D` numbers) and the proxies of the batch's own labels (`B x D`), whatever
//! the number of classes. Embeddings and labels are those of the whole batch on every rank. From the merged moments each rank has
//! the loss, the gradient of the embeddings, and that of its own proxies.

use ndarray::{Array2, Axis};
use pdloss::loss::{Batch, Config, RowMoments, Statistics, genuine_summary};
use pdloss_ranks::{World, world};

use crate::{
    collective::{compare, pass_on, token},
    cpu::{self, Element, Inputs, Label},
    error::{Error, Result},
    forward::inputs,
    ort_api::Run,
    schema::{MOMENTS, Signature},
};

/// Loss, moments and both gradients.
pub(crate) fn run<T: Element, L: Label>(signature: &Signature, config: &Config, run: &Run<'_>) -> Result<()> {
    let (world, token) = (world(), token(run)?);
    let Inputs { embeddings, proxies, labels } = inputs::<T, L>(signature, run)?;
    let proxies = proxies.ok_or_else(|| Error::tensor("proxies", "a tensor", "none"))?;
    let (batch, dim) = embeddings.dim();
    let lengths = [token.cast_unsigned(), batch as u64, dim as u64];
    let counts = compare(world, "PDLossOverRanks", proxies.nrows() as u64, &lengths)?;
    let counts: Vec<usize> = counts.iter().map(|&count| usize::try_from(count).unwrap_or(0)).collect();
    let (first, classes): (usize, usize) = (counts[..world.rank()].iter().sum(), counts.iter().sum());
    if batch == 0 || classes < 2 {
        let got = format!("{batch} rows and {classes} classes");
        return Err(Error::Loss(format!("wanted at least one row and two classes on all ranks together, got {got}")));
    }
    // The same on every rank, so that none waits for one that has refused.
    let of_row: Vec<usize> = labels
        .iter()
        .enumerate()
        .map(|(row, label)| {
            let wrong = || Error::Loss(format!("label {label} of row {row}: wanted 0 to {}", classes - 1));
            label.index(classes).ok_or_else(wrong)
        })
        .collect::<Result<_>>()?;

    let threads = cpu::threads(run);
    let own_rows: Vec<usize> =
        (0..batch).filter(|&row| (first..first + proxies.nrows()).contains(&of_row[row])).collect();
    let mut own = Array2::from_elem((batch, dim), T::default());
    for &row in &own_rows {
        own.row_mut(row).assign(&proxies.row(of_row[row] - first));
    }
    world.sum(own.as_slice_mut().unwrap_or_default());
    let moments = match proxies.nrows() {
        0 => RowMoments::none(dim),
        _ => RowMoments::of(proxies, &threads),
    };
    let statistics = Statistics {
        embeddings: RowMoments::of(embeddings, &threads),
        proxies: over_ranks(world, &moments),
        genuine: genuine_summary(embeddings, own.view()).map_err(Error::loss)?,
    };
    let (loss, moments) = statistics.loss(config);
    if let Some([output]) = run.output::<T>(1, &[])? {
        output.write(T::from_f64(loss));
    }
    if let Some(output) = run.output::<f64>(2, &[MOMENTS])? {
        // A bad label is an error here.
        for (output, value) in output.iter_mut().zip(moments.to_array().into_iter().chain([0.0])) {
            output.write(value);
        }
    }
    let gradient = statistics.embedding_gradient(config, 1.0, embeddings, own.view(), &threads).map_err(Error::loss)?;
    write(run, 3, &gradient)?;
    let samples = embeddings.select(Axis(0), &own_rows);
    let classes: Vec<i64> = own_rows.iter().map(|&row| (of_row[row] - first) as i64).collect();
    let gradient = match proxies.nrows() {
        0 => Array2::from_elem((0, dim), T::default()),
        _ => {
            let batch = Batch { embeddings: samples.view(), proxies, labels: &classes };
            statistics.proxy_gradient(config, 1.0, &batch, &threads).map_err(Error::loss)?
        }
    };
    write(run, 4, &gradient)?;
    pass_on(run, token)
}

/// Of the proxies of all ranks: every rank gets the same bits.
fn over_ranks(world: &World, own: &RowMoments) -> RowMoments {
    let mut sums: Vec<f64> = own.mean.iter().map(|mean| mean * own.count).chain([own.count]).collect();
    world.sum(&mut sums);
    let count = sums.pop().unwrap_or_default();
    let mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
    let mut scatter = own.scatter_about(&mean);
    world.sum(scatter.as_slice_mut().unwrap_or_default());
    RowMoments { count, mean, scatter }
}

fn write<T: Element>(run: &Run<'_>, index: usize, gradient: &Array2<T>) -> Result<()> {
    if let Some(output) = run.output::<T>(index, gradient.shape())? {
        for (output, &value) in output.iter_mut().zip(gradient) {
            output.write(value);
        }
    }
    Ok(())
}
