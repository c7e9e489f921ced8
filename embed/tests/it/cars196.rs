//! Cars196 out of MATLAB files of whatever hand, and out of folders with more in them than the data set.

use std::path::Path;

use matrw::{MatFile, MatVariable, matvar, save_matfile_v7};
use pdloss_embed::dataset::{Dataset, Request, Split};

use crate::tools::{png, put, text};

fn save(path: &Path, annotations: MatVariable) {
    let mut file = MatFile::new();
    file.insert("annotations", annotations);
    save_matfile_v7(text(path), file, false).unwrap();
}

fn all(root: &Path) -> Result<Dataset, String> {
    Dataset::load(&Request { split: Split::All, ..Request::of(root) }).map_err(|error| error.to_string())
}

fn pictures(root: &Path, names: &[&str]) {
    names.iter().for_each(|name| put(root.join(name), png([1, 2, 3])));
}

/// Images and their classes.
fn pairs(data: &Dataset) -> Vec<(&str, &str)> {
    data.items.iter().map(|item| (item.name.as_str(), data.classes[item.class].as_str())).collect()
}

#[test]
fn classes_and_parts_are_read_from_every_class_of_numbers() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["1.jpg", "2.jpg"]);
    let file = root.path().join("cars_annos.mat");
    macro_rules! reads {
        ($($class:expr, $test:expr, $no:expr;)*) => {$(
            save(&file, matvar!([
                { relative_im_path: "1.jpg", class: ($class), test: ($no) },
                { relative_im_path: "2.jpg", class: 7.0, test: ($test) },
            ]));
            let data = all(root.path()).unwrap_or_else(|error| panic!("{}: {error}", stringify!($class)));
            assert_eq!(pairs(&data), [("1.jpg", "3"), ("2.jpg", "7")], stringify!($class));
            let test = Dataset::load(&Request { split: Split::Test, ..Request::of(root.path()) }).unwrap();
            assert_eq!(pairs(&test), [("2.jpg", "7")], stringify!($class));
        )*};
    }
    reads! {
        3.0f64, 1.0f64, 0.0f64;
        3.0f32, 1.0f32, 0.0f32;
        3u8, 1u8, 0u8;
        3i8, 1i8, 0i8;
        3u16, 1u16, 0u16;
        3i16, 1i16, 0i16;
        3u32, 1u32, 0u32;
        3i32, 1i32, 0i32;
        3u64, 1u64, 0u64;
        3i64, 1i64, 0i64;
        3.0f64, true, false;
    }
}

#[test]
fn what_is_no_whole_number_is_an_error_that_names_the_annotation() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["1.jpg", "2.jpg"]);
    let file = root.path().join("cars_annos.mat");
    macro_rules! refuses {
        ($($class:expr),*) => {$(
            save(&file, matvar!([
                { relative_im_path: "1.jpg", class: 3.0, test: 0.0 },
                { relative_im_path: "2.jpg", class: ($class), test: 1.0 },
            ]));
            let message = all(root.path()).unwrap_err();
            assert!(message.ends_with("annotation 2: field 'class' is not one whole number"), "{message}");
        )*};
    }
    refuses!(3.5f64, 3.5f32, -3i8, -3i64, f64::NAN, 1e300f64, "three");
    save(
        &file,
        matvar!([
            { relative_im_path: "1.jpg", class: 3.0, test: 0.0 },
            { relative_im_path: "2.jpg", class: [3u8, 4u8], test: 1.0 },
        ]),
    );
    assert!(all(root.path()).unwrap_err().contains("annotation 2: field 'class'"));
    save(
        &file,
        matvar!([{ relative_im_path: 1u8, class: 3.0, test: 0.0 }, { relative_im_path: 2u8, class: 3.0, test: 0.0 }]),
    );
    assert!(all(root.path()).unwrap_err().contains("annotation 1: field 'relative_im_path' is not a name"));
    save(&file, matvar!([{ relative_im_path: "1.jpg", class: 3.0 }, { relative_im_path: "2.jpg", class: 3.0 }]));
    assert!(
        all(root.path()).unwrap_err().contains("annotations have no field 'test' (they have relative_im_path, class)")
    );
    save(&file, matvar!(3.0));
    assert!(all(root.path()).unwrap_err().contains("holds no struct array 'annotations'"));
}

