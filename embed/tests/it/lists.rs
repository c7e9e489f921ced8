//! Lists as programs write them: columns in any order, delimiters, roots, spellings, repetitions.

use std::path::Path;

use pdloss_embed::dataset::{Dataset, Request, Role, Split};

use crate::tools::{png, put, text};

/// Three images in two folders.
fn place() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (at, name) in ["a/1.png", "a/2.png", "b/3 x.png"].iter().enumerate() {
        put(root.path().join(name), png([at as u8, 0, 0]));
    }
    root
}

fn with(root: &Path, content: impl AsRef<[u8]>) -> Result<Dataset, String> {
    put(root.join("list.csv"), content);
    Dataset::load(&Request::of(root.join("list.csv"))).map_err(|e| e.to_string())
}

fn read(data: &Dataset) -> Vec<(&str, &str)> {
    data.items.iter().map(|item| (item.name.as_str(), data.classes[item.class].as_str())).collect()
}

#[test]
fn the_path_is_found_in_any_column() {
    let root = place();
    let wanted = [("a/1.png", "u"), ("a/2.png", "u"), ("b/3 x.png", "v")];
    for list in [
        ",path,label\n0,a/1.png,u\n1,a/2.png,u\n2,b/3 x.png,v\n",
        "label,path,split,is_query,is_gallery\nu,a/1.png,validation,True,True\nu,a/2.png,validation,True,True\nv,b/3 x.png,validation,True,True\n",
        "u;a/1.png\nu;a/2.png\nv;b/3 x.png\n",
        "class\tfilename\nu\ta\\1.png\nu\t.\\a\\2.png\nv\tb/3 x.png\n",
        "path,label\n./a/1.png,u\n./a//2.png,u\n\"b/3 x.png\",v\n",
        "a/1.png u\na/2.png u\n\"b/3 x.png\" v\n",
    ] {
        assert_eq!(read(&with(root.path(), list).unwrap()), wanted, "{list}");
    }
    let note = with(root.path(), "label,path\nu,a/1.png\nv,a/2.png\n").unwrap().notes;
    assert_eq!(note, ["paths are read from column 'path', labels from column 'label'"]);
    let absolute = format!("path,label\n{0}/a/1.png,u\n{0}/a/2.png,v\n", text(root.path()));
    assert_eq!(with(root.path(), absolute).unwrap().classes, ["u", "v"]);
    let message = with(root.path(), "a/1.png u\nb/3 x.png v\n").unwrap_err();
    assert!(message.contains("line 2: 3 fields, where line 1 has 2; blanks part the fields: put names"), "{message}");
    assert!(with(root.path(), b"\xff\xfea\0".as_slice()).unwrap_err().contains("UTF-16"));
}

#[test]
fn names_without_an_ending_are_found_and_said() {
    let root = tempfile::tempdir().unwrap();
    for name in ["0034309.jpg", "1025794.JPG", "0034310.png", "0034310.bmp"] {
        put(root.path().join(name), png([0; 3]));
    }
    let data = with(root.path(), "0034309 707-320\n1025794 727-200\n").unwrap();
    assert_eq!(read(&data), [("0034309.jpg", "707-320"), ("1025794.JPG", "727-200")]);
    let said = "2 of 2 names of the list have no ending: 0034309 is 0034309.jpg";
    assert!(data.notes.iter().any(|note| note == said), "{:?}", data.notes);
    let error = with(root.path(), "0034309 u\n0034310 v\n").unwrap_err();
    assert!(error.contains("1 of which are not there; the first is 0034310"), "one of two files: {error}");
    assert!(
        error.contains("may be 0034310.bmp or 0034310.png") || error.contains("may be 0034310.png or 0034310.bmp"),
        "{error}"
    );
}

#[test]
fn the_label_is_no_index_and_no_size_and_what_else_it_may_be_is_said() {
    let root = place();
    for (list, said) in [
        ("path,width,height,species\na/1.png,48,48,u\na/2.png,48,48,u\nb/3 x.png,48,48,v\n", false),
        ("id,path,kind\n1,a/1.png,u\n2,a/2.png,u\n3,b/3 x.png,v\n", true),
        ("path,photographer id,kind\na/1.png,7,u\na/2.png,8,u\nb/3 x.png,9,v\n", true),
        ("n;Image Path;Class Name\n1;a/1.png;u\n2;a/2.png;u\n3;b/3 x.png;v\n", false),
        ("1\ta/1.png\tu\n2\ta/2.png\tu\n3\tb/3 x.png\tv\n", true),
    ] {
        let data = with(root.path(), list).unwrap();
        assert_eq!(read(&data), [("a/1.png", "u"), ("a/2.png", "u"), ("b/3 x.png", "v")], "{list}");
        let others = data.notes.iter().filter(|note| note.contains("is taken for the label, not")).count();
        assert_eq!(others, usize::from(said), "{list}: {:?}", data.notes);
    }
    let two = with(root.path(), "path,colour,kind\na/1.png,u,x\na/2.png,u,y\nb/3 x.png,v,y\n").unwrap();
    assert!(
        two.notes.contains(&"column 'colour' is taken for the label, not 'kind'; --label COLUMN says which".to_owned()),
        "{:?}",
        two.notes
    );
}

