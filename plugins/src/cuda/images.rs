//! The compiled kernels, one image for each generation of devices; `kernels/build.py` makes them.

use std::ffi::CStr;

use crate::error::{Error, Result};

/// Every kernel of an image; those of `BY_ELEMENT` once for each element type.
pub(crate) const KERNELS: [&CStr; 12] = [
    c"sum_slabs",
    c"merge_labels",
    c"heads",
    c"add_scatter",
    c"split_scatter",
    c"scatter_products",
    c"scale_scatter",
    c"sum_tile",
    c"weigh_tile",
    c"conclude",
    c"weigh",
    c"judge",
];

/// Kernels that read rows of the operator's element type, as their names without `_f32`, `_f16` or `_bf16`.
pub(crate) const BY_ELEMENT: [&str; 27] = [
    "unit_rows",
    "centre",
    "along",
    "scatter_along",
    "cosines",
    "gather_links",
    "finish",
    "prepare",
    "sweep",
    "measure",
    "settle",
    "tensor_gram",
    "tensor_gradient",
    "tensor_gradient_wide",
    "update",
    "activation_grad",
    "batch_sums",
    "batch_norm",
    "batch_grad_sums",
    "batch_grad",
    "layer_grad",
    "layer_columns",
    "layer_scale",
    "max_pool",
    "max_pool_grad",
    "square_sums",
    "gradient_norm",
];

/// The image for a device of this compute capability.
///
/// Machine code is good for all minor versions of its major one; newer devices translate the PTX, once, on loading.
pub(crate) fn image(major: i32) -> Result<Vec<u8>> {
    let packed: &[u8] = match major {
        7 => include_bytes!("../../kernels/generated/sm_75.cubin.zz"),
        8 => include_bytes!("../../kernels/generated/sm_80.cubin.zz"),
        9 => include_bytes!("../../kernels/generated/sm_90.cubin.zz"),
        10.. => include_bytes!("../../kernels/generated/compute_80.ptx.zz"),
        _ => {
            let wanted = "a device of compute capability 7.5 or later (Turing)";
            return Err(Error::Device(format!("wanted {wanted}, got {major}.x")));
        }
    };
    miniz_oxide::inflate::decompress_to_vec_zlib(packed)
        .map_err(|error| Error::Device(format!("the library's kernel image is damaged: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(image: &[u8], name: &str) -> bool {
        image.windows(name.len()).any(|window| window == name.as_bytes())
    }

    #[test]
    fn every_image_has_every_kernel() {
        for major in [7, 8, 9, 10, 12] {
            let image = image(major).expect("it unpacks");
            for name in KERNELS {
                assert!(contains(&image, name.to_str().expect("a name")), "{name:?} for {major}.x");
            }
            for name in BY_ELEMENT {
                for element in ["f32", "f16", "bf16"] {
                    assert!(contains(&image, &format!("{name}_{element}")), "{name}_{element} for {major}.x");
                }
            }
        }
        assert!(image(6).is_err());
    }

    /// The driver reads a PTX up to its NUL, and refuses one newer than itself: 8.0 is that of CUDA 12.0.
    #[test]
    fn the_ptx_ends_and_is_old_enough() {
        let image = image(10).expect("it unpacks");
        assert_eq!(image.iter().position(|&byte| byte == 0), Some(image.len() - 1));
        assert!(contains(&image, ".version 8.0\n") && contains(&image, ".target sm_80\n"));
    }
}
