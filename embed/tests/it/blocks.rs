//! Kept embeddings that stay in their file: what is read and found block by block is what is in memory, to the bit.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use ndarray::Array2;
use pdloss_embed::dataset::Role;
use pdloss_embed::embeddings::{Embeddings, OnDisk, Row};
use pdloss_embed::retrieval::{Metric, Search, exact, measure, measure_by_blocks};

use crate::tools::put;

fn noise(n: usize) -> f32 {
    ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32
}

/// 90 rows of 6 numbers, of which every third is the row before; the roles by `role`.
fn rows(role: impl Fn(usize) -> Role) -> Embeddings {
    let matrix = Array2::from_shape_fn((90, 6), |(r, c)| noise((r - usize::from(r % 3 == 2)) * 6 + c + 1));
    let row = |at: usize| {
        let image = (at % 9 > 6).then_some(at as u32 / 9);
        Row { image, camera: Some(at as u32 % 4), ..Row::new(format!("{at}.jpg"), at * 7 % 11, role(at)) }
    };
    let classes = (0..11).map(|class| format!("class {class}")).collect();
    Embeddings::new(matrix, (0..90).map(row).collect(), classes).unwrap()
}

pub(crate) fn same(path: &Path, dim: Option<usize>, labels: Option<&Path>) {
    let (whole, sha256) = Embeddings::read_part(path, dim, labels).unwrap();
    let length = |row: usize| whole.matrix.row(row).iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let lengths: Vec<f64> = (0..whole.rows.len()).map(length).collect();
    // All at once, and a row at a time.
    for bytes in [1 << 20, 1] {
        let mut kept = OnDisk::open(path, dim, labels, bytes).unwrap();
        assert_eq!((&kept.rows, &kept.classes, &kept.notes), (&whole.rows, &whole.classes, &whole.notes), "{path:?}");
        assert_eq!((kept.blocks.rows(), kept.blocks.dim()), whole.matrix.dim());
        assert_eq!(kept.blocks.read(2..5).unwrap(), whole.matrix.slice(ndarray::s![2..5, ..]));
        assert_eq!(kept.blocks.select(&[0, 3, 4, 7]).unwrap(), whole.matrix.select(ndarray::Axis(0), &[0, 3, 4, 7]));
        assert_eq!(kept.sha256, sha256);
        assert_eq!((kept.seen.sameness, kept.seen.twins), (whole.sameness(), whole.twins()), "{path:?}");
        assert_eq!(kept.seen.lengths.0, lengths.iter().copied().fold(f64::INFINITY, f64::min));
        assert_eq!(kept.seen.lengths.1, lengths.iter().copied().fold(0.0, f64::max));
    }
}

/// An `.npy` file with these bytes, and labels of ten rows beside it.
fn npy(folder: &Path, kind: &str, data: &[u8], width: usize) -> PathBuf {
    let shape = (10, data.len() / width / 10);
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape:?}, }}\n");
    let path = folder.join(format!("kind{}.npy", &kind[1..]));
    put(&path, [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat());
    put(path.with_extension("csv"), "label\na\nb\na\nb\na\nb\na\nb\na\nb\n");
    path
}

