//! Folders that are parts, numbers, hidden, or that hold what is not decoded; data sets that look like another.

use std::path::Path;

use pdloss_embed::dataset::{Dataset, Format, Request, Role, Split};

use crate::tools::{png, put};

fn pictures(root: &Path, names: &[&str]) {
    // Each image has bytes of its own.
    names.iter().enumerate().for_each(|(at, name)| put(root.join(name), png([at as u8, 2, 3])));
}

fn load(root: &Path, split: Split) -> Dataset {
    Dataset::load(&Request { split, ..Request::of(root) }).unwrap()
}

fn refused(request: &Request) -> String {
    Dataset::load(request).unwrap_err().to_string()
}

fn names(data: &Dataset) -> Vec<&str> {
    data.items.iter().map(|item| item.name.as_str()).collect()
}

#[test]
fn parts_are_no_classes_and_classes_are_joined_across_them() {
    for (train, held) in [("train", "val"), ("Training", "valid"), ("images/train", "images/validation")] {
        let root = tempfile::tempdir().unwrap();
        let name = |part: &str, rest: &str| format!("{part}/{rest}");
        let all = [name(train, "a/1.png"), name(train, "b/2.png"), name(held, "a/3.png"), name(held, "b/4.png")];
        pictures(root.path(), &all.each_ref().map(String::as_str));
        let data = load(root.path(), Split::Protocol);
        assert_eq!((data.items.len(), data.classes.as_slice()), (4, ["a".to_owned(), "b".to_owned()].as_slice()));
        assert!(data.notes[0].contains("measured together: train (2 images), val (2 images)"), "{:?}", data.notes);
        assert_eq!(names(&load(root.path(), Split::Val)), [&all[2], &all[3]]);
        assert_eq!(names(&load(root.path(), Split::ProtocolTrain)), [&all[0], &all[1]]);
        let message = refused(&Request { split: Split::Test, ..Request::of(root.path()) });
        assert!(message.contains("has no part 'test'; its parts are train (2 images), val (2 images)"), "{message}");
    }
}

#[test]
fn parts_in_other_words_and_below_the_classes_are_parts() {
    let all = ["a/1.png", "b/2.png", "a/3.png", "b/4.png"];
    for (train, held) in
        [("train_images", "test_images"), ("Train2017", "Val2017"), ("trainset", "holdout"), ("train", "dev")]
    {
        let root = tempfile::tempdir().unwrap();
        let named: Vec<_> = (0..4).map(|at| format!("{}/{}", if at < 2 { train } else { held }, all[at])).collect();
        pictures(root.path(), &named.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(load(root.path(), Split::Protocol).classes, ["a", "b"], "{train} {held}");
        // What is validated on is not what is trained on.
        assert_eq!(names(&load(root.path(), Split::ProtocolTrain)), [&named[0], &named[1]]);
        assert_eq!(names(&load(root.path(), Split::ProtocolVal)), [&named[2], &named[3]]);
    }
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["a/train/1.png", "a/test/2.png", "x/b/train/3.png", "x/b/test/4.png"]);
    let data = load(root.path(), Split::Protocol);
    assert_eq!(data.classes, ["a", "x/b"]);
    assert_eq!(names(&load(root.path(), Split::Test)), ["a/test/2.png", "x/b/test/4.png"]);
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["a/query/1.png", "a/gallery/2.png", "b/gallery/3.png"]);
    assert_eq!(load(root.path(), Split::Protocol).items.iter().filter(|item| item.role == Role::Query).count(), 1);
}

#[test]
fn folders_without_a_file_are_said() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["a/1.png", "b/2.png", "x/y/c/3.png"]);
    let said = || load(root.path(), Split::Protocol).notes;
    assert_eq!(said(), [""; 0]);
    for folder in ["d", "x/e/f", ".cache"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    assert_eq!(said(), ["2 folders hold no file: d/, x/e/"]);
}

