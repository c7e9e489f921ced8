//! Cars196 (Krause et al. 2013). Its annotations are MATLAB files: either `cars_annos.mat`, which holds all images with
//! class and part, or the devkit's `cars_train_annos.mat` and `cars_test_annos_withlabels.mat`. The devkit's plain
//! `cars_test_annos.mat` has no classes, and is not enough. Metric learning measures classes 99-196.

use std::collections::BTreeMap;

use matrw::{MatFile, MatVariable};

use super::part::Part;
use super::{Listed, Listing, Source, Split};
use crate::error::{Error, Result};
use crate::guard::guarded;

const CLASS_COUNT: usize = 196;
/// Bytes of a MATLAB 5 file before its first variable.
const HEADER: usize = 128;

pub(super) fn list(source: &Source) -> Result<Listing> {
    let mut images = Vec::new();
    if let Some(root) = source.folder_of("cars_annos.mat") {
        images = annotations(source, &format!("{root}cars_annos.mat"), "relative_im_path", &root, None)?;
    } else {
        let wanted = [
            ("cars_train_annos.mat", "cars_train", Part::Train),
            ("cars_test_annos_withlabels.mat", "cars_test", Part::Test),
        ];
        for (file, folder, part) in wanted {
            let Some(root) = source.folder_of(file) else {
                return Err(Error::data(
                    source.path(),
                    format!(
                        "format cars196 wants {file}, which is not there (cars_test_annos.mat has no class field; cars_annos.mat alone would do)"
                    ),
                ));
            };
            let prefix = image_folder(source, folder);
            images.extend(annotations(source, &format!("{root}{file}"), "fname", &prefix, Some(part))?);
        }
    }
    Ok(Listing { class_count: CLASS_COUNT, ..Listing::new(images, class_names(source)?, Split::ZeroShot) })
}

/// Where the images of one part lie: the devkit does not say, so look for the folder.
fn image_folder(source: &Source, folder: &str) -> String {
    let marker = format!("{folder}/");
    let holder = source.names().iter().find_map(|n| n.find(&marker).map(|at| n[..at].to_owned()));
    format!("{}{marker}", holder.unwrap_or_default())
}

fn annotations(source: &Source, file: &str, name_field: &str, prefix: &str, part: Option<Part>) -> Result<Vec<Listed>> {
    let mat = load(source, file)?;
    let annos = &mat["annotations"];
    let here = || source.path().join(file);
    let fields = annos.fieldnames().ok_or_else(|| Error::data(here(), "holds no struct array 'annotations'"))?;
    for field in [name_field, "class"] {
        if !fields.iter().any(|f| f == field) {
            return Err(Error::data(
                here(),
                format!("annotations have no field '{field}' (they have {})", fields.join(", ")),
            ));
        }
    }
    let count: usize = annos.dim().iter().product();
    (0..count)
        .map(|at| {
            let one = &annos[at];
            let wrong = |field: &str| {
                let wanted = if field == name_field { "a name" } else { "a whole number" };
                Error::data(here(), format!("annotation {}: field '{field}' is not {wanted}", at + 1))
            };
            let name = text(&one[name_field]).ok_or_else(|| wrong(name_field))?;
            let class = whole(&one["class"]).ok_or_else(|| wrong("class"))?;
            let part = match part {
                Some(given) => given,
                None if whole(&one["test"]).ok_or_else(|| wrong("test"))? == 0 => Part::Train,
                None => Part::Test,
            };
            Ok(Listed { part: Some(part), ..Listed::new(format!("{prefix}{name}"), class) })
        })
        .collect()
}

fn class_names(source: &Source) -> Result<BTreeMap<usize, String>> {
    let Some(root) = source.folder_of("cars_meta.mat") else { return Ok(BTreeMap::new()) };
    let mat = load(source, &format!("{root}cars_meta.mat"))?;
    let names = &mat["class_names"];
    let count: usize = names.dim().iter().product();
    Ok((0..count).filter_map(|at| text(&names[at]).map(|name| (at + 1, name))).collect())
}

fn load(source: &Source, file: &str) -> Result<MatFile> {
    let here = source.path().join(file);
    let bytes = source.read(file)?;
    let wrong = |problem: &str| Err(Error::data(&here, problem));
    if bytes.starts_with(b"\x89HDF") || bytes.starts_with(b"MATLAB 7.3") {
        return wrong("is a MATLAB 7.3 file (HDF5), which is not read; wanted MATLAB 5: save it with -v7 or -v6");
    }
    if bytes.len() < HEADER || !matches!(&bytes[HEADER - 2..HEADER], b"IM" | b"MI") {
        // MATLAB 4 begins with a small number that says type and byte order, and names its first matrix 20 bytes on.
        let number = bytes.first_chunk::<4>().map(|first| u32::from_le_bytes(*first).min(u32::from_be_bytes(*first)));
        if number.is_some_and(|number| number < 5000) && bytes.len() > 20 {
            return wrong("is a MATLAB 4 file, which is not read; wanted MATLAB 5: save it with -v7 or -v6");
        }
        return wrong("not a MATLAB 5 file: it has no such header");
    }
    guarded(&here, || {
        matrw::load_matfile_from_u8(&bytes).map_err(|e| Error::data(&here, format!("not a MATLAB 5 file: {e}")))
    })
}

fn text(variable: &MatVariable) -> Option<String> {
    variable.to_vec_char().map(|chars| chars.into_iter().collect()).or_else(|| variable.to_char().map(String::from))
}

fn whole(variable: &MatVariable) -> Option<usize> {
    let value = variable.to_f64()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to be whole, positive and small
    (value.fract() == 0.0 && (0.0..=1e9).contains(&value)).then_some(value as usize)
}
