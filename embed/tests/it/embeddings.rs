//! Kept embeddings: what is saved is what is read, in each form.

use ndarray::Array2;
use pdloss_embed::dataset::Role;
use pdloss_embed::embeddings::{Embeddings, Row};

use crate::tools::put;

fn sample() -> Embeddings {
    let matrix = Array2::from_shape_fn((5, 3), |(row, column)| row as f32 * 0.25 - column as f32 * 1.5);
    let row = |at: usize| {
        let role = if at < 2 { Role::Query } else { Role::Gallery };
        let image = (at > 2).then_some(7);
        Row { image, camera: Some(at as u32), ..Row::new(format!("folder/image {at}, \"quoted\".jpg"), at % 2, role) }
    };
    Embeddings::new(matrix, (0..5).map(row).collect(), vec!["first, class".into(), "zweite Klasse ü".into()]).unwrap()
}

#[test]
fn npy_and_safetensors_come_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["kept.npy", "kept.safetensors"] {
        let path = folder.path().join(name);
        sample().save(&path).unwrap();
        let read = Embeddings::read(&path, None, None).unwrap();
        assert_eq!(read, sample(), "{name}");
        assert_eq!(read.sha256(), sample().sha256());
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "no temporary file stays: {left:?}");
}

#[test]
fn raw_floats_take_their_dimension_and_labels_from_flags() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, labels) = (folder.path().join("kept.bytes"), folder.path().join("labels.txt"));
    let bytes: Vec<u8> = sample().matrix.iter().flat_map(|v| v.to_le_bytes()).collect();
    put(&raw, &bytes);
    put(&labels, "b\na\nb\na\nb\n");
    let read = Embeddings::read(&raw, Some(3), Some(&labels)).unwrap();
    assert_eq!(read.matrix, sample().matrix);
    assert_eq!(read.rows.iter().map(|r| r.class).collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
    assert_eq!(read.classes, ["b", "a"]);

    let error = |dim, labels| Embeddings::read(&raw, dim, labels).unwrap_err().to_string();
    assert!(error(None, Some(labels.as_path())).contains("--dim N"));
    assert!(error(Some(7), Some(labels.as_path())).contains("60 bytes"));
    assert!(error(Some(3), None).contains("--labels FILE"));
    put(&labels, "a\nb\n");
    let message = error(Some(3), Some(labels.as_path()));
    assert!(message.contains("5 rows") && message.contains("2 labels"), "{message}");
}

#[test]
fn float64_npy_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("double.npy");
    ndarray_npy::write_npy(&path, &sample().matrix.mapv(f64::from)).unwrap();
    put(folder.path().join("double.csv"), "label\na\nb\na\nb\na\n");
    assert_eq!(Embeddings::read(&path, None, None).unwrap().matrix, sample().matrix);
    ndarray_npy::write_npy(&path, &Array2::<i32>::zeros((5, 3))).unwrap();
    assert!(Embeddings::read(&path, None, None).unwrap_err().to_string().contains("float32 or float64"));
}

#[test]
fn not_a_number_is_named_by_row_and_position() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut sample = sample();
        sample.matrix[[3, 1]] = bad;
        let message = Embeddings::new(sample.matrix, sample.rows, sample.classes).unwrap_err().to_string();
        assert!(message.contains("image 3") && message.contains("position 1"), "{message}");
    }
}

#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["bad.npy", "bad.safetensors"] {
        let path = folder.path().join(name);
        put(&path, b"nothing of the kind");
        put(folder.path().join("bad.csv"), "label\na\n");
        assert!(Embeddings::read(&path, None, None).unwrap_err().to_string().contains(name));
    }
}
