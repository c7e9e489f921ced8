//! Embeddings in parquet files: lists and columns of numbers, as other programs write them, whole and block by block.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;
use parquet::basic::Compression;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use pdloss_embed::dataset::Role;
use pdloss_embed::embeddings::{Embeddings, OnDisk, Row};

use crate::blocks::same;

type Group<'w> = SerializedRowGroupWriter<'w, std::fs::File>;

fn number(row: usize, column: usize) -> f32 {
    ((row * 7 + column) as f32).sin()
}

/// A file of this schema, whose groups of rows end in front of these; `fill` writes a group's columns in their order.
fn write(path: &Path, schema: &str, ends: &[usize], fill: impl Fn(&mut Group<'_>, std::ops::Range<usize>)) {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {schema} }}")).unwrap());
    // Pages of a few rows, of which lists go over the edge of none.
    let how = WriterProperties::builder()
        .set_data_page_size_limit(100)
        .set_write_batch_size(5)
        .set_compression(Compression::SNAPPY);
    let how = Arc::new(how.set_dictionary_enabled(false).build());
    let mut writer = SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema, how).unwrap();
    for (at, &end) in ends.iter().enumerate() {
        let mut group = writer.next_row_group().unwrap();
        fill(&mut group, if at == 0 { 0 } else { ends[at - 1] }..end);
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn put<T: DataType>(group: &mut Group<'_>, values: &[T::T], levels: Option<(&[i16], &[i16])>) {
    let mut column = group.next_column().unwrap().unwrap();
    let (definition, repetition) = levels.map_or((None, None), |(d, r)| (Some(d), (!r.is_empty()).then_some(r)));
    column.typed::<T>().write_batch(values, definition, repetition).unwrap();
    column.close().unwrap();
}

/// A list a row, as pyarrow and polars lay it out: both the list and its numbers might be missing.
const LIST: &str = "optional group embedding (LIST) { repeated group list { optional float element; } }";

fn lists(group: &mut Group<'_>, rows: std::ops::Range<usize>, dim: usize) {
    let values: Vec<f32> = rows.clone().flat_map(|row| (0..dim).map(move |column| number(row, column))).collect();
    let repetition: Vec<i16> = (0..values.len()).map(|at| i16::from(at % dim != 0)).collect();
    put::<FloatType>(group, &values, Some((&vec![3; values.len()], &repetition)));
}

fn words(group: &mut Group<'_>, words: impl Iterator<Item = String>) {
    let words: Vec<ByteArray> = words.map(|word| ByteArray::from(word.into_bytes())).collect();
    put::<ByteArrayType>(group, &words, None);
}

/// What the files of these tests hold, made without a file.
fn wanted(count: usize, dim: usize) -> Embeddings {
    let matrix = ndarray::Array2::from_shape_fn((count, dim), |(row, column)| number(row, column));
    let rows = (0..count).map(|at| {
        let role = if at % 3 == 0 { Role::Query } else { Role::Gallery };
        Row { camera: (at % 4 > 0).then_some(at as u32 % 4), ..Row::new(format!("{at}.jpg"), at % 5, role) }
    });
    let classes = (0..5).map(|class| format!("class {class}")).collect();
    Embeddings::new(matrix, rows.collect(), classes).unwrap()
}

fn file(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

#[test]
fn lists_with_labels_names_roles_and_cameras_are_what_other_forms_are() {
    let folder = tempfile::tempdir().unwrap();
    let (path, wanted) = (file(&folder, "e.parquet"), wanted(40, 6));
    let schema = format!(
        "required binary label (UTF8); {LIST} required binary Name (UTF8); required binary role (UTF8); optional int64 camera;"
    );
    write(&path, &schema, &[17, 18, 40], |group, rows| {
        words(group, rows.clone().map(|at| format!("class {}", at % 5)));
        lists(group, rows.clone(), 6);
        words(group, rows.clone().map(|at| format!("{at}.jpg")));
        words(group, rows.clone().map(|at| (if at % 3 == 0 { "query" } else { "gallery" }).into()));
        let cameras: Vec<i64> = rows.clone().filter(|at| at % 4 > 0).map(|at| at as i64 % 4).collect();
        let levels: Vec<i16> = rows.map(|at| i16::from(at % 4 > 0)).collect();
        put::<Int64Type>(group, &cameras, Some((&levels, &[])));
    });
    let (read, sha256) = Embeddings::read_part(&path, None, None).unwrap();
    assert_eq!((&read.matrix, &read.rows, &read.classes), (&wanted.matrix, &wanted.rows, &wanted.classes));
    assert_eq!(sha256, wanted.sha256());
    assert!(read.notes.len() == 1 && read.notes[0].contains("one camera (column 'camera')"), "{:?}", read.notes);
    same(&path, None, None);
    // Back and forth, within a group and over its edge.
    let mut kept = OnDisk::open(&path, None, None, 1 << 10).unwrap();
    for rows in [30..40, 0..3, 3..20, 19..21, 16..19] {
        assert_eq!(kept.blocks.read(rows.clone()).unwrap(), wanted.matrix.slice(ndarray::s![rows, ..]));
    }
    let usage = Embeddings::read(&path, Some(6), None).unwrap_err();
    assert!(usage.exit_code() == 2 && usage.to_string().contains("--dim 6"), "{usage}");
    let usage = Embeddings::read(&path, None, Some(Path::new("labels.txt"))).unwrap_err();
    assert!(usage.exit_code() == 2 && usage.to_string().contains("brings its own labels"), "{usage}");
}

#[test]
fn lists_that_may_be_boxes_beside_numbered_columns_are_refused_and_embeddings_are_not() {
    let folder = tempfile::tempdir().unwrap();
    for (called, is_taken) in [("bbox", false), ("embedding", true)] {
        let path = file(&folder, &format!("{called}.parquet"));
        let lists_of_four = LIST.replace("embedding", called);
        let schema = format!("required int32 label; {lists_of_four} required float e0; required float e1;");
        write(&path, &schema, &[20], |group, rows| {
            put::<Int32Type>(group, &rows.clone().map(|at| at as i32 % 3).collect::<Vec<_>>(), None);
            lists(group, rows.clone(), 4);
            (0..2).for_each(|at| {
                put::<FloatType>(group, &rows.clone().map(|row| number(row, at)).collect::<Vec<_>>(), None);
            });
        });
        let read = Embeddings::read(&path, None, None);
        match is_taken {
            true => assert_eq!(read.unwrap().matrix.ncols(), 4),
            false => {
                let said = read.unwrap_err().to_string();
                assert!(said.contains("column 'bbox'") && said.contains("'e0', 'e1'"), "{said}");
            }
        }
    }
}

#[test]
fn a_column_a_dimension_goes_by_number_and_not_by_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "e.parquet");
    let order = [10, 1, 2, 11, 3, 4, 5, 6, 7, 8, 9, 0];
    let columns: String = order.iter().map(|at| format!("required float dim_{at};")).collect();
    write(
        &path,
        &format!("required int32 label; {columns} optional int64 __index_level_0__; required double age;"),
        &[9, 25],
        |group, rows| {
            put::<Int32Type>(group, &rows.clone().map(|at| at as i32 % 3).collect::<Vec<_>>(), None);
            for column in order {
                put::<FloatType>(group, &rows.clone().map(|row| number(row, column)).collect::<Vec<_>>(), None);
            }
            put::<Int64Type>(group, &[], Some((&vec![0; rows.len()], &[])));
            put::<DoubleType>(group, &vec![30.0; rows.len()], None);
        },
    );
    let read = Embeddings::read(&path, None, None).unwrap();
    assert_eq!(read.matrix, wanted(25, 12).matrix);
    assert_eq!(read.classes, ["0", "1", "2"]);
    assert_eq!(read.rows[4], Row::new("row 4", 1, Role::Both));
    assert!(
        read.notes.len() == 1 && read.notes[0].contains("nothing is read from column '__index_level_0__', 'age'"),
        "{:?}",
        read.notes
    );
    same(&path, None, None);
}

#[test]
fn wider_and_narrower_numbers_are_float32() {
    let folder = tempfile::tempdir().unwrap();
    let (doubles, halves) = (file(&folder, "d.parquet"), file(&folder, "h.parquet"));
    let value = |at: usize| f64::from(number(at, 0)) + 1e-9;
    let repetition: Vec<i16> = (0..40).map(|at| i16::from(at % 4 != 0)).collect();
    let label = "required binary label (UTF8);";
    let schema = format!("{label} required group v (LIST) {{ repeated group list {{ required double element; }} }}");
    write(&doubles, &schema, &[10], |group, rows| {
        words(group, rows.map(|at| (at % 2).to_string()));
        put::<DoubleType>(group, &(0..40).map(value).collect::<Vec<_>>(), Some((&[1; 40], &repetition)));
    });
    let schema = format!(
        "{label} required group v (LIST) {{ repeated group list {{ required fixed_len_byte_array(2) element (FLOAT16); }} }}"
    );
    write(&halves, &schema, &[10], |group, rows| {
        words(group, rows.map(|at| (at % 2).to_string()));
        let bytes = |at: usize| ByteArray::from(f16::from_f64(value(at)).to_le_bytes().to_vec()).into();
        put::<FixedLenByteArrayType>(group, &(0..40).map(bytes).collect::<Vec<_>>(), Some((&[1; 40], &repetition)));
    });
    let read = Embeddings::read(&doubles, None, None).unwrap();
    assert_eq!(read.matrix.iter().copied().collect::<Vec<_>>(), (0..40).map(|at| value(at) as f32).collect::<Vec<_>>());
    assert!(read.notes[0].contains("rounded to float32"), "{:?}", read.notes);
    let read = Embeddings::read(&halves, None, None).unwrap();
    let wanted: Vec<f32> = (0..40).map(|at| f16::from_f64(value(at)).to_f32()).collect();
    assert_eq!((read.matrix.iter().copied().collect::<Vec<_>>(), read.notes.len()), (wanted, 0));
    same(&doubles, None, None);
    same(&halves, None, None);
}

#[test]
fn labels_of_another_file_are_taken_where_no_column_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let (path, labels) = (file(&folder, "e.parquet"), file(&folder, "labels.txt"));
    write(&path, &format!("{LIST} required binary name (UTF8);"), &[10], |group, rows| {
        lists(group, rows.clone(), 3);
        words(group, rows.map(|at| at.to_string()));
    });
    crate::tools::put(&labels, "a\nb\na\nb\na\n".repeat(2));
    let read = Embeddings::read(&path, None, Some(&labels)).unwrap();
    assert_eq!((read.rows.len(), read.classes.len()), (10, 2));
    assert!(read.notes[0].contains("nothing is read from column 'name'"), "{:?}", read.notes);
    same(&path, None, Some(&labels));
    let message = Embeddings::read(&path, None, None).unwrap_err().to_string();
    assert!(message.contains("no column 'label'") && message.contains("--labels FILE"), "{message}");
}

