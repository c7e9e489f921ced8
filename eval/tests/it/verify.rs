//! `verify` and `scores` from the command line to tables and files, on embeddings and scores made here.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use clap::Parser;
use ndarray::Array2;
use ndarray_npy::WriteNpyExt;
use pdloss_eval::Result;
use pdloss_eval::commands::{Cli, Command};
use pdloss_eval::commands::{compare, scores, verify};
use pdloss_eval::pairs::PairList;
use pdloss_eval::table::{Record, Value};

const PEOPLE: usize = 12;
const EACH: usize = 4;

/// A folder with kept embeddings of `A/A_0001.jpg` .. `L/L_0004.jpg`: people apart, images of one near each other.
struct Faces(tempfile::TempDir);

impl Faces {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        #[allow(clippy::cast_possible_truncation)] // noise
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
        let matrix = Array2::from_shape_fn((PEOPLE * EACH, 8), |(r, c)| {
            noise(r / EACH * 8 + c + 1) + 0.6 * noise(5_000 + r * 8 + c)
        });
        matrix.write_npy(fs::File::create(folder.path().join("faces.npy")).unwrap()).unwrap();
        let mut rows = "name,label,role\n".to_owned();
        for row in 0..PEOPLE * EACH {
            writeln!(rows, "{},{},both", name(row / EACH, row % EACH + 1), row / EACH).unwrap();
        }
        fs::write(folder.path().join("faces.csv"), rows).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn verify(&self, more: &[&str]) -> Result<(Record, String)> {
        let faces = self.path("faces.npy").display().to_string();
        run(&[&["verify", "--embeddings", &faces], more].concat())
    }
}

fn person(n: usize) -> char {
    char::from(b'A' + u8::try_from(n).unwrap())
}

fn name(n: usize, image: usize) -> String {
    format!("{0}/{0}_{image:04}.jpg", person(n))
}

fn run(args: &[&str]) -> Result<(Record, String)> {
    let cli = Cli::try_parse_from([&["pdloss-eval"], args].concat()).unwrap_or_else(|e| panic!("{e}"));
    let mut printed = Vec::new();
    let record = match &cli.command {
        Command::Verify(args) => verify::Plan::new(args)?.run(&mut printed)?,
        Command::Scores(args) => scores::run(args, &mut printed)?,
        other => panic!("{other:?}"),
    };
    Ok((record, String::from_utf8(printed).unwrap()))
}

fn real(record: &Record, name: &str) -> f64 {
    match record.get(name) {
        Some(Value::Real(value)) => *value,
        other => panic!("{name}: {other:?}"),
    }
}

fn whole(record: &Record, name: &str) -> u64 {
    match record.get(name) {
        Some(Value::Whole(value)) => *value,
        other => panic!("{name}: {other:?}"),
    }
}