#[test]
fn what_queries_search_may_be_called_by_other_names() {
    for (query, searched) in [("query", "index"), ("queries", "reference"), ("probe", "enroll"), ("query", "db_images")]
    {
        let root = tempfile::tempdir().unwrap();
        let name = |folder: &str, rest: &str| format!("{folder}/{rest}");
        let all =
            [name(query, "a/1.png"), name(query, "b/2.png"), name(searched, "a/3.png"), name(searched, "b/4.png")];
        pictures(root.path(), &all.each_ref().map(String::as_str));
        let data = load(root.path(), Split::Protocol);
        assert_eq!(data.classes, ["a", "b"], "{query} {searched}");
        let searching = data.items.iter().filter(|item| item.role == Role::Query);
        assert_eq!(searching.map(|item| &item.name).collect::<Vec<_>>(), [&all[0], &all[1]]);
        assert_eq!(data.items.iter().filter(|item| item.role == Role::Gallery).count(), 2);
    }
}

#[test]
fn class_folders_called_alike_in_several_places_are_said() {
    for (one, other) in [("seen", "unseen"), ("images", "masks"), ("greek", "latin/old")] {
        let root = tempfile::tempdir().unwrap();
        let all = [
            format!("{one}/a/1.png"),
            format!("{one}/b/2.png"),
            format!("{other}/a/3.png"),
            format!("{other}/c/4.png"),
        ];
        pictures(root.path(), &all.each_ref().map(String::as_str));
        let data = load(root.path(), Split::Protocol);
        assert_eq!(data.classes.len(), 4);
        let wanted = format!(
            "1 of 3 names of class folders are there in several places and count as different classes, as 'a' in {one}/, {other}/"
        );
        assert!(data.notes.iter().any(|note| note.contains(&wanted)), "{:?}", data.notes);
    }
}

#[test]
fn queries_and_gallery_alone_have_no_roles() {
    for (part, says) in
        [("query", "neither gallery nor test"), ("gallery", "a gallery and no query"), ("probe", "search each other")]
    {
        let root = tempfile::tempdir().unwrap();
        let all = ["a/1.png", "a/2.png", "b/3.png"].map(|name| format!("{part}/{name}"));
        pictures(root.path(), &all.each_ref().map(String::as_str));
        let data = load(root.path(), Split::Protocol);
        assert!(data.items.iter().all(|item| item.role == Role::Both), "{part}");
        assert!(data.notes.iter().any(|note| note.contains(says)), "{part}: {:?}", data.notes);
    }
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["query/a/1.png", "gallery/a/2.png", "gallery/b/3.png", "test/a/4.png"]);
    let data = load(root.path(), Split::Protocol);
    assert_eq!(data.items.len(), 3);
    assert!(data.notes.iter().any(|note| note.contains("left out the folder test")), "{:?}", data.notes);
}

#[test]
fn classes_are_one_in_either_form_of_their_accents_and_two_in_other_spellings() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["caf\u{e9}/1.png", "cafe\u{301}/2.png", "Tea/3.png", "tea/4.png"]);
    let data = load(root.path(), Split::Protocol);
    assert_eq!(data.classes.len(), 3, "{:?}", data.classes);
    assert!(data.notes.iter().any(|note| note.contains("nearly the same") && note.contains("'Tea' and 'tea'")));
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["class_1/a.png", "class_2/b.png", "class_10/c.png", "class_11/d.png"]);
    let request = Request { classes: vec![1, 2], ..Request::of(root.path()) };
    let data = Dataset::load(&request).unwrap();
    assert_eq!(data.classes, ["class_1", "class_2"]);
    assert!(data.notes.contains(&"--classes takes class_1, class_2".to_owned()), "{:?}", data.notes);
}

#[test]
fn queries_search_the_gallery() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["query/a/1.png", "gallery/a/2.png", "gallery/b/3.png", "train/c/4.png", "loose/5.png"]);
    let data = load(root.path(), Split::Protocol);
    let roles: Vec<_> = data.items.iter().map(|item| (item.name.as_str(), item.role)).collect();
    let wanted =
        [("gallery/a/2.png", Role::Gallery), ("gallery/b/3.png", Role::Gallery), ("query/a/1.png", Role::Query)];
    assert_eq!(roles, wanted);
    assert!(data.notes.iter().any(|n| n.contains("left out 1 file in no class folder") && n.contains("loose/5.png")));

    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["query/a/1.png", "test/a/2.png", "test/b/3.png"]);
    assert_eq!(
        load(root.path(), Split::Protocol).items[2].role,
        Role::Gallery,
        "where there is no gallery, test is it"
    );
}

