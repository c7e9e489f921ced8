//! `MaxPoolGrad`: where each window's largest element is, then what each element gets of them.

use super::{Step, params::MaxPool};
use crate::{
    convolution::Convolution,
    cuda::{
        params::Address,
        queue::{Grid, int},
    },
    error::Result,
};

pub(super) fn max_pool_grad(step: &Step<'_, '_>, of: &Convolution) -> Result<()> {
    let (grad, x) = (step.input("grad")?, step.input("x")?);
    let shape = of.pool(x.shape(), grad.shape())?;
    let out = step.output("x_grad", x.shape())?;
    let planes = shape.batch * shape.groups * shape.each_in;
    let (elements, places) = (planes * shape.area(), planes * shape.count());
    if out == Address::NULL || elements == 0 {
        return Ok(());
    }
    int(shape.area())?;
    let two = |lengths: [usize; 2]| -> Result<[u32; 2]> { Ok([int(lengths[0])?, int(lengths[1])?]) };
    let parameters = MaxPool {
        grad: step.address(&grad)?,
        x: step.address(&x)?,
        largest: step.queue.scratch(places, size_of::<u32>())?,
        out,
        planes: planes as u64,
        lengths: two(shape.lengths)?,
        places: two(shape.places)?,
        kernel: two(shape.window.kernel)?,
        strides: two(shape.window.strides)?,
        dilations: two(shape.window.dilations)?,
        begin: two(shape.window.begin)?,
    };
    if places > 0 {
        step.queue.launch_typed("max_pool", Grid::Elements(places), &parameters)?;
    }
    step.queue.launch_typed("max_pool_grad", Grid::Elements(elements), &parameters)
}