fn text(record: &Record, name: &str) -> String {
    match record.get(name) {
        Some(Value::Text(value)) => value.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

/// Genuine pairs `(n, 1, 2)` .. and impostor pairs of neighbours, `each` a fold.
fn view2(folds: usize, each: usize, header: &str, gap: &str, end: &str) -> String {
    let mut list = if header.is_empty() { String::new() } else { format!("{header}{end}") };
    for fold in 0..folds {
        for n in 0..each {
            let (who, image) = (person((fold * each + n) % PEOPLE), n % 3 + 1);
            write!(list, "{who}{gap}{image}{gap}{}{end}", image + 1).unwrap();
        }
        for n in 0..each {
            let a = (fold * each + n) % PEOPLE;
            write!(
                list,
                "{}{gap}{}{gap}{}{gap}{}{end}",
                person(a),
                n % 4 + 1,
                person((a + 1 + fold) % PEOPLE),
                4 - n % 4
            )
            .unwrap();
        }
    }
    list
}

#[test]
fn view_2_is_read_with_or_without_header_by_tab_or_blank() {
    let faces = Faces::new();
    let mut results = Vec::new();
    for (header, gap, end) in [
        ("3\t6", "\t", "\n"),
        ("", "\t", "\n"),
        ("3 6", " ", "\r\n"),
        ("folds pairs", "\t", "\r\n"),
        ("\u{feff}3\t6", "\t", "\n"),
    ] {
        let list = faces.write("pairs.txt", &view2(3, 6, header, gap, end));
        let (record, printed) = faces.verify(&["--pairs", &list]).unwrap();
        assert_eq!(text(&record, "pairs_format"), "LFW");
        assert_eq!((whole(&record, "genuine_pairs"), whole(&record, "impostor_pairs")), (18, 18));
        assert_eq!(text(&record, "folds"), "3 from the list");
        assert!(printed.contains("threshold"), "{printed}");
        results.push((real(&record, "accuracy"), real(&record, "eer"), real(&record, "accuracy_standard_error")));
    }
    assert!(results.windows(2).all(|r| r[0] == r[1]), "{results:?}");
    assert!(results[0].0 > 0.8, "{results:?}");
}

#[test]
fn a_kept_run_is_compared_at_the_figures_it_was_reported_with() {
    let faces = Faces::new();
    // folds of unlike size: accuracy is a mean over folds, not over pairs
    let mut list = "path_a,path_b,same,fold\n".to_owned();
    for n in 0..PEOPLE {
        let fold = usize::from(n > 2);
        writeln!(list, "{},{},1,{fold}", name(n, 1), name(n, 2)).unwrap();
        writeln!(list, "{},{},0,{fold}", name(n, 3), name((n + 1) % PEOPLE, 4)).unwrap();
    }
    let (list, kept) = (faces.write("pairs.csv", &list), faces.path("kept").display().to_string());
    let (record, _) = faces.verify(&["--pairs", &list, "--save-run", &kept]).unwrap();
    let cli = Cli::try_parse_from(["pdloss-eval", "compare", &kept, &kept, "--draws", "100"]).unwrap();
    let Command::Compare(args) = &cli.command else { panic!("compare") };
    let rows = compare::run(args, &mut Vec::new()).unwrap();
    assert_eq!(rows.iter().map(|row| text(row, "figure")).collect::<Vec<_>>(), ["accuracy", "d_prime"]);
    for row in &rows {
        let reported = real(&record, &text(row, "figure"));
        assert!((real(row, "A") - reported).abs() < 1e-9 && real(row, "A") == real(row, "B"), "{row:?} {reported}");
    }
}

#[test]
fn a_header_that_promises_other_pairs_is_an_error() {
    let faces = Faces::new();
    let list = faces.write("pairs.txt", &view2(3, 6, "10\t300", "\t", "\n"));
    let message = faces.verify(&["--pairs", &list]).unwrap_err().to_string();
    assert!(message.contains("'10\t300'") && message.contains("3000") && message.contains("pairs.txt"), "{message}");
}

#[test]
fn a_first_line_with_a_slip_is_no_header() {
    let faces = Faces::new();
    for slip in ["Ann\tx3\t5", "Ann\t3\t5\tx\ty", "Ann 3 5x"] {
        let gap = if slip.contains('\t') { "\t" } else { " " };
        let list = faces.write("pairs.txt", &view2(3, 6, slip, gap, "\n"));
        let message = faces.verify(&["--pairs", &list]).unwrap_err().to_string();
        assert!(message.contains("line 1") && message.contains("is neither"), "{slip}: {message}");
    }
    let list = faces.write("pairs.txt", &view2(3, 6, "folds pairs", "\t", "\n"));
    let (record, _) = faces.verify(&["--pairs", &list]).unwrap();
    assert!(text(&record, "notes").contains("line 1: 'folds pairs' is taken for the names of columns"));
}

#[test]
fn view_1_takes_its_threshold_from_another_list() {
    let faces = Faces::new();
    let train = faces.write("pairsDevTrain.txt", &view2(1, 12, "12", "\t", "\n"));
    let test = faces.write("pairsDevTest.txt", &view2(1, 8, "8", "\t", "\n"));
    let (record, _) = faces.verify(&["--pairs", &test, "--threshold-pairs", &train]).unwrap();
    assert!(text(&record, "folds").contains("threshold chosen on 24 pairs"));
    assert_eq!(record.get("accuracy_standard_error"), Some(&Value::Missing));
    // without it, one class after the other makes contiguous folds impossible
    let (record, printed) = faces.verify(&["--pairs", &test]).unwrap();
    assert!(text(&record, "folds").contains("CLASS-BALANCED") && printed.contains("BALANCED"));
}

#[test]
fn two_lines_a_pair_make_balanced_folds() {
    let faces = Faces::new();
    let mut list = String::new();
    for n in 0..12 {
        write!(list, "{0}_0001.jpg 1\r\n{0}_0002.jpg 1\r\n", person(n)).unwrap();
    }
    for n in 0..12 {
        write!(list, "{}_0001.jpg\t0\n{}_0003.jpg\t0\n", person(n), person((n + 5) % PEOPLE)).unwrap();
    }
    let path = faces.write("pairs_CPLFW.txt", &list);
    let (record, printed) = faces.verify(&["--pairs", &path]).unwrap();
    assert_eq!(text(&record, "pairs_format"), "two lines a pair");
    assert_eq!((whole(&record, "genuine_pairs"), whole(&record, "impostor_pairs")), (12, 12));
    assert!(text(&record, "folds").starts_with("10 CLASS-BALANCED") && printed.contains("BALANCED"));
    let odd = faces.write("odd.txt", &list.replacen("A_0002.jpg 1", "A_0002.jpg 0", 1));
    assert!(faces.verify(&["--pairs", &odd]).unwrap_err().to_string().contains("lines 1 and 2"));
}

#[test]
fn tables_name_their_columns_and_folds() {
    let faces = Faces::new();
    let rows = |order: fn(&str, &str, u8, usize) -> String| {
        (0..24)
            .map(|n| {
                let (a, b) = (n / 2, if n % 2 == 0 { n / 2 } else { (n / 2 + 3) % PEOPLE });
                order(&name(a, 1), &name(b, 2), u8::from(n % 2 == 0), n / 8)
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    let plain = faces.write("plain.csv", &rows(|a, b, same, fold| format!("{a}, {b}, {same}, {fold}")));
    let named = faces.write(
        "named.csv",
        &format!("split;img2;label;img1\n{}", rows(|a, b, same, fold| format!("f{fold};{b};{};{a}", same == 1))),
    );
    let tabs = faces.write("tabs.tsv", &rows(|a, b, same, _| format!("{a}\t{b}\t{same}")));
    let blanks = faces.write("blanks.txt", &rows(|a, b, same, _| format!("{a} {b} {same}")));
    let results: Vec<_> =
        [&plain, &named, &tabs, &blanks].iter().map(|list| faces.verify(&["--pairs", list]).unwrap().0).collect();
    for record in &results {
        assert_eq!(real(record, "eer"), real(&results[0], "eer"));
        assert_eq!(text(record, "pairs_format"), "table of paths");
    }
    assert_eq!(text(&results[0], "folds"), "3 from the list");
    assert_eq!(real(&results[0], "accuracy"), real(&results[1], "accuracy"));
    assert_eq!(text(&results[2], "folds"), "10 contiguous parts of the list");
    let wrong = faces.write("wrong.csv", "A/A_0001.jpg,A/A_0002.jpg,1\nA/A_0001.jpg,B/B_0002.jpg,maybe\n");
    let message = faces.verify(&["--pairs", &wrong]).unwrap_err().to_string();
    assert!(message.contains("line 2") && message.contains("maybe"), "{message}");
}

fn notes(record: &Record) -> String {
    record.get("notes").map(Value::word).unwrap_or_default()
}

/// A line of a table: both names, whether they are one person, the number of the line.
type Order = fn(&str, &str, bool, usize) -> String;

/// Pairs of the same faces as a table of `order`, its header first; and what `verify` says of it.
fn table_of(faces: &Faces, header: &str, order: Order) -> Result<(Record, String)> {
    let row = |n: usize| {
        let (a, b) = (n / 2 % PEOPLE, if n.is_multiple_of(2) { n / 2 % PEOPLE } else { (n / 2 + 3) % PEOPLE });
        order(&name(a, 1), &name(b, 2), n.is_multiple_of(2), n)
    };
    let rows: Vec<String> = (0..24).map(row).collect();
    let list = faces.write("table.csv", &format!("{header}{}\n", rows.join("\n")));
    faces.verify(&["--pairs", &list])
}

#[test]
fn columns_that_are_no_folds_make_none_and_are_said() {
    let faces = Faces::new();
    let plain = table_of(&faces, "", |a, b, same, _| format!("{a},{b},{}", u8::from(same))).unwrap().0;
    let without: [(&str, Order); 4] = [
        ("path_a,path_b,same,score\n", |a, b, same, n| format!("{a},{b},{},0.{n}", u8::from(same))),
        ("path_a,path_b,same,person\n", |a, b, same, _| format!("{a},{b},{},{}", u8::from(same), &a[..1])),
        ("", |a, b, same, n| format!("{a},{b},{},0.{n:03}1", u8::from(same))),
        ("", |a, b, same, n| format!("{a},{b},{},{n}", u8::from(same))),
    ];
    for (header, order) in without {
        let record = table_of(&faces, header, order).unwrap().0;
        assert_eq!(text(&record, "folds"), "10 contiguous parts of the list", "{header}");
        assert_eq!(real(&record, "accuracy"), real(&plain, "accuracy"), "{header}");
        assert!(notes(&record).contains("nothing is read from column"), "{header}: {}", notes(&record));
    }
    let folds = |order| table_of(&faces, "path_a,path_b,same,fold\n", order);
    let record = folds(|a, b, same, n| {
        let fold = n / 8;
        if n.is_multiple_of(3) { format!("{a},{b},{same},{fold}.0") } else { format!("{a},{b},{same},{fold}") }
    });
    assert_eq!(text(&record.unwrap().0, "folds"), "3 from the list", "1 and 1.0 are one fold");
    let empty = folds(|a, b, same, n| format!("{a},{b},{same},{}", if n == 3 { "" } else { "1" })).unwrap_err();
    assert!(empty.to_string().contains("line 5: the fold is empty"), "{empty}");
    let parts = folds(|a, b, same, n| format!("{a},{b},{same},{}", ["train", "test"][n / 12])).unwrap_err();
    assert!(parts.to_string().contains("'train' is a part of a data set and no fold"), "{parts}");
    let one_sided = folds(|a, b, same, n| format!("{a},{b},{same},{}", if n < 4 { n.to_string() } else { "x".into() }));
    assert!(notes(&one_sided.unwrap().0).contains("4 of 5 folds hold only genuine or only impostor pairs"));
}

#[test]
fn pairs_and_answers_come_in_the_columns_and_words_of_their_programs() {
    let faces = Faces::new();
    let plain = table_of(&faces, "", |a, b, same, _| format!("{a},{b},{}", u8::from(same))).unwrap().0;
    let tables: [(&str, Order); 8] = [
        (",img_1,img_2,label\n", |a, b, same, n| format!("{n},{a},{b},{}", u8::from(same))),
        ("Unnamed: 0;left;right;target\n", |a, b, same, n| format!("{n};{a};{b};{}", u8::from(same))),
        ("path1,path2,label\n", |a, b, same, _| format!("{a},{b},{}.0", u8::from(same))),
        ("path1,path2,label\n", |a, b, same, _| format!("{a},{b},{}", if same { "Y" } else { "N" })),
        ("path1,path2,label\n", |a, b, same, _| format!("{a},{b},{}", if same { "positive" } else { "negative" })),
        ("path1,path2,label\n", |a, b, same, _| format!("{a},{b},{}", if same { "+1" } else { "-1" })),
        ("", |a, b, same, _| format!("{},{a},{b}", u8::from(same))),
        ("", |a, b, same, _| format!("{} {a} {b}", u8::from(same))),
    ];
    for (at, (header, order)) in tables.into_iter().enumerate() {
        let record = table_of(&faces, header, order).unwrap_or_else(|e| panic!("{at}: {e}")).0;
        for figure in ["eer", "d_prime", "accuracy"] {
            assert_eq!(real(&record, figure), real(&plain, figure), "{at} {header} {figure}");
        }
    }
    for word in ["distance", "different", "dissimilar", "impostor", "is_mismatch", "Is Different Person", "not_same"] {
        let header = format!("path1,path2,{word}\n");
        let error = table_of(&faces, &header, |a, b, same, _| format!("{a},{b},{}", u8::from(!same))).unwrap_err();
        assert!(error.to_string().contains(&format!("line 1: column '{word}' says the contrary")), "{error}");
    }
}

#[test]
fn a_missing_image_is_named_and_moves_no_fold() {
    let faces = Faces::new();
    let whole_list = view2(3, 6, "3\t6", "\t", "\n");
    // Person A's second image becomes one that is not there.
    let broken = whole_list.replacen("A\t1\t2\n", "A\t1\t9\n", 1);
    let list = faces.write("pairs.txt", &broken);
    let message = faces.verify(&["--pairs", &list]).unwrap_err().to_string();
    assert!(message.contains("A/A_0009") && message.contains("--skip-missing"), "{message}");
    let (record, _) = faces.verify(&["--pairs", &list, "--skip-missing"]).unwrap();
    assert_eq!((whole(&record, "pairs_without_image"), whole(&record, "pairs_listed")), (1, 36));
    let said = record.get("notes").unwrap().word();
    assert!(said.contains("left out 1 of the 36 pairs of") && said.contains("whose images are not there"), "{said}");
    assert_eq!((whole(&record, "genuine_pairs"), whole(&record, "impostor_pairs")), (17, 18));
    let full = faces.write("full.txt", &whole_list);
    let (full, _) = faces.verify(&["--pairs", &full]).unwrap();
    // Folds 2 and 3 hold the pairs they held: fold 1's threshold, chosen on them, is the same.
    assert_eq!(real(&record, "threshold_fold_1"), real(&full, "threshold_fold_1"));
}

#[test]
fn pairs_listed_again_contrary_or_on_both_lists_are_said() {
    let faces = Faces::new();
    let list = "A/A_0001.jpg,A/A_0002.jpg,1\nA/A_0001.jpg,B/B_0001.jpg,0\nC/C_0001.jpg,C/C_0002.jpg,1\nC/C_0001.jpg,D/D_0001.jpg,0\n";
    let plain = faces.write("plain.csv", list);
    let said = notes(&faces.verify(&["--pairs", &plain]).unwrap().0);
    assert!(!said.contains("pairs"), "{said}");
    let again = faces.write("again.csv", &format!("{list}A/A_0002.jpg,A/A_0001.jpg,1\nB/B_0001.jpg,A/A_0001.jpg,0\n"));
    let (record, _) = faces.verify(&["--pairs", &again]).unwrap();
    assert!(notes(&record).contains("2 pairs of") && notes(&record).contains("are listed again"), "{}", notes(&record));
    assert_eq!(whole(&record, "genuine_pairs"), 3);
    let contrary =
        faces.write("contrary.csv", &format!("E/E_0002.jpg,E/E_0001.jpg,0\n{list}E/E_0001.jpg,E/E_0002.jpg,1\n"));
    let message = faces.verify(&["--pairs", &contrary]).unwrap_err().to_string();
    assert!(message.contains("2 of its 6 pairs are called both genuine and impostor"), "{message}");
    let (record, _) = faces.verify(&["--pairs", &contrary, "--skip-bad"]).unwrap();
    assert!(notes(&record).contains("left out 2 pairs that are called both"), "{}", notes(&record));
    assert_eq!((whole(&record, "genuine_pairs"), whole(&record, "impostor_pairs")), (2, 2));
    let (record, _) = faces.verify(&["--pairs", &plain, "--threshold-pairs", &again]).unwrap();
    assert!(notes(&record).contains("4 pairs are in both"), "{}", notes(&record));
    let few = faces.write("few.csv", "A/A_0001.jpg,A/A_0002.jpg,1\nA/A_0001.jpg,B/B_0001.jpg,0\n");
    assert!(notes(&faces.verify(&["--pairs", &few]).unwrap().0).contains("no accuracy: folds need"));
}

#[test]
fn all_pairs_agree_with_the_list_of_all_pairs() {
    let faces = Faces::new();
    let mut list = String::new();
    for a in 0..PEOPLE * EACH {
        for b in a + 1..PEOPLE * EACH {
            writeln!(
                list,
                "{},{},{}",
                name(a / EACH, a % EACH + 1),
                name(b / EACH, b % EACH + 1),
                u8::from(a / EACH == b / EACH)
            )
            .unwrap();
        }
    }
    let list = faces.write("all.csv", &list);
    let (listed, _) = faces.verify(&["--pairs", &list, "--bootstrap", "100"]).unwrap();
    let (all, printed) = faces.verify(&["--all-pairs", "--bootstrap", "100"]).unwrap();
    for figure in ["eer", "auc", "d_prime", "fnmr@fmr=0.1", "tar@far=0.01", "zero_fmr", "eer_from", "d_prime_to"] {
        assert_eq!(real(&listed, figure), real(&all, figure), "{figure}");
    }
    assert_eq!(all.get("fnmr@fmr=0.001"), Some(&Value::Missing));
    assert!(printed.contains("not carried by 1056"), "{printed}");
    for row in [&listed, &all] {
        let notes = row.get("notes").map(Value::word).unwrap_or_default();
        assert!(notes.contains("only 12 subjects: the intervals are rough"), "{notes}");
    }
    let again = faces.verify(&["--all-pairs", "--bootstrap", "100", "--threads", "1"]).unwrap().0;
    assert_eq!(real(&again, "d_prime_to"), real(&all, "d_prime_to"));
    let other = faces.verify(&["--all-pairs", "--bootstrap", "100", "--seed", "2"]).unwrap().0;
    assert_ne!(real(&other, "d_prime_to"), real(&all, "d_prime_to"));
}

#[test]
fn results_points_and_pictures_are_written() {
    let faces = Faces::new();
    let path = |name: &str| faces.path(name).display().to_string();
    for ending in ["csv", "json", "parquet", "md"] {
        let (out, points, plot) = (path(&format!("out.{ending}")), path(&format!("points.{ending}")), path("pictures"));
        faces.verify(&["--all-pairs", "--out", &out, "--points", &points, "--plot", &plot]).unwrap();
        assert!(fs::metadata(&out).unwrap().len() > 500 && fs::metadata(&points).unwrap().len() > 500);
    }
    assert!(
        fs::read_to_string(path("points.csv")).unwrap().starts_with("threshold,fmr,fnmr,tar,llr_pav,llr_logistic\n")
    );
    for picture in ["roc", "det", "scores"] {
        let png = image::open(faces.path("pictures").join(format!("{picture}.png"))).unwrap().into_rgb8();
        assert_eq!(png.dimensions(), (960, 720));
        // letters and curve were drawn, in more colours than the paper's
        let colors: std::collections::HashSet<_> = png.pixels().map(|p| p.0).collect();
        assert!(colors.len() > 20, "{picture}: {}", colors.len());
        let svg = fs::read_to_string(faces.path("pictures").join(format!("{picture}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && svg.contains("<text"), "{picture}");
    }
    let svg = fs::read_to_string(faces.path("pictures").join("scores.svg")).unwrap();
    assert!(svg.contains(" = ") && svg.contains("genuine: ") && svg.contains("impostor: "));
}

#[test]
fn scores_come_in_any_file_and_either_sign() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let genuine = [0.9, 0.8, 0.75, 0.4];
    let impostor: Vec<f64> = (0..40).map(|n| f64::from(n) / 60.0).collect();
    let lines = |list: &[f64], sign: f64| list.iter().map(|s| format!("{}\n", sign * s)).collect::<String>();
    fs::write(path("g.txt"), lines(&genuine, 1.0)).unwrap();
    fs::write(path("i.txt"), format!("# impostor\n\n{}", lines(&impostor, 1.0))).unwrap();
    fs::write(path("g.csv"), format!("pair,score\n{}", genuine.iter().map(|s| format!("x,{s}\n")).collect::<String>()))
        .unwrap();
    fs::write(path("i.csv"), lines(&impostor, 1.0)).unwrap();
    ndarray::arr1(&genuine).write_npy(fs::File::create(path("g.npy")).unwrap()).unwrap();
    ndarray::Array1::from(impostor.clone()).write_npy(fs::File::create(path("i.npy")).unwrap()).unwrap();
    let parquet = |name: &str, list: &[f64]| {
        let rows: Vec<Record> = list
            .iter()
            .map(|&s| {
                let mut r = Record::new();
                r.set("score", s).set("x", "y");
                r
            })
            .collect();
        pdloss_eval::table::Kind::Parquet.write(&folder.path().join(name), &rows).unwrap();
    };
    parquet("g.parquet", &genuine);
    parquet("i.parquet", &impostor);
    fs::write(path("gd.txt"), lines(&genuine, -1.0)).unwrap();
    fs::write(path("id.txt"), lines(&impostor, -1.0)).unwrap();
    let figures = |record: &Record| ["eer", "auc", "d_prime", "fnmr@fmr=0.1", "zero_fmr"].map(|f| real(record, f));
    let plain = run(&["scores", "--genuine", &path("g.txt"), "--impostor", &path("i.txt")]).unwrap().0;
    for ending in ["csv", "npy", "parquet"] {
        let other =
            run(&["scores", "--genuine", &path(&format!("g.{ending}")), "--impostor", &path(&format!("i.{ending}"))])
                .unwrap()
                .0;
        assert_eq!(figures(&plain), figures(&other), "{ending}");
    }
    let distance =
        run(&["scores", "--genuine", &path("gd.txt"), "--impostor", &path("id.txt"), "--distance"]).unwrap().0;
    assert_eq!(figures(&plain), figures(&distance));
    // thresholds and means come back in the sign they were given in
    assert_eq!(real(&plain, "eer_threshold"), -real(&distance, "eer_threshold"));
    assert_eq!(real(&plain, "mu_genuine"), -real(&distance, "mu_genuine"));
}

#[test]
fn bad_score_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let good = write("good.txt", "0.1\n0.2\n");
    let message = |genuine: &str, impostor: &str| {
        run(&["scores", "--genuine", genuine, "--impostor", impostor]).unwrap_err().to_string()
    };
    assert!(message(&write("word.txt", "0.1\nhigh\n"), &good).contains("word.txt: line 2: 'high'"));
    assert!(message(&good, &write("nan.txt", "0.1\nNaN\n")).contains("impostor score 2 of 2 is NaN"));
    assert!(message(&good, &write("empty.txt", "\n")).contains("0 impostor"));
    assert!(message(&good, &write("two.csv", "a,b\n1,2\n")).contains("choose one by --column"));
    assert!(message(&good, &write("bad.npy", "no")).contains("bad.npy"));
    assert!(message(&good, &write("bad.parquet", "no")).contains("bad.parquet"));
    assert!(message("nowhere.txt", &good).contains("nowhere.txt"));
}

#[test]
fn insightface_pickles_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lfw.bin");
    let image = |n: u8| serde_pickle::Value::Bytes(vec![n; 5]);
    let pickle = |images: Vec<serde_pickle::Value>, answers: Vec<bool>| {
        let answers = serde_pickle::Value::List(answers.into_iter().map(serde_pickle::Value::Bool).collect());
        let value = serde_pickle::Value::Tuple(vec![serde_pickle::Value::List(images), answers]);
        fs::write(&path, serde_pickle::value_to_vec(&value, serde_pickle::SerOptions::new()).unwrap()).unwrap();
        PairList::read(&path)
    };
    let list = pickle([1, 2, 1, 3, 2, 4].map(image).into(), vec![true, false, false]).unwrap();
    assert_eq!(list.format, "insightface .bin");
    // equal bytes are one image
    assert_eq!(list.contents.as_ref().unwrap().len(), 4);
    assert_eq!(
        list.pairs.iter().map(|p| (p.a, p.b, p.same)).collect::<Vec<_>>(),
        [(0, 1, true), (0, 2, false), (1, 3, false)]
    );
    assert!(
        pickle([1, 2, 1].map(image).into(), vec![true, false])
            .unwrap_err()
            .to_string()
            .contains("3 images for 2 answers")
    );
    fs::write(&path, b"not a pickle").unwrap();
    assert!(PairList::read(&path).unwrap_err().to_string().contains("lfw.bin"));
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let faces = Faces::new();
    let message = |more: &[&str]| faces.verify(more).unwrap_err();
    assert!(message(&[]).to_string().contains("--all-pairs"));
    assert_eq!(message(&[]).exit_code(), 2);
    for draws in ["0", "2", "99", "1000001", "18446744073709551615"] {
        let said = message(&["--all-pairs", "--bootstrap", draws]).to_string();
        assert!(said.contains(&format!("--bootstrap {draws}: wanted 100 to 1000000 draws")), "{said}");
    }
    assert!(message(&["--all-pairs", "--bootstrap", "100", "--confidence", "95"]).to_string().contains("--confidence"));
    let said = message(&["--all-pairs", "--bootstrap", "1000", "--confidence", "0.999"]).to_string();
    assert!(said.contains("not one draw lies beyond") && said.contains("at least 2000 draws"), "{said}");
    assert!(message(&["--all-pairs", "--out", "result.xyz"]).to_string().contains(".parquet"));
    let list = faces.write("one.csv", "A/A_0001.jpg,A/A_0002.jpg,1\n");
    assert!(message(&["--pairs", &list]).to_string().contains("0 impostor pairs"));
}

#[test]
fn pairs_that_would_take_days_are_refused_before_they_are_compared() {
    let faces = Faces::new();
    let message = faces.verify(&["--all-pairs", "--max-pairs", "1000"]).unwrap_err();
    assert_eq!(message.exit_code(), 2);
    assert!(message.to_string().contains("48 images make 1128 pairs, more than --max-pairs 1000"), "{message}");
    assert!(faces.verify(&["--all-pairs", "--max-pairs", "1128"]).is_ok());
    // Without the flag, those of more than 200 000 rows.
    let rows = 200_001;
    Array2::<f32>::ones((rows, 1)).write_npy(fs::File::create(faces.path("faces.npy")).unwrap()).unwrap();
    let labels: Vec<&str> = (0..rows).map(|row| if row % 2 == 0 { "a" } else { "b" }).collect();
    fs::write(faces.path("faces.csv"), format!("label\n{}\n", labels.join("\n"))).unwrap();
    let message = faces.verify(&["--all-pairs"]).unwrap_err().to_string();
    assert!(message.contains("make 20000100000 pairs, more than --max-pairs 19999900000"), "{message}");
}

/// The fixtures' images all against all; `more` says how.
fn shapes(more: &[&str]) -> Result<(Record, String)> {
    let fixtures = super::tools::fixtures();
    let path = |name: &str| fixtures.join(name).display().to_string();
    let (model, data) = (path("embedder.onnx"), path("shapes"));
    run(&[
        &["verify", "--runtime", "tract", "--model", &model, "--data", &data, "--all-pairs", "--classes", "1-6"],
        more,
    ]
    .concat())
}

#[test]
fn images_are_embedded_mirrored_and_aligned() {
    let folder = Faces::new();
    let (plain, _) = shapes(&[]).unwrap();
    assert_eq!(text(&plain, "flip"), "none");
    let kept = folder.path("kept.npy").display().to_string();
    let (add, _) = shapes(&["--flip", "add", "--save-embeddings", &kept]).unwrap();
    let (concat, _) = shapes(&["--flip", "concat"]).unwrap();
    assert!(text(&add, "flip").starts_with("add") && text(&concat, "flip").starts_with("concat"));
    assert_eq!(2 * whole(&plain, "dim"), whole(&concat, "dim"));
    let means = [&plain, &add, &concat].map(|r| real(r, "mu_impostor"));
    assert!(means[0] != means[1] && means[1] != means[2] && means[0] != means[2], "{means:?}");
    // kept embeddings are the combined ones
    let (again, _) = run(&["verify", "--embeddings", &kept, "--all-pairs"]).unwrap();
    assert_eq!(real(&again, "d_prime"), real(&add, "d_prime"));

    // Landmarks: every image at the template scaled to its 64 pixels, one left out at first.
    let fixtures = super::tools::fixtures().join("shapes");
    let mut names: Vec<String> =
        walk(&fixtures).into_iter().filter(|n| n.ends_with(".png") || n.ends_with(".jpg")).collect();
    names.sort();
    let line = |name: &String| {
        let points: Vec<String> =
            pdloss_embed::preprocess::TEMPLATE.iter().flatten().map(|v| (v * 64.0 / 112.0).to_string()).collect();
        format!("{name},{}\n", points.join(","))
    };
    let some = folder.write("some.csv", &names[1..].iter().map(line).collect::<String>());
    let message = shapes(&["--align", &some]).unwrap_err().to_string();
    assert!(
        message.contains("has no landmarks") && message.contains(names[0].rsplit('/').next().unwrap()),
        "{message}"
    );
    let all = folder.write("all.csv", &names.iter().map(line).collect::<String>());
    let (aligned, _) = shapes(&["--align", &all]).unwrap();
    assert!(text(&aligned, "align").contains("all.csv"));
    assert_ne!(real(&aligned, "mu_impostor"), means[0]);
}

/// Paths of all files below a folder, relative to it.
fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            found.push(name);
        }
    }
    found
}

#[test]
fn kaggles_csv_and_names_of_several_words_are_lfws() {
    let read = |content: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.csv");
        fs::write(&path, content).unwrap();
        PairList::read(&path).map_err(|e| e.to_string())
    };
    let wanted = ["Ann Lee/Ann Lee_0001", "Ann Lee/Ann Lee_0002", "Bo/Bo_0003"];
    for content in [
        "name,imagenum1,imagenum2,\nAnn Lee,1,2,\nAnn Lee,1,Bo,3\n",
        "name,imagenum1,imagenum2\nAnn Lee,1,2\nname,imagenum1,name,imagenum2\nAnn Lee,1,Bo,3\n",
        "\u{feff}1\t1\nAnn Lee\t1\t2\nAnn Lee\t1\tBo\t3\n",
        "1 1\nAnn Lee 1 2\nAnn Lee 1 Bo 3\n",
        "Ann Lee;1;2\r\nAnn Lee;1;Bo;3\r\n\r\n",
    ] {
        let list = read(content).unwrap();
        assert_eq!((list.format, list.images.as_slice()), ("LFW", wanted.map(String::from).as_slice()), "{content}");
        assert_eq!(list.pairs.iter().map(|p| p.same).collect::<Vec<_>>(), [true, false]);
    }
    assert!(read("name,imagenum1,imagenum2\nAnn,1,2\nAnn,1,3\n").unwrap_err().contains("put together into one file"));
    let huge = read("10000000000\t10000000000\nA\t1\t2\nA\t1\tB\t1\n").unwrap_err();
    assert!(huge.contains("promises 10000000000 folds of 100000000000000000000 genuine"), "{huge}");
    assert!(read("340282366920938463463374607431768211455 2\nA 1 2\nA 1 B 1\n").unwrap_err().contains("promises"));
}

#[test]
fn calfw_names_the_folds_of_genuine_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs_CALFW.txt");
    let mut list = String::new();
    for n in 0..6 {
        write!(list, "{0}_0001.jpg {1}\n{0}_0002.jpg {1}\n", person(n), n / 2 + 1).unwrap();
    }
    for n in 0..6 {
        write!(list, "{}_0001.jpg 0\n{}_0003.jpg 0\n", person(n), person(n + 1)).unwrap();
    }
    fs::write(&path, &list).unwrap();
    let read = PairList::read(&path).unwrap();
    let folds: Vec<_> = read.pairs.iter().map(|p| (p.same, p.fold.unwrap())).collect();
    let wanted = [0, 0, 1, 1, 2, 2];
    assert_eq!(folds, [wanted.map(|f| (true, f)), wanted.map(|f| (false, f))].concat());
    fs::write(&path, list.replacen("C_0001.jpg 2", "C_0001.jpg 3", 1)).unwrap();
    assert!(PairList::read(&path).unwrap_err().to_string().contains("lines 5 and 6: they name different folds"));
}