#[test]
fn roots_are_said_and_unlisted_folders_not_walked() {
    let root = place();
    let lists = tempfile::tempdir().unwrap();
    put(lists.path().join("list.csv"), "path,label\na/1.png,u\na/2.png,v\n");
    let request = Request::of(lists.path().join("list.csv"));
    let message = Dataset::load(&request).unwrap_err().to_string();
    assert!(message.contains("2 of which are not there; the first is a/1.png (line 2)"), "{message}");
    assert!(message.contains("--root DIR"), "{message}");
    let rooted = Request { root: Some(root.path().into()), ..request.clone() };
    let data = Dataset::load(&rooted).unwrap();
    assert_eq!(read(&data), [("a/1.png", "u"), ("a/2.png", "v")]);
    assert!(data.source.names().is_empty(), "the folder is not walked");
    let wrong = Request { root: Some(lists.path().join("list.csv")), ..request };
    assert!(Dataset::load(&wrong).unwrap_err().to_string().contains("neither a folder nor an archive"));
    let folder = Request { root: Some(root.path().into()), ..Request::of(root.path()) };
    assert_eq!(Dataset::load(&folder).unwrap_err().exit_code(), 2);
    // The tests run in the crate's folder.
    put(lists.path().join("list.csv"), "../fixtures/odd/rgb.png,u\n");
    let data = Dataset::load(&Request::of(lists.path().join("list.csv"))).unwrap();
    assert!(data.notes[0].contains("relative to the current folder"), "{:?}", data.notes);
}

#[test]
fn accents_may_be_spelt_either_way() {
    let root = tempfile::tempdir().unwrap();
    put(root.path().join("Jose\u{301}.png"), png([1, 0, 0]));
    put(root.path().join("Zo\u{eb}.png"), png([2, 0, 0]));
    let data = with(root.path(), "Jos\u{e9}.png,a\nZoe\u{308}.png,b\n").unwrap();
    assert_eq!(read(&data), [("Jose\u{301}.png", "a"), ("Zo\u{eb}.png", "b")]);
}

#[test]
fn an_image_listed_again_counts_once_and_under_two_labels_not_at_all() {
    let root = place();
    let data = with(root.path(), "path,label\na/1.png,u\n./a/1.png,u\na/2.png,v\na/1.png,u\n").unwrap();
    assert_eq!(read(&data), [("a/1.png", "u"), ("a/2.png", "v")]);
    assert!(
        data.notes[0].contains("2 lines list an image again; each counts once: a/1.png (line 3)"),
        "{:?}",
        data.notes
    );
    let contrary = "path,label\na/1.png,u\na/2.png,v\na/1.png,v\nb/3 x.png,u\n";
    let message = with(root.path(), contrary).unwrap_err();
    assert!(message.contains("a/1.png has two labels: 'u' (line 2) and 'v' (line 4)"), "{message}");
    let request = Request { skip_bad: true, ..Request::of(root.path().join("list.csv")) };
    let data = Dataset::load(&request).unwrap();
    assert_eq!(read(&data), [("a/2.png", "v"), ("b/3 x.png", "u")]);
    assert!(data.notes[0].contains("left out 1 file listed under two labels: a/1.png"), "{:?}", data.notes);
    let both = with(root.path(), "path,label,role\na/1.png,u,query\na/1.png,u,gallery\na/2.png,v,gallery\n").unwrap();
    assert_eq!(both.items.len(), 3, "an image may search and be searched");
}