#[test]
fn the_text_of_a_header_may_be_anybodys_and_other_versions_are_named() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["1.jpg", "2.jpg"]);
    let file = root.path().join("cars_annos.mat");
    save(
        &file,
        matvar!([
            { relative_im_path: "1.jpg", class: 3u8, test: 0u8 },
            { relative_im_path: "2.jpg", class: 7u8, test: 1u8 },
        ]),
    );
    let whole = std::fs::read(&file).unwrap();
    let with = |text: &str| {
        let mut bytes = whole.clone();
        bytes[..116].fill(b' ');
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        put(&file, bytes);
        all(root.path())
    };
    for text in [
        "MATLAB 5.0 MAT-file Platform: posix, Created on: Fri Nov 27 20:00:00 2026",
        "MATLAB 5.0 MAT-file, written by Octave 9.2.0, 2026-11-27 20:00:00 UTC",
        "Annotations of cars",
    ] {
        assert_eq!(pairs(&with(text).unwrap()), [("1.jpg", "3"), ("2.jpg", "7")], "{text}");
    }
    assert!(with("MATLAB 7.3 MAT-file, Platform: GLNXA64").unwrap_err().contains("is a MATLAB 7.3 file (HDF5)"));
    let mut seven = whole.clone();
    seven[124..126].copy_from_slice(&[0, 2]);
    put(&file, seven);
    assert!(all(root.path()).unwrap_err().contains("is a MATLAB 7.3 file (HDF5)"));
    let mut four = vec![0; 60];
    (four[4], four[8], four[16]) = (1, 1, 2);
    put(&file, four);
    assert!(all(root.path()).unwrap_err().contains("is a MATLAB 4 file"));
    // What its parser says of a damaged file is long, and of its own insides.
    for end in [129, 140, 180, whole.len() / 2, whole.len() - 9] {
        put(&file, &whole[..end]);
        let message = all(root.path()).unwrap_err();
        assert!(!message.contains('\n') && !message.contains("/src/"), "{message}");
        assert!(message.contains("cars_annos.mat: ") && message.contains("damaged"), "{message}");
    }
}

#[test]
fn the_devkits_images_are_taken_from_folders_of_just_their_name() {
    let root = tempfile::tempdir().unwrap();
    for file in ["devkit/cars_train_annos.mat", "devkit/cars_test_annos_withlabels.mat"] {
        std::fs::create_dir_all(root.path().join("devkit")).unwrap();
        save(&root.path().join(file), matvar!([{ fname: "1.jpg", class: 1u8 }, { fname: "2.jpg", class: 2u8 }]));
    }
    pictures(root.path(), &["cars_test/1.jpg", "cars_test/2.jpg", "256_cars_test/1.jpg", "aug_cars_train/1.jpg"]);
    pictures(root.path(), &["aug_cars_train/2.jpg", "a/old_cars_train/1.jpg", "a/old_cars_train/2.jpg"]);
    let message = all(root.path()).unwrap_err();
    assert!(message.contains("2 of which are not there; the first is cars_train/1.jpg"), "{message}");
    // As Kaggle packs it.
    pictures(root.path(), &["cars_train/cars_train/1.jpg", "cars_train/cars_train/2.jpg"]);
    let names = |data: &Dataset| data.items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
    let nested = ["cars_train/cars_train/1.jpg", "cars_train/cars_train/2.jpg", "cars_test/1.jpg", "cars_test/2.jpg"];
    assert_eq!(names(&all(root.path()).unwrap()), nested);
    // Two that could be meant, and one at the top.
    pictures(root.path(), &["small/cars_train/1.jpg", "small/cars_train/2.jpg"]);
    let message = all(root.path()).unwrap_err();
    assert!(
        message.contains("cars_train is there 2 times, in cars_train/cars_train and small/cars_train"),
        "{message}"
    );
    pictures(root.path(), &["cars_train/1.jpg", "cars_train/2.jpg"]);
    assert_eq!(names(&all(root.path()).unwrap())[..2], ["cars_train/1.jpg", "cars_train/2.jpg"]);
}
