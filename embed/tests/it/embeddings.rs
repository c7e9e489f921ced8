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
        let bytes = std::fs::read(&path).unwrap();
        sample().save(&path).unwrap();
        assert!(bytes == std::fs::read(&path).unwrap(), "{name} has other bytes the second time");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "no temporary file stays: {left:?}");
}

/// Blanks at the ends of a name tell it from others, in a table, too; a line break cannot stand there.
#[test]
fn names_come_back_as_they_are_or_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.npy");
    let of = |names: [&str; 3]| {
        let rows = (0..3).map(|at| Row::new(format!("{at}.jpg"), at, Role::Both)).collect();
        Embeddings::new(Array2::eye(3), rows, names.map(str::to_owned).to_vec()).unwrap()
    };
    let blanks = of(["A", "A ", " A"]);
    blanks.save(&path).unwrap();
    let read = Embeddings::read(&path, None, None).unwrap();
    assert_eq!((&read.classes, &read.rows), (&blanks.classes, &blanks.rows));
    let error = of(["A", "new\nline", "B"]).save(&path).unwrap_err().to_string();
    assert!(error.contains("\"new\\nline\" has a line break"), "{error}");
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
    let read = Embeddings::read(&path, None, None).unwrap();
    assert_eq!(read.matrix, sample().matrix);
    assert!(!read.notes.iter().any(|note| note.contains("rounded")), "nothing was lost: {:?}", read.notes);
    ndarray_npy::write_npy(&path, &sample().matrix.mapv(|v| f64::from(v) * (1.0 + 1e-12))).unwrap();
    let read = Embeddings::read(&path, None, None).unwrap();
    assert_eq!(read.matrix, sample().matrix);
    assert!(read.notes[0].contains("holds float64; its values were rounded to float32"), "{:?}", read.notes);
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

#[test]
fn labels_beside_another_matrix_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, labels) = (folder.path().join("kept.npy"), folder.path().join("kept.csv"));
    sample().save(&path).unwrap();
    let mut other = sample();
    other.matrix[[0, 0]] += 1.0;
    ndarray_npy::write_npy(&path, &other.matrix).unwrap();
    let message = Embeddings::read(&path, None, None).unwrap_err().to_string();
    assert!(message.contains("kept.csv was written for other embeddings than"), "{message}");
    // Version 0.1 wrote no digest.
    put(&labels, "name,label,role\na,x,both\nb,x,both\nc,y,both\nd,y,both\ne,y,both\n");
    let read = Embeddings::read(&path, None, None).unwrap();
    assert!(read.notes[0].contains("kept.csv has no digest of its embeddings"), "{:?}", read.notes);
    assert!(Embeddings::read(&path, None, Some(&labels)).unwrap().notes.is_empty(), "given by a person");
}

#[test]
fn labels_in_another_order_than_their_rows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, labels) = (folder.path().join("kept.npy"), folder.path().join("kept.csv"));
    sample().save(&path).unwrap();
    let written = std::fs::read_to_string(&labels).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    let order = |order: &[usize]| order.iter().map(|&at| lines[at]).collect::<Vec<_>>().join("\n");
    for (order, wanted) in [
        (order(&[0, 5, 4, 3, 2, 1]), "line 2: is of row 4 of the matrix, wanted 0"),
        (order(&[0, 1, 2, 4, 3, 5]), "line 4: is of row 3 of the matrix, wanted 2"),
        (order(&[0, 1, 2, 2, 4, 5]), "line 4: is of row 1 of the matrix, wanted 2"),
    ] {
        put(&labels, order);
        let message = Embeddings::read(&path, None, None).unwrap_err().to_string();
        assert!(message.contains(wanted), "{message}");
    }
    put(&labels, written.replace("zweite Klasse ü", "renamed"));
    assert_eq!(Embeddings::read(&path, None, None).unwrap().classes[1], "renamed", "labels may be edited");
}