#[test]
fn pickles_that_nest_or_hold_numpy_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faces.bin");
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        PairList::read(&path).unwrap_err().to_string()
    };
    let nested = [vec![b')'], vec![0x85; 100_000], vec![b'.']].concat();
    assert!(refused(&nested).contains("faces.bin: is not a pickle of images and answers: it nests"));
    assert!(refused(b"\x80\x04\x8c\x05numpy\x8c\x05bool_\x93.").contains("numpy.bool_"));
}

#[test]
fn groups_that_read_alike_stay_apart() {
    let faces = Faces::new();
    let table = faces.path("table.json").display().to_string();
    let groups = |header: &str, by: &str, value: &dyn Fn(usize) -> &'static str| {
        let mut lines = format!("path,{header}\n");
        for n in 0..PEOPLE {
            (1..=EACH).for_each(|image| writeln!(lines, "{},{}", name(n, image), value(n)).unwrap());
        }
        let file = faces.write("groups.csv", &lines);
        let more = ["--all-pairs", "--groups", &file, "--group-by", by, "--group-fmr", "0.1", "--group-table", &table];
        let (record, _) = faces.verify(&more).unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(&fs::read_to_string(&table).unwrap()).unwrap();
        let names: Vec<String> = rows.iter().map(|row| row["group"].as_str().unwrap().to_owned()).collect();
        (text(&record, "group_by"), names)
    };
    let origins = ["Asian", "White", "Asian - White"];
    let (_, names) = groups("origin", "origin", &|n| origins[n % 3]);
    let wanted = [
        "\"Asian - White\"",
        "Asian",
        "White",
        "Asian - \"Asian - White\"",
        "Asian - White",
        "\"Asian - White\" - White",
    ];
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(wanted.iter().all(|name| names.iter().any(|found| found == name)), "{names:?}");
    let (_, names) = groups("a,b", "a,b", &|n| if n % 2 == 0 { "x/y,z" } else { "x,y/z" });
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&"\"x/y\"/z".to_owned()) && names.contains(&"x/\"y/z\"".to_owned()), "{names:?}");
    // A column that is named twice makes the groups that it makes once.
    let (by, names) = groups("sex", "sex,sex", &|n| if n % 2 == 0 { "f" } else { "m" });
    assert_eq!((by.as_str(), names), ("sex", ["f", "m", "f - m"].map(str::to_owned).to_vec()));
}

