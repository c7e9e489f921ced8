//! A list that a person names is what is read, though it is called as a data set's own and another lies in `--root`.

use std::path::Path;

use matrw::{MatFile, matvar, save_matfile_v7};
use pdloss_embed::dataset::{Dataset, Format, Request, Split};

use crate::tools::{png, put, text};

fn pictures(root: &Path, names: &[&str]) {
    names.iter().for_each(|name| put(root.join(name), png([1, 2, 3])));
}

fn load(list: &Path, root: Option<&Path>, split: Split) -> Result<Dataset, String> {
    let request = Request { root: root.map(Path::to_owned), split, ..Request::of(list) };
    Dataset::load(&request).map_err(|error| error.to_string())
}

fn names(data: &Dataset) -> Vec<&str> {
    data.items.iter().map(|item| item.name.as_str()).collect()
}

#[test]
fn a_list_of_online_products_is_its_own_part_and_not_that_of_root() {
    let place = tempfile::tempdir().unwrap();
    let (whole, cut) = (place.path().join("sop"), place.path().join("cut"));
    let header = "image_id class_id super_class_id path\n";
    pictures(&whole, &["x/1.jpg", "x/2.jpg", "x/3.jpg", "x/4.jpg"]);
    put(whole.join("Ebay_train.txt"), format!("{header}1 1 1 x/1.jpg\n2 1 1 x/2.jpg\n"));
    put(whole.join("Ebay_test.txt"), format!("{header}3 2 1 x/3.jpg\n4 2 1 x/4.jpg\n"));
    put(cut.join("Ebay_test.txt"), format!("{header}4 2 1 x/4.jpg\n"));
    put(cut.join("Ebay_mine.txt"), format!("{header}4 2 1 x/4.jpg\n1 1 1 x/1.jpg\n"));

    for split in [Split::Protocol, Split::ProtocolTrain, Split::All, Split::Test] {
        let data = load(&cut.join("Ebay_test.txt"), Some(&whole), split).unwrap();
        assert_eq!((names(&data), data.format), (vec!["x/4.jpg"], Format::Sop), "{split:?}");
    }
    assert_eq!(
        names(&load(&cut.join("Ebay_mine.txt"), Some(&whole), Split::Protocol).unwrap()),
        ["x/4.jpg", "x/1.jpg"]
    );
    // Each of the data set's two is its part.
    for split in [Split::Protocol, Split::ProtocolTrain] {
        let train = load(&whole.join("Ebay_train.txt"), None, split).unwrap();
        assert_eq!((names(&train), train.part.as_str()), (vec!["x/1.jpg", "x/2.jpg"], "train"));
        let test = load(&whole.join("Ebay_test.txt"), None, split).unwrap();
        assert_eq!((names(&test), test.part.as_str()), (vec!["x/3.jpg", "x/4.jpg"], "test"));
    }
    let message = load(&whole.join("Ebay_test.txt"), None, Split::Train).unwrap_err();
    assert!(message.contains("has no part 'train'; its parts are test (2 images)"), "{message}");
}