#[test]
fn market_1501_has_persons_cameras_and_junk() {
    let root = tempfile::tempdir().unwrap();
    let files = [
        "query/0002_c1s1_000451_03.jpg",
        "bounding_box_test/0002_c1s1_000551_01.jpg",
        "bounding_box_test/0002_c2s1_000301_01.jpg",
        "bounding_box_test/-1_c3s2_064619_05.jpg",
        "bounding_box_test/0000_c1s1_000151_01.jpg",
        "bounding_box_test/0000_c2s1_000152_01.jpg",
        "bounding_box_train/0007_c3s3_077419_03.jpg",
        "gt_bbox/0002_c1s1_000451_00.jpg",
    ];
    pictures(root.path(), &files);
    put(root.path().join("readme.txt"), "Market-1501");
    put(root.path().join("query/0002_c2s1_000701_00.heic"), "no picture");
    let data = load(root.path(), Split::Protocol);
    let passed = data.notes.iter().find(|note| note.contains("not decoded")).unwrap();
    assert!(passed.contains("passed over 2 files") && passed.contains("1 .heic"), "{passed}");
    assert_eq!((data.format, data.part.as_str()), (Format::Market, "test"));
    let nobodys = ["distractor 0000_c1s1_000151_01.jpg", "distractor 0000_c2s1_000152_01.jpg"];
    assert_eq!(data.classes, ["0002", nobodys[0], nobodys[1]]);
    assert!(data.notes.iter().any(|n| n.starts_with("2 files of person 0 in the gallery")), "{:?}", data.notes);
    let cameras: Vec<_> = data.items.iter().map(|item| item.camera).collect();
    assert_eq!(cameras, [Some(1), Some(2), Some(1), Some(2), Some(1)]);
    assert!(data.notes.iter().any(|n| n.contains("left out 1 file of person -1")), "{:?}", data.notes);
    assert_eq!(names(&load(root.path(), Split::Train)), ["bounding_box_train/0007_c3s3_077419_03.jpg"]);
    // Where a query is of person 0, that is somebody.
    pictures(root.path(), &["query/0000_c3s1_000153_01.jpg"]);
    assert_eq!(load(root.path(), Split::Protocol).classes, ["0000", "0002"]);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_passed_over_and_said() {
    use std::os::unix::ffi::OsStrExt;

    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["a/1.png", "b/2.png"]);
    for name in [b"a/caf\xe9.png", b"a/caf\xe8.png"] {
        let path = root.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::copy(root.path().join("a/1.png"), path).unwrap();
    }
    let data = load(root.path(), Split::Protocol);
    assert_eq!(names(&data), ["a/1.png", "b/2.png"]);
    let notes = data.notes.join("\n");
    assert!(
        notes.contains("passed over 2 entries that cannot be read: a/caf") && notes.contains("is not UTF-8"),
        "{notes}"
    );
}

#[test]
fn what_is_hidden_or_not_decoded_is_counted() {
    let root = tempfile::tempdir().unwrap();
    pictures(
        root.path(),
        &["a/1.png", "b/2.png", "a/.ipynb_checkpoints/1.png", "@eaDir/b/2.png", "b/.cache/x.png", "__MACOSX/a/1.png"],
    );
    pictures(
        root.path(),
        &["#snapshot/a/1.png", "@Recycle/1.png", "a/@__thumb/1.png", "b/__pycache__/1.png", ".Trash-0/1.png"],
    );
    for name in ["a/x.heic", "a/y.HEIC", "b/z.avif", "b/i.svg", "notes.txt", "b/Thumbs.db", "LICENSE"] {
        put(root.path().join(name), "no picture");
    }
    let data = load(root.path(), Split::Protocol);
    assert_eq!(names(&data), ["a/1.png", "b/2.png"]);
    let notes = data.notes.join("\n");
    assert!(notes.contains("passed over 10 files hidden: "), "{notes}");
    assert!(notes.contains("1 in .ipynb_checkpoints") && notes.contains("1 in #snapshot"), "{notes}");
    let kinds = "passed over 6 files of kinds that are not decoded: 2 .heic, ";
    assert!(notes.contains(kinds) && notes.contains("1 without ending"), "{notes}");

    let only = tempfile::tempdir().unwrap();
    put(only.path().join("a/x.heic"), "no picture");
    assert!(
        refused(&Request::of(only.path())).contains("no images found (read as format folder); passed over 1 file of")
    );
}

