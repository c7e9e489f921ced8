//! Each format from its own files, and what is said when those are wrong.

use std::io::Write;
use std::path::{Path, PathBuf};

use matrw::{MatFile, matvar, save_matfile_v7};
use pdloss_embed::dataset::{Dataset, Format, Request, Role, Split};

use crate::tools::{fixtures, png, put, text};

fn request(path: impl Into<PathBuf>) -> Request {
    Request::of(path)
}

fn load(path: impl Into<PathBuf>) -> Dataset {
    Dataset::load(&request(path)).unwrap()
}

fn error(request: &Request) -> String {
    Dataset::load(request).unwrap_err().to_string()
}

fn names(data: &Dataset) -> Vec<&str> {
    data.items.iter().map(|item| item.name.as_str()).collect()
}

fn classes(data: &Dataset) -> Vec<&str> {
    data.items.iter().map(|item| data.classes[item.class].as_str()).collect()
}

fn pictures(root: &Path, names: &[&str]) {
    names.iter().for_each(|name| put(root.join(name), png([1, 2, 3])));
}

#[test]
fn folder_takes_the_innermost_folder_as_class() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["b/two.png", "a/x/one.JPG", "a/y/one.jpeg", ".hidden/.x.png"]);
    put(root.path().join("a/notes.txt"), "no image");
    let data = load(root.path());
    assert_eq!(data.format, Format::Folder);
    assert_eq!(names(&data), ["a/x/one.JPG", "a/y/one.jpeg", "b/two.png"]);
    assert_eq!(classes(&data), ["a/x", "a/y", "b"]);
    let part = Dataset::load(&Request { classes: vec![2, 3], ..request(root.path()) }).unwrap();
    assert_eq!(classes(&part), ["a/y", "b"]);
}