#[test]
fn splits_and_roles_of_lists_are_parts() {
    let root = place();
    let list = "label,path,split,is_query,is_gallery\nt,a/1.png,train,,\nu,a/2.png,validation,True,False\nu,b/3 x.png,validation,False,True\n";
    let data = with(root.path(), list).unwrap();
    assert_eq!(data.part, "val");
    assert_eq!(data.items.iter().map(|item| item.role).collect::<Vec<_>>(), [Role::Query, Role::Gallery]);
    let train = Request { split: Split::ProtocolTrain, ..Request::of(root.path().join("list.csv")) };
    assert_eq!(read(&Dataset::load(&train).unwrap()), [("a/1.png", "t")]);
    let message = with(root.path(), list.replace("False,True", "False,False")).unwrap_err();
    assert!(message.contains("line 4: is neither query nor gallery"), "{message}");
    let message = with(root.path(), list.replace("train,,", "practice,,")).unwrap_err();
    assert!(message.contains("line 2: split 'practice' is none of train, val"), "{message}");
}

#[test]
fn one_column_of_roles_says_both() {
    let root = place();
    let list = |name: &str| format!("path,label,{name}\na/1.png,u,1\na/2.png,u,0\nb/3 x.png,v,0\n");
    let roles = |list: String| {
        let data = with(root.path(), &list).unwrap();
        (data.items.iter().map(|item| item.role).collect::<Vec<_>>(), data.notes.join("; "))
    };
    let (found, notes) = roles(list("is_query"));
    assert_eq!(found, [Role::Query, Role::Gallery, Role::Gallery]);
    assert!(notes.contains("images with False in column 'is_query' are the gallery"), "{notes}");
    let (found, notes) = roles(list("is_gallery"));
    assert_eq!(found, [Role::Gallery, Role::Query, Role::Query]);
    assert!(notes.contains("images with False in column 'is_gallery' are queries"), "{notes}");
}

#[test]
fn columns_of_true_and_false_are_parts() {
    let root = place();
    let parts = |names: &str, values: [&str; 3]| {
        let [one, two, three] = values;
        let list = format!("path,label,{names}\na/1.png,u,{one}\na/2.png,u,{two}\nb/3 x.png,v,{three}\n");
        with(root.path(), list)?;
        let of = |split| {
            let taken = Dataset::load(&Request { split, ..Request::of(root.path().join("list.csv")) });
            taken.map_or(0, |data| data.items.len())
        };
        Ok::<_, String>([Split::Train, Split::Val, Split::Test].map(of))
    };
    for (names, values, wanted) in [
        ("is_train", ["1", "0", "1"], [2, 0, 1]),
        ("is_training_image", ["0", "0", "1"], [1, 0, 2]),
        ("Is Train", ["True", "False", "True"], [2, 0, 1]),
        ("train", ["yes", "no", "no"], [1, 0, 2]),
        ("is_valid", ["False", "True", "False"], [2, 1, 0]),
        ("is_test", ["1.0", "0.0", "0.0"], [2, 0, 1]),
        ("is_train,is_val", ["1,0", "0,1", "0,0"], [1, 1, 1]),
        ("is_train,is_test", ["1,0", "0,0", "0,1"], [1, 1, 1]),
        ("train,val,test", ["1,0,0", "0,1,0", "0,0,1"], [1, 1, 1]),
    ] {
        assert_eq!(parts(names, values), Ok(wanted), "{names}");
    }
    for (names, values, says) in [
        ("is_train,is_test", ["1,1", "0,1", "0,1"], "line 2: is of part train and of part test; wanted one"),
        ("is_train,is_val,is_test", ["1,0,0", "0,0,0", "0,0,1"], "line 3: is of none of the parts"),
        ("is_train", ["1", "perhaps", "0"], "line 3: 'perhaps' is neither True nor False"),
    ] {
        let message = parts(names, values).unwrap_err();
        assert!(message.contains(says), "{message}");
    }
    let list = "path,label,is_train\na/1.png,u,1\na/2.png,u,0\nb/3 x.png,v,0\n";
    let notes = with(root.path(), list).unwrap().notes;
    let wanted = "the part of each image is read from column 'is_train' (train), images with False there are test";
    assert!(notes.contains(&wanted.to_owned()), "{notes:?}");
    // Where there is a column of parts, that is read; the only column beside the path is the label.
    let notes = with(
        root.path(),
        list.replace("is_train", "is_train,split").replace(",1\n", ",1,train\n").replace(",0\n", ",0,test\n"),
    );
    assert!(notes.unwrap().notes.contains(&"nothing is read from column 'is_train'".to_owned()));
    assert_eq!(with(root.path(), "path,train\na/1.png,1\na/2.png,0\nb/3 x.png,0\n").unwrap().classes, ["0", "1"]);
    let asked = with(root.path(), "path,label,query\na/1.png,u,True\na/2.png,u,False\nb/3 x.png,v,False\n").unwrap();
    assert_eq!(asked.items.iter().filter(|item| item.role == Role::Query).count(), 1);
}