#[cfg(unix)]
#[test]
fn links_to_nowhere_stop_nothing_unless_they_are_images() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["a/1.png", "b/2.png"]);
    symlink("/nowhere/readme.txt", root.path().join("README.txt")).unwrap();
    symlink(root.path(), root.path().join("a/loop")).unwrap();
    let data = load(root.path(), Split::Protocol);
    assert_eq!(names(&data), ["a/1.png", "b/2.png"]);
    let notes = data.notes.join("\n");
    assert!(notes.contains("passed over 2 entries that cannot be read: "), "{notes}");
    assert!(notes.contains("README.txt (a link to /nowhere/readme.txt, which is not there)"), "{notes}");
    assert!(notes.contains("a/loop (a link to "), "{notes}");
    // Nor does what is no file.
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("a/2.png")).unwrap();
    let notes = load(root.path(), Split::Protocol).notes.join("\n");
    assert!(notes.contains("passed over 3 entries") && notes.contains("a/2.png (no regular file)"), "{notes}");
    symlink("/nowhere/3.png", root.path().join("b/3.png")).unwrap();
    let data = load(root.path(), Split::Protocol);
    assert_eq!(names(&data)[2], "b/3.png");
    assert!(data.source.read("b/3.png").unwrap_err().to_string().contains("b/3.png: cannot read"));
}

#[test]
fn folders_called_by_numbers_are_chosen_by_them() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["1/a.png", "10/b.png", "100/c.png", "2/d.png", "0/e.png"]);
    let chosen = |classes: &[usize]| Dataset::load(&Request { classes: classes.into(), ..Request::of(root.path()) });
    let data = chosen(&[0, 2, 10]).unwrap();
    assert_eq!(data.classes, ["0", "2", "10"]);
    assert_eq!(data.part, "all, 3 classes by number: 0, 2, 10");
    let error = chosen(&[3, 4, 5, 100]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("no images of class 3-5; it has classes 0-2, 10, 100"), "{error}");
}

/// As archives have it.
#[test]
fn a_folder_that_all_classes_lie_in_is_no_part_of_their_names_and_numbers() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["top/in/0/a.png", "top/in/1/b.png", "top/in/2/c.png", "top/in/10/d.png"]);
    let data = Dataset::load(&Request { classes: vec![1, 2], ..Request::of(root.path()) }).unwrap();
    assert_eq!(
        (names(&data), data.classes.as_slice()),
        (vec!["top/in/1/b.png", "top/in/2/c.png"], ["1".to_owned(), "2".to_owned()].as_slice())
    );
    pictures(root.path(), &["top/out/3/e.png"]);
    assert_eq!(load(root.path(), Split::Protocol).classes, ["in/0", "in/1", "in/2", "in/10", "out/3"]);
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["one/a.png", "one/b.png"]);
    assert_eq!(load(root.path(), Split::Protocol).classes, ["one"]);
}

#[test]
fn cub_may_be_cut_and_nabirds_has_words_for_ids() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["images/a/x.png", "images/b/y.png"]);
    let lists = |images: &str, labels: &str, classes: &str| {
        put(root.path().join("images.txt"), images);
        put(root.path().join("image_class_labels.txt"), labels);
        put(root.path().join("classes.txt"), classes);
        Dataset::load(&Request::of(root.path())).map_err(|e| e.to_string())
    };
    let cut = lists("1 a/x.png\n2 b/y.png\n", "1 1\n2 2\n", "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n");
    assert!(cut.unwrap_err().contains("zero-shot (classes 101-200)' holds none of the 2 images"));
    let birds = lists("x-1 a/x.png\nx-2 b/y.png\n", "x-1 1\nx-2 2\n", "1 c\n2 g\n").unwrap();
    assert!(birds.notes.iter().any(|note| note.starts_with("there is no train_test_split.txt")), "{:?}", birds.notes);
    let data = lists("1 a/x.png\n2 b/y.png\n", "1 3\n2 7\n", "3 c\n7 g\n").unwrap();
    assert_eq!(data.classes, ["g"]);
    assert!(data.notes[0].contains("numbered up to 7: taken for a part of 7 classes"), "{:?}", data.notes);
    let wrong = |images: &str, labels: &str, classes: &str| lists(images, labels, classes).unwrap_err();
    assert!(
        wrong("1 a/x.png\n2 b/y.png\n", "1 1\n2 9\n", "1 a\n2 b\n").contains("line 2: class 9 is not in classes.txt")
    );
    assert!(
        wrong("1 a/x.png\n1 b/y.png\n", "1 1\n2 2\n", "1 a\n2 b\n")
            .contains("images.txt: line 2: id 1 is there already")
    );
    assert!(
        wrong("1 a/x.png\n2 b/y.png\n", "2 1\n2 2\n", "1 a\n2 b\n")
            .contains("line 2: id 2 is there already, in line 1")
    );

    put(root.path().join("train_test_split.txt"), "00-a7 1\n11-b9 0\n");
    let birds =
        lists("00-a7 a/x.png\n11-b9 b/y.png\n", "00-a7 817\n11-b9 860\n", "817 Oldsquaw\n860 Merlin\n").unwrap();
    assert_eq!((birds.part.as_str(), birds.classes.as_slice()), ("test", ["Merlin".to_owned()].as_slice()));
}