#[test]
fn every_form_is_read_block_by_block_as_it_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["kept.npy", "kept.safetensors"] {
        let path = folder.path().join(name);
        rows(|at| if at % 10 == 3 { Role::Query } else { Role::Gallery }).save(&path).unwrap();
        same(&path, None, None);
    }
    let values: Vec<f64> = (0..50).map(|n| f64::from(noise(n + 1)) + 1e-9).collect();
    let doubles: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let halves: Vec<u8> = values.iter().flat_map(|&v| f16::from_f64(v).to_le_bytes()).collect();
    let brains: Vec<u8> = values.iter().flat_map(|&v| bf16::from_f64(v).to_le_bytes()).collect();
    let equal: Vec<u8> = [0.25_f32; 50].iter().flat_map(|v| v.to_le_bytes()).collect();
    same(&npy(folder.path(), "<f8", &doubles, 8), None, None);
    same(&npy(folder.path(), "<f2", &halves, 2), None, None);
    same(&npy(folder.path(), "<f4", &equal, 4), None, None);
    let labels = folder.path().join("kindf4.csv");
    for (name, bytes) in [("raw", &equal), ("strange", &doubles)] {
        let path = folder.path().join(name);
        put(&path, bytes);
        same(&path, Some(bytes.len() / 40), Some(&labels));
    }
    for (dtype, bytes) in [("BF16", &brains), ("F64", &doubles)] {
        let numbers: Vec<u8> = (0..10_i64).flat_map(|at| (at % 2).to_le_bytes()).collect();
        let header = format!(
            r#"{{"labels":{{"dtype":"I64","shape":[10],"data_offsets":[0,80]}},"embeddings":{{"dtype":"{dtype}","shape":[10,5],"data_offsets":[80,{}]}}}}"#,
            80 + bytes.len()
        );
        let path = folder.path().join(format!("{dtype}.safetensors"));
        put(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &numbers, bytes].concat());
        same(&path, None, None);
    }
}

#[test]
fn what_is_found_block_by_block_is_what_is_found_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.npy");
    let roles: [&dyn Fn(usize) -> Role; 3] = [
        &|_| Role::Both,
        // scattered among the gallery, and in front of it
        &|at| if at % 10 == 3 { Role::Query } else { Role::Gallery },
        &|at| if at < 20 { Role::Query } else { Role::Gallery },
    ];
    let mut parallel = rows(roles[0]);
    // What tells these apart is below what a cosine in float64 has digits for.
    parallel.matrix.mapv_inplace(|v| 1e4 + 1e-2 * v);
    for embeddings in roles.into_iter().map(rows).chain([parallel]) {
        embeddings.save(&path).unwrap();
        for metric in [Metric::Cosine, Metric::Ip, Metric::L2] {
            for (ks, keep) in [(vec![1, 3], 5), (vec![20], 0), (vec![60], 1)] {
                let search = Search { metric, ks, keep, whole: false };
                let wanted = measure(&embeddings, &search, &exact).unwrap();
                for most in [if keep == 1 { 1 } else { 7 }, 31, 1000] {
                    let mut kept = OnDisk::open(&path, None, None, 1 << 20).unwrap();
                    let held = (kept.rows.as_slice(), &mut kept.blocks);
                    let found = measure_by_blocks(held, most, &|rows| rows, &search, &exact).unwrap();
                    assert_eq!(found, wanted, "{metric}, {most} rows at a time");
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_read_block_by_block_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| OnDisk::open(path, None, None, 1 << 20).unwrap_err().to_string();
    let big: Vec<u8> = [0.5_f32; 50].iter().flat_map(|v| v.to_be_bytes()).collect();
    let path = npy(folder.path(), ">f4", &big, 4);
    assert!(error(&path).contains("kindf4.npy") && error(&path).contains("ascontiguousarray"), "{}", error(&path));
    let mut values = [0.5_f32; 50];
    values[37] = f32::NAN;
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let path = npy(folder.path(), "<f4", &bytes, 4);
    let whole = Embeddings::read(&path, None, None).unwrap_err().to_string();
    assert_eq!(error(&path), whole);
    assert!(whole.contains("row 7 has NaN at position 2"), "{whole}");
    put(path.with_extension("csv"), "label\na\nb\n");
    assert!(error(&path).contains("10 rows of 5") && error(&path).contains("2 labels"), "{}", error(&path));
    // A row that has no direction is named by its place in the file.
    let mut embeddings = rows(|_| Role::Both);
    embeddings.matrix.row_mut(77).fill(0.0);
    embeddings.save(&path).unwrap();
    let mut kept = OnDisk::open(&path, None, None, 1 << 20).unwrap();
    let held = (kept.rows.as_slice(), &mut kept.blocks);
    let said = measure_by_blocks(held, 8, &|rows| rows, &Search::cosine(&[1]), &exact).unwrap_err().to_string();
    assert!(said.contains("77.jpg is all zeros"), "{said}");
}