#[test]
fn a_list_that_excel_wrote_says_its_delimiter() {
    let root = place();
    let wanted = [("a/1.png", "u, w"), ("a/2.png", "u, w"), ("b/3 x.png", "v")];
    for begin in ["sep=;\n", "sep=;\r\npath;label\r\n", "\u{feff}SEP=;\npath;label\n"] {
        let data = with(root.path(), format!("{begin}a/1.png;u, w\na/2.png;u, w\nb/3 x.png;v\n")).unwrap();
        assert_eq!(read(&data), wanted, "{begin:?}");
    }
}

#[test]
fn labels_that_are_numbers_are_chosen_by_them() {
    let root = place();
    put(root.path().join("list.csv"), "a/1.png,0\na/2.png,7\nb/3 x.png,40\n");
    let request = Request { classes: vec![0, 40], ..Request::of(root.path().join("list.csv")) };
    assert_eq!(Dataset::load(&request).unwrap().classes, ["0", "40"]);
}

#[test]
fn parts_and_roles_are_known_by_their_words_and_columns_without_a_use_are_said() {
    let root = place();
    let list = |name: &str, words: [&str; 3]| {
        format!("path,label,{name}\na/1.png,u,{}\na/2.png,u,{}\nb/3 x.png,v,{}\n", words[0], words[1], words[2])
    };
    for name in ["phase", "partition", "data set", "part", "usage"] {
        let data = with(root.path(), list(name, ["train", "train", "valid"])).unwrap();
        assert!(data.notes.iter().any(|note| note.contains("is taken for the part")), "{name}: {:?}", data.notes);
        let train = Request { split: Split::Train, ..Request::of(root.path().join("list.csv")) };
        assert_eq!(read(&Dataset::load(&train).unwrap()), [("a/1.png", "u"), ("a/2.png", "u")], "{name}");
    }
    let data = with(root.path(), list("type", ["query", "gallery", "gallery"])).unwrap();
    assert_eq!(data.items.iter().map(|i| i.role).collect::<Vec<_>>(), [Role::Query, Role::Gallery, Role::Gallery]);
    assert!(data.notes.contains(&"column 'type' is taken for the role of each image".to_owned()), "{:?}", data.notes);
    for (name, words) in [
        ("is_blurred", ["1", "0", "1"]),
        ("train", ["1", "2", "1"]),
        ("fold", ["0", "1", "0"]),
        ("camera", ["1", "2", "1"]),
    ] {
        let data = with(root.path(), list(name, words)).unwrap();
        assert_eq!(data.notes, [format!("nothing is read from column '{name}'")]);
    }
    // The only column beside the path is the label, whatever it holds; so is the one that is asked for.
    let data = with(root.path(), "a/1.png,train\na/2.png,train\nb/3 x.png,test\n").unwrap();
    assert_eq!(data.classes, ["test", "train"]);
    put(root.path().join("list.csv"), list("phase", ["train", "train", "test"]));
    let asked = |label: &str| Request { label: Some(label.into()), ..Request::of(root.path().join("list.csv")) };
    assert_eq!(Dataset::load(&asked("phase")).unwrap().classes, ["test", "train"]);
    let refused = Dataset::load(&asked("path")).unwrap_err();
    assert_eq!(refused.exit_code(), 2);
    assert!(refused.to_string().contains("--label path: that column of"), "{refused}");
}

#[test]
fn a_first_line_that_names_an_image_is_no_header() {
    let root = place();
    for first in ["a/4.heic,u", "a/4,u", "missing.jpgx,u"] {
        let lists = format!("{first}\na/1.png,u\na/2.png,u\nb/3 x.png,v\n");
        let message = with(root.path(), lists).expect_err(first);
        assert!(message.contains(first.split(',').next().unwrap()), "{first}: {message}");
    }
    // Words that are none of those that are known may be names of columns, and it is said that they were taken for these.
    let data = with(root.path(), "Pfad,Klasse\na/1.png,u\na/2.png,u\nb/3 x.png,v\n").unwrap();
    assert_eq!(data.items.len(), 3);
    assert!(
        data.notes.iter().any(|note| note == "line 1, 'Pfad, Klasse', is taken for the names of the columns"),
        "{:?}",
        data.notes
    );
    // Names that are known need no word, also where one looks like a path.
    let data = with(root.path(), "img.path,label\na/1.png,u\na/2.png,u\nb/3 x.png,v\n").unwrap();
    assert_eq!((data.items.len(), data.notes.len()), (3, 0), "{:?}", data.notes);
}