#[test]
fn celebas_partition_is_not_inshops() {
    let root = tempfile::tempdir().unwrap();
    pictures(
        root.path(),
        &["img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg", "img_align_celeba/000003.jpg"],
    );
    put(root.path().join("list_eval_partition.txt"), "000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n");
    let message = refused(&Request::of(root.path()));
    assert!(message.contains("wanted identity_CelebA.txt too"), "{message}");
    put(root.path().join("identity_CelebA.txt"), "000001.jpg 2880\n000002.jpg 2937\n000003.jpg 8692\n");
    let data = load(root.path(), Split::Protocol);
    assert_eq!((data.format, names(&data)), (Format::Celeba, vec!["img_align_celeba/000003.jpg"]));
    assert_eq!(load(root.path(), Split::All).classes, ["2880", "2937", "8692"]);
    put(root.path().join("list_eval_partition.txt"), "000001.jpg 0\n000002.jpg 3\n000003.jpg 2\n");
    let celeba = Request { format: Format::Celeba, ..Request::of(root.path()) };
    assert!(refused(&celeba).contains("line 2: part 3 is none of 0 (train)"));
}

#[test]
fn two_data_sets_in_one_folder_are_named() {
    let root = tempfile::tempdir().unwrap();
    for copy in ["old", "new"] {
        put(root.path().join(copy).join("image_class_labels.txt"), "1 1\n");
    }
    assert!(refused(&Request::of(root.path())).contains("image_class_labels.txt is there 2 times, in new/ and old/"));
}

#[test]
fn folders_that_are_called_like_parts_are_classes_only_where_that_is_asked_for() {
    for folders in
        [["query", "gallery"], ["train", "test"], ["bounding_box_test", "query"], ["val_images", "train2017"]]
    {
        let root = tempfile::tempdir().unwrap();
        // As MSMT17 and CUHK03 name their images, which is not as Market-1501 does.
        let names = folders.map(|folder| [1, 2].map(|n| format!("{folder}/000{n}_000_01_0303morning_{n}.png")));
        pictures(root.path(), &names.iter().flatten().map(String::as_str).collect::<Vec<_>>());
        let message = refused(&Request::of(root.path()));
        assert!(message.contains("called like parts of a data set and name no class"), "{folders:?}: {message}");
        assert!(message.contains(&format!("{}/", folders[0])) && message.contains("--format folder"), "{message}");
        let asked = Request { format: Format::Folder, ..Request::of(root.path()) };
        let data = Dataset::load(&asked).unwrap();
        assert_eq!(data.classes.len(), 2);
        assert!(data.notes.iter().any(|note| note.contains("and count as classes")), "{:?}", data.notes);
    }
}

#[test]
fn images_without_labels_below_a_part_are_no_class() {
    for (held, class) in
        [("test/unknown/1.png", "a/1.png"), ("test/test/1.png", "a/1.png"), ("val/images/1.png", "a/images/1.png")]
    {
        let root = tempfile::tempdir().unwrap();
        let train = [format!("train/{class}"), format!("train/{}", class.replace('a', "b"))];
        pictures(root.path(), &[train[0].as_str(), &train[1], held, &held.replace("/1", "/2")]);
        let data = load(root.path(), Split::Protocol);
        assert_eq!(names(&data), [&train[0], &train[1]], "{held}");
        assert!(
            data.notes.iter().any(|note| note.contains("left out 2 files of a part that has one folder")),
            "{:?}",
            data.notes
        );
        let message = refused(&Request { split: Split::Test, ..Request::of(root.path()) });
        assert!(message.contains("has no part 'test'") && message.contains("; left out 2 files"), "{message}");
    }
    // Two of them, as in Tiny ImageNet, are no classes for each other.
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["train/a/1.png", "train/b/2.png", "val/images/3.png", "test/images/4.png"]);
    let data = load(root.path(), Split::Protocol);
    assert_eq!(data.classes, ["a", "b"]);
    assert!(data.notes.iter().any(|note| note.contains("left out 2 files")), "{:?}", data.notes);
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["train_mini/a/1.png", "train_mini/b/2.png", "val/a/3.png"]);
    assert_eq!(load(root.path(), Split::Train).classes, ["a", "b"], "iNaturalist's small part");
}