#[test]
fn a_fold_column_of_one_value_is_said() {
    let faces = Faces::new();
    let mut lines = "a,b,same,fold\n".to_owned();
    for n in 0..PEOPLE {
        writeln!(lines, "{},{},1,3", name(n, 1), name(n, 2)).unwrap();
        writeln!(lines, "{},{},0,3", name(n, 1), name((n + 1) % PEOPLE, 2)).unwrap();
    }
    let list = faces.write("one.csv", &lines);
    let (record, _) = faces.verify(&["--pairs", &list]).unwrap();
    let notes = text(&record, "notes");
    assert!(notes.contains("column 'fold' is passed over: it names one fold, '3', for every pair"), "{notes}");
}

#[test]
fn groups_have_the_errors_of_their_pairs() {
    let faces = Faces::new();
    // Persons A to F are young, the others old; images of M are of nobody.
    let mut lines = "path,age,eye\n".to_owned();
    for n in 0..PEOPLE {
        for image in 1..=EACH {
            writeln!(lines, "{},{},{}", name(n, image), if n < 6 { "young" } else { "old" }, image % 2).unwrap();
        }
    }
    let groups = faces.write("groups.csv", &lines);
    let (table, saved) = (faces.path("table.json").display().to_string(), faces.path("run").display().to_string());
    let more = ["--all-pairs", "--groups", &groups, "--group-by", "age", "--group-fmr", "0.1", "--bootstrap", "100"];
    let (record, printed) =
        faces.verify(&[&more[..], &["--group-table", &table, "--save-run", &saved]].concat()).unwrap();
    assert!(printed.contains("| old - young") && printed.contains("by age, at threshold"), "{printed}");
    let threshold = real(&record, "group_threshold");
    assert_eq!(threshold, real(&record, "threshold@fmr=0.1"));
    let run = pdloss_eval::runs::Run::read(faces.path("run").as_path()).unwrap();
    let pdloss_eval::runs::Details::Verification(kept) = run.details else { panic!("no verification") };
    let kept_groups: Vec<(String, f64)> =
        kept.groups.iter().map(|row| (text(row, "group"), real(row, "fmr_to"))).collect();
    let pairs = kept.pairs.unwrap();
    let age = |image: u32| if pairs.images[image as usize].name.as_bytes()[0] < b'G' { "young" } else { "old" };
    let rows: Vec<serde_json::Value> = serde_json::from_str(&fs::read_to_string(&table).unwrap()).unwrap();
    assert_eq!(
        rows.iter().map(|row| row["group"].as_str().unwrap()).collect::<Vec<_>>(),
        ["old", "young", "old - young"]
    );
    // The run keeps them, too.
    let written = rows.iter().map(|row| (row["group"].as_str().unwrap(), row["fmr_to"].as_f64().unwrap()));
    assert_eq!(kept_groups.len(), rows.len());
    // The last digit of a number in JSON may be read otherwise.
    assert!(kept_groups.iter().zip(written).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-12), "{kept_groups:?}");
    for row in &rows {
        let group = row["group"].as_str().unwrap();
        let of = |a: &str, b: &str| if a == b { a == group } else { group.contains(" - ") };
        let rate = |same: bool| {
            let all: Vec<bool> = pairs
                .pairs
                .iter()
                .filter(|p| p.same == same && of(age(p.a), age(p.b)))
                .map(|p| p.score >= threshold)
                .collect();
            let wrong = all.iter().filter(|&&accepted| accepted != same).count();
            (!all.is_empty()).then(|| wrong as f64 / all.len() as f64)
        };
        assert_eq!((row["fmr"].as_f64(), row["fnmr"].as_f64()), (rate(false), rate(true)), "{group}");
        for name in ["fmr", "fnmr"] {
            let end = |end: &str| row[format!("{name}_{end}")].as_f64();
            let (value, from, to) = (row[name].as_f64(), end("from"), end("to"));
            assert!(value.is_none_or(|value| from.unwrap() <= value && value <= to.unwrap()), "{group}: {row}");
        }
    }
    let worst = text(&record, "worst_fmr_group");
    let most = rows.iter().filter_map(|row| row["fmr"].as_f64()).fold(0.0, f64::max);
    assert_eq!(real(&record, "worst_fmr"), most);
    assert!(rows.iter().any(|row| row["group"] == *worst && row["fmr"].as_f64() == Some(most)));
    // a list of pairs, two columns, and images that no line is of
    let list = faces.write("pairs.csv", &view2(2, 6, "", "\t", "\n"));
    let few =
        faces.write("few.csv", &lines.lines().filter(|line| !line.starts_with("A/")).collect::<Vec<_>>().join("\n"));
    let (record, _) = faces.verify(&["--pairs", &list, "--groups", &few, "--group-by", "age,eye"]).unwrap();
    assert!(whole(&record, "pairs_without_group") > 0 && text(&record, "notes").contains("pairs are of no group"));
    assert!(
        text(&record, "notes").contains("do not carry it") && text(&record, "group_threshold_from").contains("EER")
    );
    // A name with a comma stands in quotes.
    let quoted = faces.write("quoted.csv", &lines.replacen("age", "\"age, in years\"", 1));
    let by = ["--all-pairs", "--groups", &quoted, "--group-by", "\"age, in years\",eye"];
    assert_eq!(text(&faces.verify(&by).unwrap().0, "group_by"), "age, in years, eye");
    let wrong = faces.verify(&["--all-pairs", "--groups", &groups, "--group-by", "sex"]).unwrap_err().to_string();
    assert!(wrong.contains("--group-by") && wrong.contains("path, age, eye"), "{wrong}");
    let none = faces.write("none.csv", "path,age\nz/1.jpg,old\n");
    let wrong = faces.verify(&["--all-pairs", "--groups", &none, "--group-by", "age"]).unwrap_err().to_string();
    assert!(wrong.contains("--groups: no pair has two images"), "{wrong}");
}