#[test]
fn embeddings_that_are_all_the_same_are_known() {
    let of = |matrix: Array2<f32>| {
        let rows = (0..matrix.nrows()).map(|at| Row::new(at.to_string(), at % 2, Role::Both)).collect();
        Embeddings::new(matrix, rows, vec!["a".into(), "b".into()]).unwrap().sameness()
    };
    let same = Array2::from_shape_fn((4, 3), |(_, column)| column as f32 + 0.1);
    assert_eq!(of(same.clone()), Some(0.0));
    assert_eq!(of(Array2::zeros((4, 3))), Some(0.0));
    let mut rounded = same.clone();
    rounded[[2, 1]] += 1e-6;
    assert!(of(rounded).is_some_and(|apart| (1e-7..1e-6).contains(&apart)));
    let mut apart = same.clone();
    apart[[3, 1]] += 1e-4;
    assert_eq!(of(apart), None);
    assert_eq!(of(same.slice(ndarray::s![..1, ..]).to_owned()), None, "one alone is like no other");
}

#[test]
fn labels_are_read_as_programs_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let (path, labels) = (folder.path().join("kept.npy"), folder.path().join("labels"));
    ndarray_npy::write_npy(&path, &Array2::<f32>::ones((3, 2))).unwrap();
    let read = |content: &str| {
        put(&labels, content);
        Embeddings::read(&path, None, Some(&labels)).map(|e| e.classes).map_err(|e| e.to_string())
    };
    for content in [
        "a b\na b\nc,d\n\n",
        "\u{feff}a b\na b\nc,d\n",
        "\u{feff}label\na b\r\na b\r\n\"c,d\"\r\n",
        "\"name\",\"label\"\n\"1\",\"a b\"\n\"2\",\"a b\"\n\"3\",\"c,d\"\n",
        "name;label\n1;a b\n2;a b\n3;c,d\n",
        "\"x,y\",class\n1,a b\n2,a b\n3,\"c,d\"\n",
    ] {
        assert_eq!(read(content).unwrap(), ["a b", "c,d"], "{content:?}");
    }
    // A person's name is none of a file, where another column has that.
    put(&labels, "name,image,label\nAnn,a/1.jpg,0\nAnn,a/2.jpg,0\nBob,b/1.jpg,1\n");
    let kept = Embeddings::read(&path, None, Some(&labels)).unwrap();
    assert_eq!(kept.rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["a/1.jpg", "a/2.jpg", "b/1.jpg"]);
    // What names columns may be a label: it is there again, and there are as many lines as rows.
    assert_eq!(read("y\ny\nn\n").unwrap(), ["y", "n"]);
    let wrong = |content: &str| read(content).unwrap_err();
    for content in ["y\nn\nn\n", "label\na\na\n", "im0,y\nim1,n\nim2,n\n"] {
        let said = wrong(content);
        assert!(said.contains("holds 2 labels (its first line is taken for the names of the columns"), "{said}");
    }
    assert!(wrong("1,a\n2,a\n3,b\n").contains("line 1: 2 columns and no header with a column 'label'"));
    assert!(wrong("species\na\na\nb\n").contains("is its first line, 'species', a header? It must be called 'label'"));
    assert!(wrong("a\n\na\nb\n").contains("line 2: is blank"));
    assert!(wrong("name,label\n1,a\n2,\n3,b\n").contains("line 3: the label is empty"));
    assert!(wrong("label\n").contains("holds a header and no label"));
}

#[test]
fn claims_that_no_file_can_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.npy");
    put(folder.path().join("kept.csv"), "label\na\n");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    let text = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4), }");
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.bytes());
    put(&path, [header.as_slice(), &[0; 16]].concat());
    let message = Embeddings::read(&path, None, None).unwrap_err().to_string();
    assert!(message.contains("claims shape (1000000000000, 4), 16 bytes follow"), "{message}");
    let raw = folder.path().join("kept.f32");
    put(&raw, [0; 64]);
    for dim in [1 << 62, usize::MAX, 17] {
        let message = Embeddings::read(&raw, Some(dim), Some(&path)).unwrap_err().to_string();
        assert!(message.contains(&format!("64 bytes are no whole number of rows of {dim} float32")), "{message}");
    }
    put(folder.path().join("e.npz"), b"PK\x03\x04....");
    let message = Embeddings::read(&folder.path().join("e.npz"), Some(1), None).unwrap_err().to_string();
    assert!(message.contains(".npz archive") && message.contains("numpy.save"), "{message}");
}

