//! Where the batch lies in a value: which axis, and below how much of it.

/// The place of the batch in a shape: `shape[axis] = outer * batch * inner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) axis: usize,
    /// How many elements of the axis lie within one image.
    pub(super) inner: usize,
}

impl Place {
    /// The place in a shape of a batch of `batch` images, by the one axis whose length grows with the batch: `wide` is the
    /// same shape of `factor` as many images. The batch is taken for what varies slowest along its axis.
    pub(super) fn of(shape: &[usize], wide: &[usize], batch: usize, factor: usize) -> Option<Self> {
        if shape.len() != wide.len() {
            return None;
        }
        let mut differing = (0..shape.len()).filter(|&axis| shape[axis] != wide[axis]);
        let (axis, None) = (differing.next()?, differing.next()) else { return None };
        let grows = shape[axis].checked_mul(factor) == Some(wide[axis]) && shape[axis].is_multiple_of(batch);
        grows.then(|| Self { axis, inner: shape[axis] / batch })
    }

    /// Its place once the elements of `from`, in their order, have the shape `to`.
    ///
    /// Lengths of one and a batch of one leave several places open. What people write is preferred: an axis of the batch alone,
    /// the one of the same number first; then the top of an axis that is not the last, as in `[tokens, batch * heads, width]`;
    /// then the bottom of one, as in `[tokens * batch, width]`.
    pub(super) fn after(self, from: &[usize], to: &[usize], batch: usize) -> Option<Self> {
        let below = |shape: &[usize], axis: usize| shape[axis + 1..].iter().product::<usize>();
        let stride = self.inner * below(from, self.axis);
        let place = |axis: usize| {
            let below = below(to, axis);
            let inner = (below > 0 && stride.is_multiple_of(below)).then(|| stride / below)?;
            (inner > 0 && to[axis] > 0 && to[axis].is_multiple_of(inner * batch)).then_some(Self { axis, inner })
        };
        let rank = |place: &Self| {
            let is_alone = place.inner == 1 && to[place.axis] == batch;
            let is_last = place.axis + 1 == to.len() && to.len() > 1;
            let is_top = place.inner * batch == to[place.axis];
            match (is_alone, is_last) {
                (true, _) if place.axis == self.axis => 0,
                (true, _) => 1,
                (_, true) => 5,
                _ if is_top => 2,
                _ if place.inner == 1 => 3,
                _ => 4,
            }
        };
        (0..to.len()).filter_map(place).min_by_key(|place| (rank(place), place.axis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batch_is_found_behind_a_reshape() {
        let of = |from: &[usize], place: (usize, usize), to: &[usize], batch: usize| {
            let (axis, inner) = place;
            Place { axis, inner }.after(from, to, batch).map(|place| (place.axis, place.inner))
        };
        // Images first: attention's heads split off and put together again.
        assert_eq!(of(&[1, 197, 192], (0, 1), &[1, 197, 3, 64], 1), Some((0, 1)));
        assert_eq!(of(&[1, 3, 197, 64], (0, 1), &[3, 197, 64], 1), Some((0, 3)));
        assert_eq!(of(&[3, 197, 64], (0, 3), &[1, 3, 197, 64], 1), Some((0, 1)));
        assert_eq!(of(&[4, 3, 197, 64], (0, 1), &[12, 197, 64], 4), Some((0, 3)));
        // Tokens first, as torch.nn.MultiheadAttention has them.
        assert_eq!(of(&[197, 1, 192], (1, 1), &[197, 3, 64], 1), Some((1, 3)));
        assert_eq!(of(&[197, 3, 64], (1, 3), &[197, 192], 1), Some((0, 1)));
        assert_eq!(of(&[197, 192], (0, 1), &[197, 1, 192], 1), Some((1, 1)));
        assert_eq!(of(&[197, 2, 192], (1, 1), &[394, 192], 2), Some((0, 1)));
        // Windows.
        assert_eq!(of(&[1, 2, 2, 7, 7, 96], (0, 1), &[4, 49, 96], 1), Some((0, 4)));
        assert_eq!(of(&[4, 3, 49, 49], (0, 4), &[1, 4, 3, 49, 49], 1), Some((0, 1)));
        assert_eq!(of(&[2, 8], (0, 1), &[16], 2), Some((0, 8)), "a vector has but one axis");
        assert_eq!(of(&[4, 6], (0, 1), &[6, 4], 4), None, "no axis holds four images");
    }

    #[test]
    fn the_axis_of_the_batch_is_the_one_that_grows() {
        assert_eq!(Place::of(&[2, 3], &[14, 3], 2, 7), Some(Place { axis: 0, inner: 1 }));
        assert_eq!(Place::of(&[5, 6], &[5, 42], 2, 7), Some(Place { axis: 1, inner: 3 }));
        assert_eq!(Place::of(&[2, 3], &[2, 3], 2, 7), None);
        assert_eq!(Place::of(&[2, 2], &[14, 14], 2, 7), None);
    }
}