#[test]
fn lines_that_end_in_two_ways_are_refused() {
    let root = place();
    let message = with(root.path(), "a/1.png,u\ra/2.png,u\rb/3 x.png,v\n").unwrap_err();
    assert!(message.contains("line 1: holds a carriage return"), "{message}");
    assert_eq!(with(root.path(), "a/1.png,u\r\na/2.png,u\r\n\"b/3 x.png\",v\r\n").unwrap().items.len(), 3);
}

#[test]
fn two_columns_of_images_are_told_apart_by_a_name() {
    let root = place();
    let rows = "a/1.png,b/3 x.png,u\na/2.png,a/1.png,u\n";
    for (header, wanted, other) in [
        ("path,mask,label\n", "a/1.png", "mask"),
        ("mask,name,kind\n", "b/3 x.png", "mask"),
        ("photo,label,kind\n", "a/1.png", "kind"),
    ] {
        let data = with(root.path(), format!("{header}{rows}")).unwrap_or_else(|e| panic!("{header}: {e}"));
        assert_eq!(read(&data)[0].0, wanted, "{header}");
        assert!(data.notes.iter().any(|note| note.contains(&format!("'{other}'"))), "{header}: {:?}", data.notes);
    }
    let said = with(root.path(), format!("photo,mask,label\n{rows}")).unwrap_err();
    assert!(said.contains("line 1: columns 'photo', 'mask' hold names of images, and none is called"), "{said}");
    assert!(said.contains("wanted a header that calls the one that is meant 'path'"), "{said}");
    assert!(with(root.path(), rows).unwrap_err().contains("line 1: columns 1, 2 hold names of images"));
    // What is asked for as the label is none of them.
    put(root.path().join("list.csv"), format!("photo,mask,kind\n{rows}"));
    let asked = Request { label: Some("mask".into()), ..Request::of(root.path().join("list.csv")) };
    assert_eq!(read(&Dataset::load(&asked).unwrap())[0], ("a/1.png", "b/3 x.png"));
    let alone = with(root.path(), "path,mask\na/1.png,b/3 x.png\na/2.png,b/3 x.png\n").unwrap();
    assert_eq!(alone.notes, ["images are named by column 'path', not 'mask'"]);
}

#[test]
fn images_that_lie_out_of_the_list_s_folder_are_said_by_where_they_lie() {
    let (root, lists) = (place(), tempfile::tempdir().unwrap());
    let real = root.path().canonicalize().unwrap();
    let beside = format!("../{}", real.file_name().unwrap().display());
    let load = |rows: &[&str]| {
        let rows: String = rows.iter().zip(["u", "v", "u"]).map(|(name, class)| format!("{name},{class}\n")).collect();
        put(lists.path().join("list.csv"), format!("path,label\n{rows}"));
        Dataset::load(&Request::of(lists.path().join("list.csv")))
    };
    let [one, two, three] = ["a/1.png", "a/2.png", "b/3 x.png"].map(|name| format!("{}/{name}", real.display()));
    let data = load(&[&one, &two, &three]).unwrap();
    let words = data.in_words();
    assert!(words.ends_with(&format!("part 'all' of {}", real.display())), "{words}");
    assert_eq!(data.items[0].name, one, "names stay");
    let said = |data: &Dataset, wanted: &str| {
        assert!(data.notes.iter().any(|note| note.contains(wanted)), "{wanted}: {:?}", data.notes);
    };
    said(
        &data,
        &format!("its images are not in {}, but where their paths lead, in {}", lists.path().display(), real.display()),
    );
    assert!(load(&[&one, &two]).unwrap().in_words().ends_with("/a"));
    // By `..` they are told from the folder that all lie in, whatever part is taken.
    let data = load(&[&format!("{beside}/a/1.png"), &format!("{beside}/b/3 x.png")]).unwrap();
    assert_eq!(read(&data), [("a/1.png", "u"), ("b/3 x.png", "v")]);
    assert_eq!(data.source.path(), lists.path().join(&beside));
    assert!(data.source.read("a/1.png").is_ok());
    said(&data, "but where their paths lead, in ");
    // Some of them.
    put(lists.path().join("a/1.png"), png([9, 0, 0]));
    let data = load(&["a/1.png", &two, &three]).unwrap();
    assert_eq!(data.source.path(), lists.path());
    said(
        &data,
        &format!(
            "2 of 3 images lie out of {}, where their paths lead; the first is {two} (line 3)",
            lists.path().display()
        ),
    );
    // Absolute paths below it are none.
    let here = format!("{}/a/1.png", lists.path().display());
    assert_eq!(load(&[&here]).unwrap().notes, [""; 0]);
    let message = load(&["/no/1.png", "/no/2.png"]).unwrap_err().to_string();
    assert!(
        message.contains("the first is /no/1.png (line 2), looked for in /no; absolute paths are taken as they are"),
        "{message}"
    );
}