#[test]
fn what_is_not_wanted_is_refused_by_the_name_of_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |schema: &str, fill: &dyn Fn(&mut Group<'_>), parts: &[&str]| {
        let path = file(&folder, "e.parquet");
        write(&path, &format!("required binary label (UTF8); {schema}"), &[2], |group, rows| {
            words(group, rows.map(|at| at.to_string()));
            fill(group);
        });
        let message = Embeddings::read(&path, None, None).unwrap_err().to_string();
        for part in parts.iter().chain(&["e.parquet"]) {
            assert!(message.contains(part), "{schema}: {message}");
        }
        let by_blocks = OnDisk::open(&path, None, None, 64).unwrap_err().to_string();
        assert_eq!(by_blocks, message);
    };
    let floats = |group: &mut Group<'_>| put::<FloatType>(group, &[1.0, 2.0], None);
    let list = |values: &'static [f32], definition: &'static [i16], repetition: &'static [i16]| {
        move |group: &mut Group<'_>| put::<FloatType>(group, values, Some((definition, repetition)))
    };
    refused("", &|_| {}, &["no column holds embeddings", "'label' (BYTE_ARRAY)"]);
    refused("required float age;", &floats, &["no column holds embeddings", "'age' (FLOAT)", "numbered from 0 or 1"]);
    let two = |group: &mut Group<'_>| (0..2).for_each(|_| floats(group));
    refused("required float e0; required float e2;", &two, &["'e1' is not there", "'e2' is"]);
    refused("required float e2; required float e3;", &two, &["'e1' is not there"]);
    let four = |group: &mut Group<'_>| (0..4).for_each(|_| floats(group));
    let schema = "required float a0; required float a1; required float b0; required float b1;";
    refused(schema, &four, &["several series", "'a0', 'b0'"]);
    refused(
        "required float e0; optional float e1;",
        &|group| {
            floats(group);
            put::<FloatType>(group, &[1.0], Some((&[1, 0], &[])));
        },
        &["column 'e1'", "row 2 has no number"],
    );
    let whole = "optional group codes (LIST) { repeated group list { optional int32 element; } }";
    let numbers = |group: &mut Group<'_>| put::<Int32Type>(group, &[1, 2], Some((&[3, 3], &[0, 0])));
    refused(whole, &numbers, &["no column holds embeddings", "'codes' (list or group of INT32)"]);
    let twice = format!("{LIST} {}", LIST.replace("embedding", "other"));
    let both = |first: &str| twice.replace("embedding", first);
    let two = |group: &mut Group<'_>| (0..2).for_each(|_| lists(group, 0..2, 3));
    refused(&both("one"), &two, &["'one', 'other' are lists", "'embedding'"]);
    let path = file(&folder, "two.parquet");
    write(&path, &format!("{twice} required binary label (UTF8);"), &[2], |group, rows| {
        lists(group, 0..2, 3);
        lists(group, 4..6, 3);
        words(group, rows.map(|at| at.to_string()));
    });
    let read = Embeddings::read(&path, None, None).unwrap();
    assert_eq!(read.matrix, wanted(2, 3).matrix);
    assert!(read.notes[0].contains("nothing is read from column 'other'"), "{:?}", read.notes);
    refused(LIST, &list(&[1.0, 2.0, 3.0], &[3, 3, 3], &[0, 1, 0]), &["'embedding'", "3 numbers in 2 rows"]);
    refused(LIST, &list(&[1.0; 4], &[3; 4], &[0, 0, 1, 1]), &["'embedding'", "row 1 has 1 numbers, others have 2"]);
    refused(LIST, &list(&[1.0; 3], &[3, 2, 3, 3], &[0, 1, 0, 1]), &["'embedding'", "row 1 lacks 1 of its 2 numbers"]);
    refused(LIST, &list(&[1.0], &[3, 0], &[0, 0]), &["'embedding'", "row 2 is empty or missing"]);
    refused(
        "required double role; ",
        &|group| put::<DoubleType>(group, &[0.0; 2], None),
        &["'role'", "DOUBLE", "wanted words"],
    );
    let path = file(&folder, "e.parquet");
    write(&path, &format!("{LIST} optional binary label (UTF8); required binary role (UTF8);"), &[2], |group, rows| {
        lists(group, rows, 3);
        put::<ByteArrayType>(group, &[ByteArray::from("a")], Some((&[1, 0], &[])));
        words(group, ["query", "query"].map(str::to_owned).into_iter());
    });
    let message = Embeddings::read(&path, None, None).unwrap_err().to_string();
    assert!(message.contains("column 'label': row 2: has no label"), "{message}");
    crate::tools::put(&path, b"PAR1 and nothing else");
    let message = Embeddings::read(&path, None, None).unwrap_err().to_string();
    assert!(message.contains("cannot be read as parquet"), "{message}");
    let other = file(&folder, "e.bin");
    crate::tools::put(&other, b"PAR1 and nothing else");
    let message = Embeddings::read(&other, Some(2), Some(&path)).unwrap_err().to_string();
    assert!(message.contains("to end in .parquet"), "{message}");
}