#[test]
fn lists_of_in_shop_and_celeba_are_read_where_they_are() {
    let place = tempfile::tempdir().unwrap();
    let inshop = |rows: &[&str]| format!("{}\nimage_name item_id evaluation_status\n{}\n", rows.len(), rows.join("\n"));
    let (whole, cut) = (place.path().join("inshop"), place.path().join("cut"));
    let rows = ["img/1.jpg id_1 query", "img/2.jpg id_1 gallery", "img/3.jpg id_2 query", "img/4.jpg id_2 gallery"];
    pictures(&whole, &["Img/img/1.jpg", "Img/img/2.jpg", "Img/img/3.jpg", "Img/img/4.jpg"]);
    put(whole.join("Eval/list_eval_partition.txt"), inshop(&rows));
    put(cut.join("list_eval_partition.txt"), inshop(&rows[..2]));
    for (root, prefix) in [(whole.clone(), "Img/"), (whole.join("Eval"), "../Img/"), (whole.join("Img"), "")] {
        let data = load(&cut.join("list_eval_partition.txt"), Some(&root), Split::Protocol).unwrap();
        assert_eq!(names(&data), [format!("{prefix}img/1.jpg"), format!("{prefix}img/2.jpg")]);
        assert_eq!(data.format, Format::Inshop);
    }

    let (whole, cut) = (place.path().join("celeba"), place.path().join("some"));
    pictures(&whole, &["img_align_celeba/1.jpg", "img_align_celeba/2.jpg", "img_align_celeba/3.jpg"]);
    put(whole.join("identity_CelebA.txt"), "1.jpg 5\n2.jpg 5\n3.jpg 6\n");
    put(whole.join("list_eval_partition.txt"), "1.jpg 0\n2.jpg 2\n3.jpg 2\n");
    put(cut.join("identity_CelebA.txt"), "2.jpg 5\n1.jpg 5\n");
    let data = load(&cut.join("identity_CelebA.txt"), Some(&whole), Split::Protocol).unwrap();
    assert_eq!((names(&data), data.format), (vec!["img_align_celeba/2.jpg", "img_align_celeba/1.jpg"], Format::Celeba));
    // Kaggle has the parts as a table; without any it is said.
    let data = load(&whole, None, Split::Protocol).unwrap();
    assert_eq!((data.part.as_str(), data.notes.len()), ("test", 0));
    std::fs::rename(whole.join("list_eval_partition.txt"), place.path().join("parts.txt")).unwrap();
    put(whole.join("list_eval_partition.csv"), "image_id,partition\n1.jpg,0\n2.jpg,2\n3.jpg,2\n");
    let table = load(&whole, None, Split::Protocol).unwrap();
    assert_eq!((names(&table), table.part.as_str()), (names(&data), "test"));
    let given = load(&whole.join("list_eval_partition.csv"), None, Split::Protocol).unwrap();
    assert_eq!((given.format, given.items.len(), given.part.as_str()), (Format::Celeba, 2, "test"));
    std::fs::remove_file(whole.join("list_eval_partition.csv")).unwrap();
    let data = load(&whole, None, Split::Protocol).unwrap();
    assert_eq!((data.items.len(), data.part.as_str()), (3, "all"));
    assert!(data.notes[0].contains("there is no list_eval_partition.txt (or .csv)"), "{:?}", data.notes);
    std::fs::rename(place.path().join("parts.txt"), whole.join("list_eval_partition.txt")).unwrap();
    // The list of parts needs the other beside it, and says which images are meant.
    put(cut.join("list_eval_partition.txt"), "2.jpg 2\n");
    let data = load(&cut.join("list_eval_partition.txt"), Some(&whole), Split::Protocol).unwrap();
    assert_eq!(names(&data), ["img_align_celeba/2.jpg"]);
    put(cut.join("list_eval_partition.txt"), "2.jpg 2\n9.jpg 2\n");
    let message = load(&cut.join("list_eval_partition.txt"), Some(&whole), Split::Protocol).unwrap_err();
    assert!(message.contains("list_eval_partition.txt: 9.jpg is nobody's in identity_CelebA.txt"), "{message}");
    std::fs::remove_file(cut.join("identity_CelebA.txt")).unwrap();
    let message = load(&cut.join("list_eval_partition.txt"), Some(&whole), Split::Protocol).unwrap_err();
    assert!(message.contains("wanted identity_CelebA.txt too"), "{message}");
}

#[test]
fn lists_of_birds_are_read_with_what_lies_beside_them() {
    let place = tempfile::tempdir().unwrap();
    let (whole, cut) = (place.path().join("birds"), place.path().join("cut"));
    let put_lists = |folder: &Path, count: usize| {
        let lines = |line: &dyn Fn(usize) -> String| (1..=count).map(|at| line(at) + "\n").collect::<String>();
        put(folder.join("images.txt"), lines(&|at| format!("{at} {at}.jpg")));
        put(folder.join("image_class_labels.txt"), lines(&|at| format!("{at} {}", at.div_ceil(2))));
        put(folder.join("classes.txt"), "1 a\n2 b\n");
    };
    put_lists(&whole, 4);
    pictures(&whole.join("images"), &["1.jpg", "2.jpg", "3.jpg", "4.jpg"]);
    put_lists(&cut, 3);
    for (root, prefix) in [(whole.clone(), "images/"), (whole.join("images"), "")] {
        let data = load(&cut.join("images.txt"), Some(&root), Split::All).unwrap();
        assert_eq!(names(&data), [1, 2, 3].map(|at| format!("{prefix}{at}.jpg")));
    }
    std::fs::remove_file(cut.join("image_class_labels.txt")).unwrap();
    let message = load(&cut.join("images.txt"), Some(&whole), Split::All).unwrap_err();
    assert!(message.contains("cut/image_class_labels.txt: is not there"), "{message}");

    // Formats that have no list, or not that one.
    put(cut.join("li.csv"), "1.jpg,a\n");
    for (format, says) in
        [(Format::Cub, "wanted its list images.txt"), (Format::Market, "has no list"), (Format::Folder, "has no list")]
    {
        let request = Request { format, root: Some(whole.clone()), ..Request::of(cut.join("li.csv")) };
        let error = Dataset::load(&request).unwrap_err();
        assert!(error.to_string().contains(says) && error.exit_code() == 2, "{error}");
    }
}