#[test]
fn a_list_that_is_packed_or_a_pipe_is_told_what_to_do() {
    let root = place();
    put(root.path().join("l.csv.gz"), b"\x1f\x8b\x08\0\0");
    put(root.path().join("l.csv"), b"\x1f\x8b\x08\0\0");
    for name in ["l.csv.gz", "l.csv"] {
        let message = Dataset::load(&Request::of(root.path().join(name))).unwrap_err().to_string();
        assert!(message.contains("is a gzip file; wanted ") && message.contains("unpack it (gunzip)"), "{message}");
    }
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let (reader, _writer) = std::io::pipe().unwrap();
        let pipe = std::path::PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        for root in [None, Some(root.path().to_path_buf())] {
            let request = Request { root, format: pdloss_embed::dataset::Format::List, ..Request::of(&pipe) };
            let message = Dataset::load(&request).unwrap_err().to_string();
            assert!(
                message.contains("is no plain file, but a device, pipe or socket")
                    && message.contains("write a list into a file first"),
                "{message}"
            );
        }
    }
}

#[test]
fn columns_are_parts_and_roles_by_what_they_hold_and_the_label_that_is_asked_for() {
    let root = place();
    for (header, words) in [("set", ["Base", "Base", "Jungle"]), ("part", ["arm", "arm", "head"])] {
        let rows = format!("a/1.png,x,{}\na/2.png,y,{}\nb/3 x.png,y,{}\n", words[0], words[1], words[2]);
        let data = with(root.path(), format!("path,label,{header}\n{rows}")).unwrap();
        assert_eq!(data.classes, ["x", "y"]);
        let request = Request { label: Some(header.to_owned()), ..Request::of(root.path().join("list.csv")) };
        assert_eq!(Dataset::load(&request).unwrap().classes, [words[0], words[2]]);
    }
    put(root.path().join("list.csv"), "path,role,split\na/1.png,u,train\na/2.png,v,test\n");
    let request = Request { label: Some("role".to_owned()), ..Request::of(root.path().join("list.csv")) };
    assert_eq!(Dataset::load(&request).unwrap().classes, ["u", "v"]);
    let data = with(root.path(), "path,label,split\na/1.png,u,trainval\na/2.png,v,eval\n").unwrap();
    assert!(data.notes.iter().any(|note| note.contains("train (1 images), test (1 images)")), "{:?}", data.notes);
    let message = with(root.path(), "path,label,set\na/1.png,u,train\na/2.png,v,tset\n").unwrap_err();
    assert!(message.contains("line 3: split 'tset' is none of"), "{message}");
}