/// The files of the fuzz corpus are those of pyarrow and polars.
#[test]
fn files_of_pyarrow_and_polars_are_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/embeddings_parquet");
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "e.parquet");
    let read = |name: &str| {
        std::fs::copy(corpus.join(name), &path).unwrap();
        Embeddings::read(&path, None, None)
    };
    let matrix = ndarray::Array2::from_shape_fn((3, 2), |(row, column)| (2 * row + column) as f32);
    for name in ["lists", "fixed_size", "columns", "halves", "polars"] {
        let read = read(name).unwrap();
        assert_eq!(read.matrix, matrix, "{name}");
        assert_eq!(read.rows.iter().map(|row| row.class).collect::<Vec<_>>(), [0, 1, 0], "{name}");
        let mut kept = OnDisk::open(&path, None, None, 1).unwrap();
        assert_eq!((kept.blocks.read(0..3).unwrap(), kept.rows), (matrix.clone(), read.rows), "{name}");
    }
    let fixed = read("fixed_size").unwrap();
    assert_eq!((fixed.classes, fixed.rows[1].name.as_str()), (vec!["4".to_owned(), "5".to_owned()], "b"));
    assert_eq!(read("columns").unwrap().rows[0].role, Role::Query);
    let message = |name: &str| read(name).unwrap_err().to_string();
    assert!(message("ragged").contains("'embedding': 5 numbers in 3 rows"), "{}", message("ragged"));
    assert!(message("missing").contains("'embedding': 5 numbers in 3 rows"), "{}", message("missing"));
}