#[test]
fn training_on_what_is_measured_for_want_of_a_training_part_is_said() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["query/a/1.png", "query/b/2.png", "gallery/a/3.png", "gallery/b/4.png"]);
    let data = load(root.path(), Split::ProtocolTrain);
    assert!(
        data.notes.iter().any(|note| note.contains("no training part") && note.contains("part test")),
        "{:?}",
        data.notes
    );
    pictures(root.path(), &["train/a/5.png", "train/b/6.png"]);
    let data = load(root.path(), Split::ProtocolTrain);
    assert!(
        data.part == "train" && !data.notes.iter().any(|note| note.contains("no training part")),
        "{:?}",
        data.notes
    );
}

#[test]
fn parts_that_lie_beside_other_folders_are_said_or_refused() {
    let root = tempfile::tempdir().unwrap();
    pictures(
        root.path(),
        &["market/query/0001_c1s1_1.png", "market/bounding_box_test/0001_c2s1_2.png", "other/a/1.png", "other/b/2.png"],
    );
    let message = refused(&Request::of(root.path()));
    assert!(
        message.contains("market/bounding_box_test/, market/query/, which are called like parts of a data set"),
        "{message}"
    );
    let asked = Request { format: Format::Folder, ..Request::of(root.path()) };
    assert!(Dataset::load(&asked).unwrap().notes.iter().any(|note| note.contains("and count as classes")));
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["pets/train/cat/1.png", "pets/val/dog/2.png", "cars/vw/3.png", "cars/bmw/4.png"]);
    let data = load(root.path(), Split::Protocol);
    assert!(
        data.notes
            .iter()
            .any(|note| note.starts_with("pets/train/, pets/val/ are called like parts of a data set, but lie")),
        "{:?}",
        data.notes
    );
    // One folder that is called like a part is none.
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["land/train/1.png", "land/car/2.png", "water/boat/3.png"]);
    assert_eq!(load(root.path(), Split::Protocol).notes, [] as [String; 0]);
}

#[test]
fn a_part_beside_folders_of_other_names_is_said() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["set/train/a/1.png", "set/train/b/2.png", "set/unseen/c/3.png", "set/unseen/d/4.png"]);
    let data = load(root.path(), Split::Protocol);
    assert_eq!(data.classes.len(), 4);
    let said = "train/ is called like a part of a data set, and unseen/ beside it not like one";
    assert!(data.notes.iter().any(|note| note.starts_with(said)), "{:?}", data.notes);
    for held in ["test (1)", "Validate", "tests"] {
        let root = tempfile::tempdir().unwrap();
        pictures(root.path(), &["train/a/1.png", "train/b/2.png", &format!("{held}/c/3.png")]);
        assert_eq!(load(root.path(), Split::Train).classes, ["a", "b"], "{held}");
    }
}

#[test]
fn several_folders_of_one_part_are_said() {
    let root = tempfile::tempdir().unwrap();
    let views = ["query_drone", "query_satellite", "gallery_drone", "gallery_satellite"];
    let all: Vec<String> =
        views.iter().flat_map(|view| ["a", "b"].map(|class| format!("{view}/{class}/1.png"))).collect();
    pictures(root.path(), &all.iter().map(String::as_str).collect::<Vec<_>>());
    let data = load(root.path(), Split::Protocol);
    let said =
        "taken together, as of one part: query_drone/ and query_satellite/, gallery_drone/ and gallery_satellite/";
    assert!(data.notes.contains(&said.to_owned()), "{:?}", data.notes);
    let one = tempfile::tempdir().unwrap();
    pictures(one.path(), &["query/a/1.png", "gallery/a/2.png"]);
    assert!(!load(one.path(), Split::Protocol).notes.iter().any(|note| note.contains("taken together")));
}