#[test]
fn one_column_says_parts_and_roles() {
    let root = place();
    put(root.path().join("b/4.png"), png([9, 0, 0]));
    for (header, words) in [
        ("split", ["train", "query", "gallery", "gallery"]),
        ("part", ["train", "probe", "gallery", "gallery"]),
        ("role", ["Train", "query", "database", "gallery"]),
        ("evaluation_status", ["train", "query", "gallery", "gallery"]),
        ("usage", ["train_set", "query", "test", "test"]),
    ] {
        let names = ["a/1.png", "a/2.png", "b/3 x.png", "b/4.png"];
        let rows: String =
            names.iter().zip(words).map(|(name, word)| format!("{name},{},{word}\n", &name[..1])).collect();
        let data = with(root.path(), format!("path,label,{header}\n{rows}")).unwrap();
        let found: Vec<_> = data.items.iter().map(|item| (item.name.as_str(), item.role)).collect();
        let wanted = [("a/2.png", Role::Query), ("b/3 x.png", Role::Gallery), ("b/4.png", Role::Gallery)];
        assert_eq!((found.as_slice(), data.part.as_str()), (&wanted[..], "test"), "{header}");
        let is_said = data.notes.contains(&format!("column '{header}' is taken for the part and role of each image"));
        assert_eq!(is_said, ["evaluation_status", "usage"].contains(&header), "{:?}", data.notes);
        let train = Request { split: Split::Train, ..Request::of(root.path().join("list.csv")) };
        assert_eq!(read(&Dataset::load(&train).unwrap()), [("a/1.png", "a")], "{header}");
    }
    // A part of its own beside queries and a gallery is neither.
    let list = "path,label,split\na/1.png,u,query\na/2.png,u,gallery\nb/3 x.png,v,gallery\nb/4.png,v,test\n";
    let data = with(root.path(), list).unwrap();
    assert_eq!(data.items.len(), 3);
    assert!(data.notes.contains(&"left out 1 images of test: there are query and gallery beside it".to_owned()));
    // Flags beside it are not read, which is said.
    let list = "path,label,split,is_query\na/1.png,u,query,False\na/2.png,u,gallery,True\nb/3 x.png,v,gallery,True\n";
    let data = with(root.path(), list).unwrap();
    let roles: Vec<Role> = data.items.iter().map(|item| item.role).collect();
    assert_eq!(roles, [Role::Query, Role::Gallery, Role::Gallery]);
    assert_eq!(data.notes, ["nothing is read from column 'is_query'"]);
    // Roles alone, under the name of a part.
    let data = with(root.path(), "path,label,split\na/1.png,u,query\na/2.png,u,gallery\n").unwrap();
    assert_eq!(data.items.iter().map(|item| item.role).collect::<Vec<_>>(), [Role::Query, Role::Gallery]);
    // Two columns stay two; images to train on need no role.
    let list = "path,label,split,role\na/1.png,u,train,\na/2.png,u,test,query\nb/3 x.png,v,test,gallery\n";
    let data = with(root.path(), list).unwrap();
    assert_eq!(data.items.iter().map(|item| item.role).collect::<Vec<_>>(), [Role::Query, Role::Gallery]);
    let message = with(root.path(), list.replace("train,", "test,")).unwrap_err();
    assert!(message.contains("line 2: role '' is none of query, gallery, both"), "{message}");
    // Roles beside parts stay roles, and the part is that of its column.
    let list = "path,label,split,type\na/1.png,u,train,gallery\na/2.png,u,val,query\nb/3 x.png,v,val,gallery\n";
    let data = with(root.path(), list).unwrap();
    assert_eq!((data.part.as_str(), data.items.len()), ("val", 2));
    assert_eq!(data.items.iter().map(|item| item.role).collect::<Vec<_>>(), [Role::Query, Role::Gallery]);
    assert!(!data.notes.iter().any(|note| note.contains("disagrees")), "{:?}", data.notes);
    // A column of both beside one of parts: it says more, where the two agree.
    let list = "path,label,split,status\na/1.png,u,train,train\na/2.png,u,test,query\nb/3 x.png,v,test,gallery\n";
    let data = with(root.path(), list).unwrap();
    assert_eq!(data.items.iter().map(|item| item.role).collect::<Vec<_>>(), [Role::Query, Role::Gallery]);
    let data = with(root.path(), list.replace("test,query", "train,query")).unwrap();
    let said = "column 'status' would say the role of each image, but disagrees with column 'split' in line 3";
    assert!(data.notes.iter().any(|note| note.starts_with(said)), "{:?}", data.notes);
    assert!(data.items.iter().all(|item| item.role == Role::Both));
    let message = with(root.path(), "path,label,split\na/1.png,u,query\na/2.png,u,gallry\n").unwrap_err();
    assert!(message.contains("line 2: split 'query' is none of"), "{message}");
}

#[test]
fn ids_name_images_whose_endings_the_list_leaves_away() {
    let root = tempfile::tempdir().unwrap();
    for name in ["000bec.png", "1f3ad.png", "9c2.png"] {
        put(root.path().join(name), png([name.len() as u8, 0, 0]));
    }
    for list in [
        "id,breed\n000bec,pug\n1f3ad,pug\n9c2,boxer\n",
        "breed,id\npug,000bec\npug,1f3ad\nboxer,9c2\n",
        "Id,label\n000bec,pug\n1f3ad,pug\n9c2,boxer\n",
        // Kaggle's names of columns, of which not all are known.
        "id_code,diagnosis\n000bec,pug\n1f3ad,pug\n9c2,boxer\n",
        "image_id,landmark\n000bec,pug\n1f3ad,pug\n9c2,boxer\n",
        "img,cls\n000bec,pug\n1f3ad,pug\n9c2,boxer\n",
    ] {
        let data = with(root.path(), list).unwrap();
        assert_eq!(read(&data), [("000bec.png", "pug"), ("1f3ad.png", "pug"), ("9c2.png", "boxer")], "{list}");
        assert!(data.notes.iter().any(|note| note.contains("3 names of the list have no ending")), "{:?}", data.notes);
    }
    // A path beside it is the name.
    let data = with(root.path(), "id,path,label\n1,9c2.png,u\n2,1f3ad.png,v\n").unwrap();
    assert_eq!(read(&data), [("9c2.png", "u"), ("1f3ad.png", "v")]);
}