#[test]
fn a_threshold_list_gives_hter_and_calibration() {
    let faces = Faces::new();
    let (test, train) = (
        faces.write("test.txt", &view2(1, 12, "12", "\t", "\n")),
        faces.write("train.txt", &view2(2, 12, "", "\t", "\n")),
    );
    let (record, _) =
        faces.verify(&["--pairs", &test, "--threshold-pairs", &train, "--bootstrap", "100", "--all-figures"]).unwrap();
    assert_eq!((text(&record, "development"), text(&record, "calibrated_on")), (train.clone(), train.clone()));
    let (alone, _) = faces.verify(&["--pairs", &train]).unwrap();
    assert_eq!(real(&record, "hter_threshold"), real(&alone, "eer_threshold"));
    assert_eq!(real(&record, "hter"), (real(&record, "hter_fmr") + real(&record, "hter_fnmr")) / 2.0);
    for name in ["hter", "best_accuracy", "eer_rocch", "min_cllr", "min_dcf@prior=0.05"] {
        let ends = (real(&record, &format!("{name}_from")), real(&record, &format!("{name}_to")));
        assert!(ends.0 <= ends.1, "{name}: {ends:?}");
    }
    // cosines are no likelihood ratios
    assert_eq!((record.get("cllr"), alone.get("hter")), (Some(&Value::Missing), None));
    assert_eq!(text(&alone, "calibrated_on"), "the same pairs");
}