#[test]
fn roles_and_names_are_called_as_those_of_lists() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "e.parquet");
    let kept = |columns: &str, fill: &dyn Fn(&mut Group<'_>, std::ops::Range<usize>)| {
        let schema = format!("required binary category (UTF8); {LIST} required binary file_name (UTF8); {columns}");
        write(&path, &schema, &[9, 20], |group, rows| {
            words(group, rows.clone().map(|at| format!("class {}", at % 5)));
            lists(group, rows.clone(), 3);
            words(group, rows.clone().map(|at| format!("{at}.jpg")));
            fill(group, rows);
        });
        Embeddings::read(&path, None, None)
    };
    let flags = |group: &mut Group<'_>, flags: Vec<bool>| put::<BoolType>(group, &flags, None);
    let queries = |rows: std::ops::Range<usize>| rows.map(|at| at % 3 == 0).collect::<Vec<_>>();
    let wanted = wanted(20, 3).rows.iter().map(|row| (row.name.clone(), row.role)).collect::<Vec<_>>();
    let same_as_wanted = |read: &Embeddings, said: &[&str]| {
        let rows = read.rows.iter().map(|row| (row.name.clone(), row.role)).collect::<Vec<_>>();
        assert_eq!(rows, wanted, "{said:?}");
        assert_eq!(read.notes.len(), said.len(), "{:?}", read.notes);
        said.iter()
            .for_each(|said| assert!(read.notes.iter().any(|note| note.contains(said)), "{said}: {:?}", read.notes));
    };
    let both = kept("required boolean is_query; required boolean is_gallery;", &|group, rows| {
        flags(group, queries(rows.clone()));
        flags(group, queries(rows).into_iter().map(|is_so| !is_so).collect());
    });
    same_as_wanted(&both.unwrap(), &[]);
    same(&path, None, None);
    let alone = kept("required boolean query;", &|group, rows| flags(group, queries(rows)));
    same_as_wanted(&alone.unwrap(), &["rows with False in column 'query' are the gallery"]);
    let numbers = kept("required int32 is_query;", &|group, rows| {
        put::<Int32Type>(group, &queries(rows).into_iter().map(i32::from).collect::<Vec<_>>(), None);
    });
    same_as_wanted(&numbers.unwrap(), &["rows with False in column 'is_query' are the gallery"]);
    let in_words = |group: &mut Group<'_>, rows| {
        words(group, queries(rows).into_iter().map(|is_so| if is_so { "query" } else { "Gallery" }.to_owned()));
    };
    for name in ["part", "status"] {
        let said = format!("column '{name}' is taken for the role of each row");
        same_as_wanted(&kept(&format!("required binary {name} (UTF8);"), &in_words).unwrap(), &[&said]);
    }
    // Of another kind.
    let parts = kept("required binary part (UTF8); required binary query (UTF8);", &|group, rows| {
        words(group, rows.clone().map(|_| "train".to_owned()));
        words(group, rows.map(|_| "true or so".to_owned()));
    });
    let parts = parts.unwrap();
    assert!(parts.rows.iter().all(|row| row.role == Role::Both));
    assert!(parts.notes[0].contains("nothing is read from column 'part', 'query'"), "{:?}", parts.notes);
    let said = kept("required boolean is_query; optional boolean is_gallery;", &|group, rows| {
        flags(group, rows.clone().map(|at| at == 0).collect());
        put::<BoolType>(group, &vec![true; rows.len() - 1], Some((&[vec![1; rows.len() - 1], vec![0]].concat(), &[])));
    });
    assert!(said.unwrap_err().to_string().contains("row 9: is neither query nor gallery"));
    let said = kept("optional boolean is_query;", &|group, rows| {
        put::<BoolType>(group, &vec![true; rows.len() - 1], Some((&[vec![1; rows.len() - 1], vec![0]].concat(), &[])));
    });
    let said = said.unwrap_err().to_string();
    assert!(said.contains("row 9: says neither of a query nor of the gallery, and other rows do"), "{said}");
}