#[test]
fn annotations_of_cars_are_read_where_they_are() {
    let place = tempfile::tempdir().unwrap();
    let (whole, cut) = (place.path().join("cars"), place.path().join("cut"));
    std::fs::create_dir_all(whole.join("devkit")).unwrap();
    std::fs::create_dir_all(&cut).unwrap();
    let save = |path: &Path, annotations| {
        let mut file = MatFile::new();
        file.insert("annotations", annotations);
        save_matfile_v7(text(path), file, false).unwrap();
    };
    let all = || matvar!([{ fname: "1.jpg", class: 100.0 }, { fname: "2.jpg", class: 101.0 }]);
    save(&whole.join("devkit/cars_train_annos.mat"), all());
    save(&whole.join("devkit/cars_test_annos_withlabels.mat"), all());
    save(
        &cut.join("cars_test_annos_withlabels.mat"),
        matvar!([{ fname: "2.jpg", class: 5.0 }, { fname: "1.jpg", class: 6.0 }]),
    );
    pictures(&whole, &["cars_train/1.jpg", "cars_train/2.jpg", "cars_test/1.jpg", "cars_test/2.jpg"]);
    let data = load(&cut.join("cars_test_annos_withlabels.mat"), Some(&whole), Split::Protocol).unwrap();
    let found = (names(&data), data.classes[0].as_str(), data.part.as_str());
    assert_eq!(found, (vec!["cars_test/2.jpg", "cars_test/1.jpg"], "5", "test"));
    // A list of one image.
    save(&cut.join("cars_test_annos_withlabels.mat"), matvar!([{ fname: "2.jpg", class: 5.0 }]));
    let data = load(&cut.join("cars_test_annos_withlabels.mat"), Some(&whole), Split::Protocol).unwrap();
    assert_eq!(names(&data), ["cars_test/2.jpg"]);
    let data = load(&whole.join("devkit/cars_train_annos.mat"), None, Split::Protocol).unwrap();
    assert_eq!((names(&data), data.part.as_str()), (vec!["../cars_train/1.jpg", "../cars_train/2.jpg"], "train"));

    let annotation = matvar!([{ relative_im_path: "cars_test/1.jpg", class: 120.0, test: 1.0 }]);
    save(&cut.join("cars_mine.mat"), annotation);
    let data = load(&cut.join("cars_mine.mat"), Some(&whole), Split::Protocol).unwrap();
    assert_eq!((names(&data), data.classes[0].as_str()), (vec!["cars_test/1.jpg"], "120"));
}

#[test]
fn paths_of_a_list_stay_below_root() {
    let place = tempfile::tempdir().unwrap();
    let (old, new, list) = (place.path().join("old"), place.path().join("new"), place.path().join("list.csv"));
    for folder in [&old, &new] {
        pictures(folder, &["a/1.png", "a/2.png"]);
    }
    let with = |first: &str, second: &str, root: Option<&Path>| {
        put(&list, format!("path,label\n{first},x\n{second},x\n"));
        load(&list, root, Split::All)
    };
    let absolute = |name: &str| text(&old.join(name)).to_owned();
    let (one, two) = (absolute("a/1.png"), absolute("a/2.png"));
    assert_eq!(names(&with("a/1.png", "a/2.png", Some(&new)).unwrap()), ["a/1.png", "a/2.png"]);
    for root in [&new, &place.path().join("new/a")] {
        let message = with("1.png", &one, Some(root)).unwrap_err();
        let wanted = format!(
            "line 3: --root {} is where its paths start, and {one} is an absolute path (1 of 2",
            root.display()
        );
        assert!(message.contains(&wanted), "{message}");
    }
    let message = with("../old/a/1.png", "a/../../old/a/2.png", Some(&new)).unwrap_err();
    assert!(message.contains("../old/a/1.png leads out of it (2 of 2 do not stay below it)"), "{message}");
    // Where they are below it, or there is no such folder, they are what they say.
    assert_eq!(names(&with(&one, &two, Some(&old)).unwrap()), [one.as_str(), &two]);
    assert_eq!(names(&with(&one, &two, None).unwrap()), [one.as_str(), &two]);
    assert_eq!(names(&with("a/../a/1.png", "a/2.png", Some(&new)).unwrap()), ["a/../a/1.png", "a/2.png"]);
    // The lists of data sets, too.
    put(place.path().join("Ebay_test.txt"), format!("1 1 1 {one}\n2 1 1 {two}\n"));
    let message = load(&place.path().join("Ebay_test.txt"), Some(&new), Split::Protocol).unwrap_err();
    assert!(message.contains("line 1: --root") && message.contains("is an absolute path (2 of 2"), "{message}");
}

#[test]
fn a_list_of_ones_own_may_be_called_images() {
    let place = tempfile::tempdir().unwrap();
    let list = place.path().join("images.txt");
    pictures(place.path(), &["data/a/1.png", "data/a/2.png"]);
    for content in ["path,label\na/1.png,x\na/2.png,x\n", "a/1.png x\na/2.png x\n", "x a/1.png\nx a/2.png\n"] {
        put(&list, content);
        let data = load(&list, Some(&place.path().join("data")), Split::Protocol).unwrap();
        assert_eq!((names(&data), data.format), (vec!["a/1.png", "a/2.png"], Format::List), "{content}");
    }
    // CUB's names no labels.
    put(&list, "1 a/1.png\n2 a/2.png\n");
    let message = load(&list, Some(&place.path().join("data")), Split::Protocol).unwrap_err();
    assert!(message.contains("image_class_labels.txt: is not there"), "{message}");
}