#[test]
fn safetensors_labels_are_checked() {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.safetensors");
    let read = |labels: [i64; 3], metadata: &[(&str, &str)]| {
        let (values, labels) = ([0_u8; 24].map(|_| 63), labels.map(i64::to_le_bytes).concat());
        let tensors = [
            ("embeddings", TensorView::new(Dtype::F32, vec![3, 2], &values).unwrap()),
            ("labels", TensorView::new(Dtype::I64, vec![3], &labels).unwrap()),
        ];
        let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        put(&path, serialize(tensors, Some(metadata)).unwrap());
        Embeddings::read(&path, None, None).map(|e| e.classes).map_err(|e| e.to_string())
    };
    assert_eq!(read([4_000_000_000_000_000_000, 5, 5], &[]).unwrap(), ["5", "4000000000000000000"]);
    assert!(read([0, -1, 1], &[]).unwrap_err().contains("label -1 of row 1: wanted 0 or more"));
    let two = ("classes", r#"["a", "b"]"#);
    assert_eq!(read([0, 1, 1], &[two]).unwrap(), ["a", "b"]);
    assert!(read([0, 1, 2], &[two]).unwrap_err().contains("label 2 of row 2: wanted one of the 2 classes"));
    assert!(read([0, 0, 0], &[("classes", "[]")]).unwrap_err().contains("one of the 0 classes"));
    let wrong = |key, json| read([0, 1, 1], &[two, (key, json)]).unwrap_err();
    assert!(wrong("names", r#"["x"]"#).contains("metadata 'names' has 1 entries for 3 rows"));
    assert!(wrong("roles", r#"["both", "both"]"#).contains("metadata 'roles' has 2 entries for 3 rows"));
    assert!(wrong("roles", r#"["both", "judge", "both"]"#).contains("role 'judge' of row 1"));
    assert!(wrong("names", "{").contains("is not the list that is wanted"));
}

#[test]
fn safetensors_labels_may_be_integers_of_any_width() {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.safetensors");
    let values = [0_u8; 24].map(|_| 63);
    for (dtype, labels) in [
        (Dtype::I32, [300_i32, 5, 300].map(i32::to_le_bytes).concat()),
        (Dtype::U32, [300_u32, 5, 300].map(u32::to_le_bytes).concat()),
        (Dtype::I16, [300_i16, 5, 300].map(i16::to_le_bytes).concat()),
        (Dtype::U16, [300_u16, 5, 300].map(u16::to_le_bytes).concat()),
        (Dtype::U8, vec![200, 5, 200]),
        (Dtype::I8, vec![100, 5, 100]),
    ] {
        let tensors = [
            ("embeddings", TensorView::new(Dtype::F32, vec![3, 2], &values).unwrap()),
            ("labels", TensorView::new(dtype, vec![3], &labels).unwrap()),
        ];
        put(&path, serialize(tensors, None).unwrap());
        let found = Embeddings::read(&path, None, None).unwrap();
        assert_eq!(found.rows.iter().map(|row| row.class).collect::<Vec<_>>(), [1, 0, 1], "{dtype:?}");
        assert_eq!(found.classes[0], "5");
    }
}

#[test]
fn safetensors_of_float64_are_read_as_npy_files_are() {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.safetensors");
    let read = |values: [f64; 4]| {
        let (bytes, labels) = (values.map(f64::to_le_bytes).concat(), [0_i64, 1].map(i64::to_le_bytes).concat());
        let tensors = [
            ("embeddings", TensorView::new(Dtype::F64, vec![2, 2], &bytes).unwrap()),
            ("labels", TensorView::new(Dtype::I64, vec![2], &labels).unwrap()),
        ];
        put(&path, serialize(tensors, None).unwrap());
        Embeddings::read(&path, None, None).map_err(|e| e.to_string())
    };
    let found = read([0.1, 0.2, -0.3, 1.0]).unwrap();
    assert_eq!(found.matrix, ndarray::array![[0.1_f32, 0.2], [-0.3, 1.0]]);
    assert!(found.notes[0].contains("holds float64; its values were rounded to float32"), "{:?}", found.notes);
    assert!(read([0.1, 1e300, 0.0, 1.0]).unwrap_err().contains("inf at position 1"));
}

/// Three rows of two numbers and their labels, as a person's own files: `notes`, or the error.
fn of_files(labels: &[u8], dim: Option<usize>) -> Result<Embeddings, String> {
    let folder = tempfile::tempdir().unwrap();
    let (matrix, file) = (folder.path().join("e.npy"), folder.path().join("l.csv"));
    let values = ndarray::array![[1.0_f32, 0.0], [0.0, 1.0], [1.0, 1.0]];
    ndarray_npy::write_npy(&matrix, &values).unwrap();
    put(&file, labels);
    let at = format!("{}/", folder.path().display());
    let read = Embeddings::read(&matrix, dim, Some(&file)).map_err(|e| e.to_string().replace(&at, ""))?;
    let notes = read.notes.iter().map(|note| note.replace(&at, "")).collect();
    Ok(Embeddings { notes, ..read })
}

#[test]
fn slips_among_labels_and_columns_without_a_use_are_said() {
    for (labels, wanted) in [
        ("Dog\ndog\ncat\n", "'Dog' and 'dog'"),
        ("1\n1.0\n2\n", "'1' and '1.0'"),
        ("dog\ndog\u{200b}\ncat\n", "nearly the same"),
        ("nan\na\nb\n", "'nan' counts as a class"),
        ("label,split\na,train\nb,test\na,test\n", "l.csv: nothing is read from column 'split'"),
        ("class,label,y\na,1,5\nb,2,6\na,1,7\n", "l.csv: labels are read from column 'label'"),
    ] {
        let notes = of_files(labels.as_bytes(), None).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains(wanted)), "{labels:?}: {notes:?}");
    }
    for labels in ["a\nb\na\n", ",label\n0,a\n1,b\n2,a\n", "name,label,role\nx,a,both\ny,b,both\nz,a,both\n"] {
        assert_eq!(of_files(labels.as_bytes(), None).unwrap().notes, [""; 0], "{labels:?}");
    }
    let accents = of_files("caf\u{e9}\ncafe\u{301}\ncat\n".as_bytes(), None).unwrap();
    assert_eq!(accents.rows.iter().map(|row| row.class).collect::<Vec<_>>(), [0, 0, 1], "one word, spelt twice");
}

#[test]
fn files_of_another_kind_are_refused_by_what_would_make_them_right() {
    assert!(of_files(b"a\nb\na\n", Some(2)).unwrap_err().contains("--dim 2: e.npy says by itself"));
    assert!(of_files(b"\x93NUMPY\x01\0", None).unwrap_err().contains("l.csv: is an .npy file; wanted text"));
    let on_its_side = of_files(b"a\nb\n", None).unwrap_err();
    assert!(on_its_side.contains("(is the matrix on its side? Wanted a row an image)"), "{on_its_side}");
}

#[test]
fn numbers_of_another_type_read_as_float32_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, labels) = (folder.path().join("e.bin"), folder.path().join("l.csv"));
    put(&labels, "a\nb\na\nb\n");
    let values: Vec<f64> = (0..64).map(|n| f64::from(n).sin() * 3.0).collect();
    let doubles: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    #[allow(clippy::cast_possible_truncation)] // as the file has it
    let singles: Vec<u8> = values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect();
    // Bits of float16 from 0.008 to 0.06, as the numbers of unit vectors are: a sign, five bits of exponent, ten of fraction.
    let halves: Vec<u8> = (0..128_u16).flat_map(|n| (0x2000 + n * 61 % 0x0c00).to_le_bytes()).collect();
    for (bytes, dim, said) in [(&doubles, 32, true), (&halves, 16, true), (&singles, 16, false)] {
        put(&raw, bytes);
        let notes = Embeddings::read(&raw, Some(dim), Some(&labels)).unwrap().notes;
        assert_eq!(notes.iter().any(|note| note.contains("is it float32, little-endian")), said, "{dim} {notes:?}");
    }
}

#[test]
fn rows_that_are_equal_to_others_are_counted_but_for_known_copies() {
    let matrix = ndarray::array![[1.0_f32, 0.0], [0.0, 1.0], [1.0, -0.0], [0.0, 1.0], [1.0, 0.0]];
    let row = |image: Option<u32>| Row { image, ..Row::new("x", 0, Role::Both) };
    let twins = |images: [Option<u32>; 5]| {
        Embeddings::new(matrix.clone(), images.map(row).to_vec(), vec!["a".into()]).unwrap().twins()
    };
    assert_eq!(twins([None; 5]), 3);
    assert_eq!(twins([Some(0), Some(1), Some(0), Some(1), Some(0)]), 0);
    assert_eq!(twins([Some(0), Some(1), None, Some(1), Some(2)]), 2);
}

#[test]
fn roles_of_kept_embeddings_are_known_as_those_of_lists() {
    use Role::{Both, Gallery, Query};
    for (text, wanted, said) in [
        ("label,is_query,is_gallery\nu,True,False\nu,False,True\nv,True,True\n", [Query, Gallery, Both], ""),
        ("label,part\nu,query\nu,gallery\nv,both\n", [Query, Gallery, Both], "column 'part' is taken for the role"),
        (
            "label,is_query\nu,1\nu,0\nv,0\n",
            [Query, Gallery, Gallery],
            "rows with False in column 'is_query' are the gallery",
        ),
        (
            "label,gallery\nu,yes\nu,no\nv,no\n",
            [Gallery, Query, Query],
            "rows with False in column 'gallery' are queries",
        ),
        (
            "label,status\nu,query\nu,gallery\nv,gallery\n",
            [Query, Gallery, Gallery],
            "column 'status' is taken for the role",
        ),
        ("label,part\nu,train\nu,test\nv,test\n", [Both, Both, Both], "nothing is read from column 'part'"),
        ("label,is_query,is_gallery\nu,,\nu,,\nv,,\n", [Both, Both, Both], ""),
    ] {
        let read = of_files(text.as_bytes(), None).unwrap();
        assert_eq!(read.rows.iter().map(|row| row.role).collect::<Vec<_>>(), wanted, "{text}");
        assert!(read.notes.iter().any(|note| note.contains(said)) || said.is_empty(), "{text}: {:?}", read.notes);
    }
    let said = of_files(b"label,is_query,is_gallery\nu,1,0\nu,0,0\nv,1,1\n", None).unwrap_err();
    assert!(said.contains("line 3: is neither query nor gallery"), "{said}");
    let said = of_files(b"label,is_query,is_gallery\nu,1,0\nu,,\nv,1,1\n", None).unwrap_err();
    assert!(said.contains("line 3: says neither of a query nor of the gallery, and other lines do"), "{said}");
}

/// A warning holds for embeddings as long as they are kept.
#[test]
fn what_was_said_when_they_were_made_is_said_again() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["kept.npy", "kept.safetensors"] {
        let path = folder.path().join(name);
        let mut doubtful = sample();
        doubtful.notes = vec!["the model was trained on them".into(), "a comma, and \"quotes\"".into()];
        doubtful.save(&path).unwrap();
        let read = Embeddings::read(&path, None, None).unwrap();
        let wanted =
            "when these embeddings were made it was said: the model was trained on them; a comma, and \"quotes\"";
        assert!(read.notes.len() == 1 && read.notes[0].ends_with(wanted), "{name}: {:?}", read.notes);
        assert_eq!(Embeddings { notes: Vec::new(), ..read }, sample(), "{name}");
    }
}

#[test]
fn safetensors_may_have_labels_elsewhere_and_what_is_not_read_of_them_is_said() {
    use safetensors::tensor::{Dtype, TensorView};
    let folder = tempfile::tempdir().unwrap();
    let (path, labels) = (folder.path().join("s.safetensors"), folder.path().join("l.txt"));
    let values: Vec<u8> = sample().matrix.iter().flat_map(|value| value.to_le_bytes()).collect();
    let flags = [1_u8; 5];
    let tensors = [
        ("embeddings", TensorView::new(Dtype::F32, vec![5, 3], &values).unwrap()),
        ("is_query", TensorView::new(Dtype::BOOL, vec![5], &flags).unwrap()),
    ];
    put(&path, safetensors::serialize(tensors, None).unwrap());
    put(&labels, "a\nb\na\nb\na\n");
    let message = Embeddings::read(&path, None, None).unwrap_err().to_string();
    assert!(message.contains("has no tensor 'labels'") && message.contains("--labels FILE"), "{message}");
    let read = Embeddings::read(&path, None, Some(&labels)).unwrap();
    assert_eq!((read.matrix, read.classes), (sample().matrix, vec!["a".to_owned(), "b".to_owned()]));
    assert!(read.notes[0].contains("nothing is read from tensor 'is_query'"), "{:?}", read.notes);
    sample().save(&path).unwrap();
    let message = Embeddings::read(&path, None, Some(&labels)).unwrap_err().to_string();
    assert!(message.contains("brings its own labels, in its tensor 'labels'"), "{message}");
}

/// Both sides may say which row is which; where they differ, labels would be those of other images.
#[test]
fn names_and_roles_of_safetensors_go_with_labels_that_are_kept_elsewhere() {
    use safetensors::tensor::{Dtype, TensorView};
    let folder = tempfile::tempdir().unwrap();
    let (path, labels) = (folder.path().join("s.safetensors"), folder.path().join("l.csv"));
    let values: Vec<u8> = sample().matrix.iter().flat_map(|value| value.to_le_bytes()).collect();
    let with = |metadata: &[(&str, &str)]| {
        let tensors = [("embeddings", TensorView::new(Dtype::F32, vec![5, 3], &values).unwrap())];
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        put(&path, safetensors::serialize(tensors, Some(metadata)).unwrap());
        Embeddings::read(&path, None, Some(&labels))
    };
    let names = ("names", r#"["a","b","c","d","e"]"#);
    let roles = ("roles", r#"["query","gallery","gallery","gallery","both"]"#);
    put(&labels, "label\nx\nx\ny\ny\ny\n");
    let read = with(&[names, roles, ("notes", "made on Monday")]).unwrap();
    let rows: Vec<(&str, Role)> = read.rows.iter().map(|row| (row.name.as_str(), row.role)).collect();
    assert_eq!(rows[..2], [("a", Role::Query), ("b", Role::Gallery)]);
    assert!(!read.notes.iter().any(|note| note.contains("Monday")), "not a note of ours: {:?}", read.notes);
    put(&labels, "name,label\na,x\nb,x\nc,y\nd,y\ne,y\n");
    assert_eq!(with(&[names]).unwrap().rows[4].name, "e");
    put(&labels, "name,label\na,x\nc,y\nb,x\nd,y\ne,y\n");
    let message = with(&[names]).unwrap_err().to_string();
    assert!(message.contains("the name of row 1 is 'b', and in the labels 'c'"), "{message}");
    put(&labels, "role,label\nquery,x\nquery,x\ngallery,y\ngallery,y\nboth,y\n");
    let message = with(&[roles]).unwrap_err().to_string();
    assert!(message.contains("the role of row 1 is 'gallery', and in the labels 'query'"), "{message}");
}

/// A column that numbers the rows has many names.
#[test]
fn labels_that_were_shuffled_are_noticed_by_any_column_that_numbers_them() {
    let folder = tempfile::tempdir().unwrap();
    let (path, labels) = (folder.path().join("e.npy"), folder.path().join("l.csv"));
    ndarray_npy::write_npy(&path, &sample().matrix).unwrap();
    put(&labels, "row,rank,label\n0,2,a\n1,0,b\n2,1,a\n3,4,b\n4,3,a\n");
    let notes = Embeddings::read(&path, None, Some(&labels)).unwrap().notes;
    assert!(!notes.iter().any(|note| note.contains("another order")), "`row` is in order: {notes:?}");
    for name in ["id", "level_0", "image_id", "#", "Unnamed: 0"] {
        for (order, is_said) in [([2, 0, 4, 1, 3], true), ([0, 1, 2, 3, 4], false), ([20, 0, 4, 1, 3], false)] {
            let rows = order.map(|number| format!("{number},{}\n", ["a", "b"][number % 2])).concat();
            put(&labels, format!("{name},label\n{rows}"));
            let notes = Embeddings::read(&path, None, Some(&labels)).unwrap().notes;
            let found = notes.iter().any(|note| note.contains("numbers the lines in another order than theirs"));
            assert_eq!(found, is_said, "{name} {order:?}: {notes:?}");
        }
    }
}