#[test]
fn archives_read_like_the_folder_they_hold() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["set/a/1.png", "set/a/2.png", "set/b/1.png"]);
    let folder = load(root.path());
    let place = tempfile::tempdir().unwrap();

    let zip_path = place.path().join("set.zip");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&zip_path).unwrap());
    let mut tar = tar::Builder::new(Vec::new());
    for name in names(&folder) {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&folder.source.read(name).unwrap()).unwrap();
        tar.append_path_with_name(root.path().join(name), format!("./{name}")).unwrap();
    }
    zip.finish().unwrap();
    let tar = tar.into_inner().unwrap();
    put(place.path().join("set.tar"), &tar);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar).unwrap();
    put(place.path().join("set.tar.gz"), gz.finish().unwrap());

    for name in ["set.zip", "set.tar", "set.tar.gz"] {
        let archive = load(place.path().join(name));
        assert_eq!(archive.items, folder.items, "{name}");
        assert_eq!(archive.source.read("set/b/1.png").unwrap(), png([1, 2, 3]), "{name}");
    }
    for (name, says) in [("bad.zip", "not a zip"), ("bad.tar", "not a tar"), ("bad.tgz", "not a gzip")] {
        put(place.path().join(name), "nothing of the kind, but long enough to be looked at twice".repeat(20));
        let message = error(&request(place.path().join(name)));
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn halves_are_of_the_classes_also_where_labels_are_other_numbers() {
    let place = tempfile::tempdir().unwrap();
    (0..10).for_each(|at| put(place.path().join(format!("{at}.png")), png([at * 20, 9, 9])));
    for first in [0, 1, 5, 100] {
        let list: String = (0..10).map(|at| format!("{at}.png,{}\n", first + at)).collect();
        put(place.path().join("list.csv"), format!("path,label\n{list}"));
        let part = |split| Dataset::load(&Request { split, ..request(place.path().join("list.csv")) }).unwrap();
        let (seen, unseen) = (part(Split::ZeroShotTrain), part(Split::ZeroShot));
        assert_eq!(names(&seen), ["0.png", "1.png", "2.png", "3.png", "4.png"], "labels from {first}");
        assert_eq!(names(&unseen), ["5.png", "6.png", "7.png", "8.png", "9.png"], "labels from {first}");
        assert_eq!(unseen.part, format!("zero-shot (classes {}-{})", first + 5, first + 9));
    }
}

#[test]
fn cub_measures_the_second_half_of_its_classes() {
    let data = load(fixtures().join("shapes"));
    assert_eq!(data.format, Format::Cub);
    assert_eq!((data.items.len(), data.classes.len()), (160, 10));
    assert_eq!(data.part, "zero-shot (classes 11-20)");
    assert_eq!(data.classes[0], "011.triangle_stripes");
    let with =
        |split, classes| Dataset::load(&Request { split, classes, ..request(fixtures().join("shapes")) }).unwrap();
    assert_eq!(with(Split::All, vec![]).items.len(), 320);
    assert_eq!(with(Split::Train, vec![]).items.len(), 160);
    assert_eq!(with(Split::Test, vec![3]).items.len(), 8);
    assert_eq!(with(Split::Protocol, vec![1, 2]).items.len(), 32);
    for part in [Split::ProtocolTrain, Split::ZeroShotTrain] {
        let seen = with(part, vec![]);
        assert_eq!(seen.part, "zero-shot train (classes 1-10)");
        assert!(seen.classes.len() == 10 && seen.classes.iter().all(|class| !data.classes.contains(class)));
    }
    assert_eq!(with(Split::ProtocolTrain, vec![11, 12]).items.len(), 32);
}

#[test]
fn cub_is_found_one_folder_down() {
    let root = tempfile::tempdir().unwrap();
    let inside = root.path().join("CUB_200_2011");
    put(inside.join("images.txt"), "1 001.a/x.png\n2 002.b/y.png\n");
    put(inside.join("image_class_labels.txt"), "1 1\n2 2\n");
    put(inside.join("classes.txt"), "1 001.a\n2 002.b\n");
    pictures(&inside, &["images/001.a/x.png", "images/002.b/y.png"]);
    assert_eq!(names(&load(root.path())), ["CUB_200_2011/images/002.b/y.png"]);

    put(inside.join("image_class_labels.txt"), "1 1\n");
    let message = error(&request(root.path()));
    assert!(message.contains("images.txt has 2 lines and image_class_labels.txt 1"), "{message}");
    put(inside.join("image_class_labels.txt"), "1 1\n2 two\n");
    assert!(error(&request(root.path())).contains("'two' is not a whole number"));
}

#[test]
fn cars196_reads_both_forms_of_its_matlab_files() {
    let root = tempfile::tempdir().unwrap();
    let annos = |name: &str, variable| {
        let mut file = MatFile::new();
        file.insert("annotations", variable);
        save_matfile_v7(text(&root.path().join(name)), file, false).unwrap();
    };
    annos(
        "cars_annos.mat",
        matvar!([
            { relative_im_path: "car_ims/000001.jpg", class: 1.0, test: 0.0 },
            { relative_im_path: "car_ims/000002.jpg", class: 150.0, test: 1.0 },
        ]),
    );
    pictures(root.path(), &["car_ims/000001.jpg", "car_ims/000002.jpg"]);
    let data = load(root.path());
    assert_eq!(data.format, Format::Cars196);
    assert_eq!((names(&data), classes(&data)), (vec!["car_ims/000002.jpg"], vec!["150"]));

    let devkit = |file: &str, class: f64| {
        annos(file, matvar!([{ fname: "00001.jpg", class: (class) }, { fname: "00002.jpg", class: (class + 1.0) }]));
    };
    std::fs::remove_file(root.path().join("cars_annos.mat")).unwrap();
    devkit("cars_train_annos.mat", 99.0);
    let message = error(&Request { format: Format::Cars196, ..request(root.path()) });
    assert!(message.contains("wants cars_test_annos_withlabels.mat"), "{message}");
    devkit("cars_test_annos_withlabels.mat", 120.0);
    pictures(
        root.path(),
        &["cars_train/00001.jpg", "cars_train/00002.jpg", "cars_test/00001.jpg", "cars_test/00002.jpg"],
    );
    let data = load(root.path());
    assert_eq!(classes(&data), ["99", "100", "120", "121"]);
    put(root.path().join("cars_test_annos_withlabels.mat"), "no matlab at all");
    assert!(error(&request(root.path())).contains("not a MATLAB 5 file"));
}

#[test]
fn sop_measures_its_test_part() {
    let root = tempfile::tempdir().unwrap();
    let header = "image_id class_id super_class_id path\n";
    put(root.path().join("Ebay_train.txt"), format!("{header}1 1 1 bicycle_final/a.JPG\n"));
    put(root.path().join("Ebay_test.txt"), format!("{header}2 7 1 bicycle_final/b.JPG\n3 8 1 bicycle_final/c.JPG\n"));
    pictures(root.path(), &["bicycle_final/a.JPG", "bicycle_final/b.JPG", "bicycle_final/c.JPG"]);
    let data = load(root.path());
    assert_eq!(data.format, Format::Sop);
    assert_eq!(classes(&data), ["7", "8"]);
    assert_eq!(data.format.usual_ks(), [1, 10, 100, 1000]);
    for split in [Split::Train, Split::ProtocolTrain] {
        let train = Dataset::load(&Request { split, ..request(root.path()) }).unwrap();
        assert_eq!(names(&train), ["bicycle_final/a.JPG"]);
    }
    put(root.path().join("Ebay_test.txt"), format!("{header}2 7 bicycle_final/b.JPG\n"));
    assert!(error(&request(root.path())).contains("line 2: wanted 'image_id class_id super_class_id path'"));
    put(root.path().join("Ebay_test.txt"), "image_id super_class_id class_id path\n2 1 7 bicycle_final/b.JPG\n");
    assert!(error(&request(root.path())).contains("line 1: its columns are 'image_id super_class_id class_id path'"));
}

#[test]
fn inshop_keeps_queries_and_gallery_apart() {
    let root = tempfile::tempdir().unwrap();
    let list = "4\nimage_name item_id evaluation_status\n\
                img/a.jpg id_1 train\nimg/b.jpg id_2 query\nimg/c.jpg id_2 gallery\nimg/d.jpg id_3 gallery\n";
    put(root.path().join("Eval/list_eval_partition.txt"), list);
    pictures(root.path(), &["Img/img/a.jpg", "Img/img/b.jpg", "Img/img/c.jpg", "Img/img/d.jpg"]);
    let data = load(root.path());
    assert_eq!(data.format, Format::Inshop);
    let roles: Vec<_> = data.items.iter().map(|i| i.role).collect();
    assert_eq!(roles, [Role::Query, Role::Gallery, Role::Gallery]);
    assert_eq!(classes(&data), ["id_2", "id_2", "id_3"]);
    put(root.path().join("Eval/list_eval_partition.txt"), list.replacen('4', "5", 1));
    assert!(error(&request(root.path())).contains("says 5 images, 4 follow"));
    put(root.path().join("Eval/list_eval_partition.txt"), list.replace("query", "probe"));
    assert!(error(&request(root.path())).contains("status 'probe'"));
}

#[test]
fn lists_choose_their_label_column() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["a.png", "b.png", "c.png"]);
    let path = root.path().join("test.txt");
    let with = |content: &str, label: Option<&str>| {
        put(&path, content);
        Dataset::load(&Request { label: label.map(str::to_owned), ..request(&path) })
    };
    let plain = "a.png, 10, 0\nb.png, 9, 0\r\nc.png, 10, 1\n";
    let data = with(plain, None).unwrap();
    assert_eq!(data.format, Format::List);
    assert_eq!(classes(&data), ["10", "9", "10"]);
    assert_eq!(data.classes, ["9", "10"], "numbers sort as numbers");
    assert_eq!(classes(&with(plain, Some("2")).unwrap()), ["0", "0", "1"]);
    let headed = "\u{feff}file;fine;coarse;role\na.png;x;u;query\nb.png;y;u;gallery\n";
    let data = with(headed, Some("coarse")).unwrap();
    assert_eq!(classes(&data), ["u", "u"]);
    assert_eq!(data.items[0].role, Role::Query);

    let message = |content: &str, label| with(content, label).unwrap_err().to_string();
    assert!(message(headed, Some("colour")).contains("no label column 'colour'; columns by name: fine, coarse"));
    assert!(message(plain, Some("3")).contains("by number: 1 to 2"));
    assert!(message("a.png, 1, 2\nb.png, 1\n", None).contains("line 2: 2 fields, where line 1 has 3"));
    assert!(message("a.png, 1\nb.png,\n", None).contains("line 2: the label is empty"));
    assert!(message("a.png\n", None).contains("wanted a path and at least one label"));
    assert!(message("", None).contains("is empty"));
    let missing = message("a.png, 1\nz.png, 2\ny.png, 2\n", None);
    assert!(missing.contains("2 of which are not there; the first is z.png"), "{missing}");
}

#[test]
fn parts_that_leave_nothing_or_do_not_exist_are_refused() {
    let root = tempfile::tempdir().unwrap();
    assert!(error(&request(root.path())).contains("no images found"));
    pictures(root.path(), &["a/1.png"]);
    assert!(error(&Request { split: Split::Test, ..request(root.path()) }).contains("no train and test parts"));
    let message = error(&Request { classes: vec![1, 7, 8, 9], ..request(root.path()) });
    assert!(message.contains("has no images of class 7-9; it has classes 1"), "{message}");
    assert!(error(&Request { label: Some("x".into()), ..request(root.path()) }).contains("--label"));
    assert!(error(&request(root.path().join("nowhere"))).contains("nowhere: cannot read"));
    put(root.path().join("loose.png"), png([0, 0, 0]));
    assert!(error(&request(root.path())).contains("loose.png lies in no class folder"));
}