#[test]
fn several_markets_are_no_classes() {
    let root = tempfile::tempdir().unwrap();
    let image = |set: &str, rest: &str| format!("{set}/{rest}");
    let all: Vec<String> = ["market", "duke"]
        .iter()
        .flat_map(|set| ["query/0001_c1s1_1.png", "bounding_box_test/0001_c2s1_2.png"].map(|rest| image(set, rest)))
        .collect();
    pictures(root.path(), &all.iter().map(String::as_str).collect::<Vec<_>>());
    let message = refused(&Request::of(root.path()));
    assert!(message.contains("duke/, market/ hold sets such as Market-1501"), "{message}");
    assert_eq!(load(&root.path().join("market"), Split::Protocol).format, Format::Market);
    let asked = Request { format: Format::Folder, ..Request::of(root.path()) };
    assert_eq!(Dataset::load(&asked).unwrap().classes, ["duke", "market"]);
}

#[test]
fn mars_is_read_by_its_parts() {
    let root = tempfile::tempdir().unwrap();
    pictures(
        root.path(),
        &[
            "bbox_train/0001/1.png",
            "bbox_train/0003/2.png",
            "bbox_test/0002/3.png",
            "bbox_test/0004/4.png",
            "bbox_test/00-1/5.png",
        ],
    );
    let data = load(root.path(), Split::Test);
    assert_eq!(data.classes.len(), 3);
    assert!(data.notes.iter().any(|note| note.starts_with("folder 00-1 counts as one class")), "{:?}", data.notes);
    assert_eq!(names(&load(root.path(), Split::Train)), ["bbox_train/0001/1.png", "bbox_train/0003/2.png"]);
}

#[test]
fn images_that_a_data_sets_lists_do_not_name_are_said() {
    let root = tempfile::tempdir().unwrap();
    put(root.path().join("cub/images.txt"), "1 a/1.png\n2 b/2.png\n");
    put(root.path().join("cub/image_class_labels.txt"), "1 1\n2 2\n");
    put(root.path().join("cub/classes.txt"), "1 a\n2 b\n");
    pictures(root.path(), &["cub/images/a/1.png", "cub/images/b/2.png"]);
    let said = |data: &Dataset| data.notes.iter().any(|note| note.contains("lists do not name"));
    assert!(!said(&load(root.path(), Split::All)));
    pictures(root.path(), &["cars/vw/3.png"]);
    let data = load(root.path(), Split::All);
    assert_eq!(names(&data), ["cub/images/a/1.png", "cub/images/b/2.png"]);
    assert!(
        data.notes.contains(&"left out 1 file that the data set's lists do not name: cars/vw/3.png".to_owned()),
        "{:?}",
        data.notes
    );
}

/// What CVAT writes where a subset has a name, and folders of a part and a role.
#[test]
fn subsets_called_like_market_s_and_parts_with_roles_are_queries_and_gallery() {
    for [query, gallery] in [
        ["query_default", "bounding_box_default"],
        ["query", "bounding_box_default"],
        ["query_test", "bounding_box_test"],
        ["test_query", "test_gallery"],
    ] {
        let root = tempfile::tempdir().unwrap();
        let [query, gallery] = [format!("{query}/0001_c1s1_1_0.png"), format!("{gallery}/0001_c2s1_2_0.png")];
        pictures(root.path(), &[&query, &gallery, &gallery.replace("0001_", "0002_")]);
        let data = load(root.path(), Split::Protocol);
        assert_eq!(
            (data.format, data.classes.as_slice()),
            (Format::Market, ["0001".to_owned(), "0002".to_owned()].as_slice())
        );
        let role = |name: &str| data.items.iter().find(|item| item.name == name).unwrap().role;
        assert_eq!((role(&query), role(&gallery)), (Role::Query, Role::Gallery));
    }
    // Of several subsets one is measured.
    let root = tempfile::tempdir().unwrap();
    let of = |part: &str, person: &str| format!("{part}/{person}_c1s1_1_0.png");
    let all = ["train", "val", "test"]
        .map(|subset| [of(&format!("query_{subset}"), "0001"), of(&format!("bounding_box_{subset}"), "0002")]);
    pictures(root.path(), &all.as_flattened().iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(names(&load(root.path(), Split::Train)), [all[0][1].as_str(), &all[0][0]]);
    let roles: Vec<Role> = load(root.path(), Split::Protocol).items.iter().map(|item| item.role).collect();
    assert_eq!(roles, [Role::Gallery, Role::Query]);
    let root = tempfile::tempdir().unwrap();
    let of = |part: &str| [format!("{part}/query/a/1.png"), format!("{part}/gallery/a/2.png")];
    let all = [of("val"), of("test")];
    pictures(root.path(), &["train/b/1.png", &all[0][0], &all[0][1], &all[1][0], &all[1][1]]);
    let data = load(root.path(), Split::Protocol);
    assert_eq!((data.classes.as_slice(), data.items.len()), (["a".to_owned()].as_slice(), 2));
    assert_eq!(names(&load(root.path(), Split::Val)), [&all[0][1], &all[0][0]]);
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["train_val/a/1.png", "test_query/b/2.png", "test_gallery/b/3.png"]);
    assert_eq!(names(&load(root.path(), Split::Train)), ["train_val/a/1.png"]);
    assert_eq!(load(root.path(), Split::Protocol).classes, ["b"]);
}