/// HAM10000's columns: the image's is neither the first, nor do names have endings, nor is the label's known.
#[test]
fn a_header_is_known_by_its_image_s_column() {
    let root = tempfile::tempdir().unwrap();
    for (at, name) in ["ISIC_1.png", "ISIC_2.png", "ISIC_3.png"].iter().enumerate() {
        put(root.path().join(name), png([at as u8, 0, 0]));
    }
    put(root.path().join("list.csv"), "lesion_id,image_id,dx\nL1,ISIC_1,mel\nL1,ISIC_2,mel\nL2,ISIC_3,nv\n");
    let data =
        Dataset::load(&Request { label: Some("dx".into()), ..Request::of(root.path().join("list.csv")) }).unwrap();
    assert_eq!(read(&data), [("ISIC_1.png", "mel"), ("ISIC_2.png", "mel"), ("ISIC_3.png", "nv")]);
    // A word that is there again is a label.
    let data = with(root.path(), "image,ISIC_1.png\nimage,ISIC_2.png\nphoto,ISIC_3.png\n").unwrap();
    assert_eq!(data.classes, ["image", "photo"]);
}

/// Shopee's posting_id begins with train_ or test_; Google's AutoML has images without a part.
#[test]
fn ids_are_no_parts_and_parts_no_labels() {
    let root = tempfile::tempdir().unwrap();
    let mut list = "posting_id,image,label_group\n".to_owned();
    let mut parts = String::new();
    for at in 0..8 {
        put(root.path().join(format!("{at}.png")), png([at, 0, 0]));
        list += &format!("train_{}7{at},{at}.png,{}\n", 9 - at, at / 2);
        parts += &format!("{},{at}.png,c{}\n", ["TRAIN", "TEST", "TRAIN", "UNASSIGNED"][usize::from(at) % 4], at / 4);
    }
    let data = with(root.path(), list).unwrap();
    assert!(
        data.part == "all" && !data.notes.iter().any(|note| note.contains("is taken for the part")),
        "{:?}",
        data.notes
    );
    let data = with(root.path(), parts).unwrap();
    assert_eq!(data.classes, ["c0", "c1"], "{:?}", data.notes);
}

#[test]
fn cameras_of_queries_and_gallery_are_read_and_those_of_names_said() {
    let root = tempfile::tempdir().unwrap();
    let all = ["0001_c1s1_1_0.png", "0001_c2s1_1_0.png", "0002_c1s1_1_0.png"];
    all.iter().enumerate().for_each(|(at, name)| put(root.path().join(name), png([at as u8, 0, 0])));
    let rows = |more: [&str; 4]| {
        let [head, first, second, third] = more;
        format!(
            "path,label,role{head}\n{},a,query{first}\n{},a,gallery{second}\n{},b,gallery{third}\n",
            all[0], all[1], all[2]
        )
    };
    let said = |data: &Dataset, words: &str| data.notes.iter().any(|note| note.contains(words));
    let data = with(root.path(), rows([",camera", ",front", ",side", ",front"])).unwrap();
    assert_eq!(data.items.iter().map(|item| item.camera).collect::<Vec<_>>(), [Some(0), Some(1), Some(0)]);
    assert!(said(&data, "images of one class and one camera (column 'camera') are not counted"), "{:?}", data.notes);
    let data = with(root.path(), rows([""; 4])).unwrap();
    assert!(data.items.iter().all(|item| item.camera.is_none()));
    assert!(said(&data, "images of the query's camera count here, which they do not by its rule"), "{:?}", data.notes);
    // Without roles a camera may be anything.
    let list =
        rows([",camera", ",x", ",y", ",x"]).replace("role", "kind").replace("query", "q").replace("gallery", "g");
    let data = with(root.path(), list).unwrap();
    assert!(data.items.iter().all(|item| item.camera.is_none()) && !said(&data, "one camera"), "{:?}", data.notes);
}