#[test]
fn a_person_in_several_folders_is_no_class_of_each() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["gt_bbox/0001_c1s1_1_0.png", "gt_query/0001_c2s1_2_0.png", "gt_query/0002_c2s1_2_0.png"]);
    let message = refused(&Request::of(root.path()));
    assert!(message.contains("person 0001 lies in gt_bbox/ and in gt_query/, which would be two classes"), "{message}");
    let asked = Request { format: Format::Folder, ..Request::of(root.path()) };
    assert_eq!(Dataset::load(&asked).unwrap().classes, ["gt_bbox", "gt_query"]);
}

#[test]
fn people_s_folders_may_be_spelt_otherwise_than_names_and_keep_the_rule_of_cameras() {
    let root = tempfile::tempdir().unwrap();
    pictures(
        root.path(),
        &["query/id1/0001_c1s1_1_0.png", "gallery/id1/0001_c1s1_2_0.png", "gallery/id2/0002_c1s1_2_0.png"],
    );
    let data = load(root.path(), Split::Protocol);
    assert_eq!((data.format, data.items[0].camera), (Format::Market, Some(1)));
    // Folders that say something else than names do are classes.
    pictures(root.path(), &["gallery/id2/0003_c1s1_2_0.png"]);
    assert_eq!(load(root.path(), Split::Protocol).format, Format::Folder);
    // Two folders of one part are said here, too.
    let root = tempfile::tempdir().unwrap();
    pictures(
        root.path(),
        &["query/0001_c1s1_1_0.png", "gallery/0001_c2s1_2_0.png", "bounding_box_test/0002_c2s1_2_0.png"],
    );
    let notes = load(root.path(), Split::Protocol).notes.join("\n");
    assert!(notes.contains("taken together, as of one part: bounding_box_test/ and gallery/"), "{notes}");
}

#[test]
fn masks_beside_their_images_are_said() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["images/cat_1.png", "images/cat_2.png", "annotations/trimaps/cat_1.png"]);
    let said = "every image of annotations/trimaps/ has a namesake in another folder: are these masks";
    assert!(load(root.path(), Split::Protocol).notes.iter().any(|note| note.starts_with(said)));
    pictures(root.path(), &["annotations/trimaps/dog_1.png"]);
    assert!(!load(root.path(), Split::Protocol).notes.iter().any(|note| note.contains("masks")));
}

#[test]
fn training_without_a_part_for_it_is_said_whatever_parts_there_are() {
    for (parts, what) in [
        (&["val/a/1.png", "test/a/2.png"][..], "all of val (1 images), test (1 images)"),
        (&["test/a/1.png"], "all of test (1 images)"),
        (&["query/a/1.png", "gallery/a/2.png"], "part test"),
    ] {
        let root = tempfile::tempdir().unwrap();
        pictures(root.path(), parts);
        let notes = load(root.path(), Split::ProtocolTrain).notes.join("\n");
        let said = format!("there is no training part: what is measured otherwise is taken, which is {what}");
        assert!(notes.contains(&said), "{notes}");
    }
    let root = tempfile::tempdir().unwrap();
    pictures(root.path(), &["train/a/1.png", "test/a/2.png"]);
    assert!(!load(root.path(), Split::ProtocolTrain).notes.join("").contains("no training part"));
}
