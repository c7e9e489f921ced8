//! A table of pairs: `path_a, path_b, same[, fold]`, with or without a header; comma, semicolon, tab or blanks.
//!
//! With a header, columns are found by name (`same` also as `label`, `issame`, `match`; `fold` also as `split`), else by
//! place: the answer is then the third column, or the first one of which every value is an answer. A fourth column is the
//! fold where its values repeat. Folds are numbers or words, and numbered in the order of these.

use std::borrow::Cow;
use std::collections::HashMap;

use pdloss_embed::dataset::columns::{called, is_index_of};
use pdloss_embed::dataset::{is_image, plain_number, several};
use pdloss_embed::delimited::{Record, Table, plain};

use super::{Builder, answer};
use crate::Result;

/// What headers call the first image of a pair ...
const FIRST: [&str; 18] = [
    "path_a",
    "a",
    "img1",
    "image1",
    "path1",
    "file1",
    "image_a",
    "img_a",
    "img_1",
    "image_1",
    "path_1",
    "file_1",
    "file_a",
    "left",
    "img_path1",
    "image_path_1",
    "filename1",
    "first",
];
/// ... and the second.
const SECOND: [&str; 18] = [
    "path_b",
    "b",
    "img2",
    "image2",
    "path2",
    "file2",
    "image_b",
    "img_b",
    "img_2",
    "image_2",
    "path_2",
    "file_2",
    "file_b",
    "right",
    "img_path2",
    "image_path_2",
    "filename2",
    "second",
];
/// What they call the answer.
pub(super) const SAME: [&str; 14] = [
    "same",
    "label",
    "issame",
    "is_same",
    "match",
    "genuine",
    "actual_issame",
    "same_person",
    "is_match",
    "is_genuine",
    "target",
    "y",
    "ground_truth",
    "gt",
];
const FOLD: [&str; 4] = ["fold", "split", "fold_id", "split_number"];
/// What they call an answer that is 1 where the two are different, or a number that is no answer.
const CONTRARY: [&str; 19] = [
    "different",
    "differs",
    "differ",
    "diff",
    "distance",
    "dist",
    "dissimilar",
    "dissimilarity",
    "impostor",
    "imposter",
    "mismatch",
    "nonmatch",
    "unequal",
    "negative",
    "negatives",
    "unmatched",
    "nonmate",
    "nonmated",
    "unmated",
];

/// What they call the number of a line or of a pair.
const NUMBERS: [&str; 10] = ["id", "idx", "index", "row", "number", "no", "nr", "pair", "pair_id", "pair_number"];

/// Whether a header names the contrary of what is wanted: `different`, `is_different`, `is_different_person`, `not_same`.
pub(super) fn is_contrary(name: &str) -> bool {
    let name = plain(name);
    let name = name.strip_prefix("is_").or(name.strip_prefix("are_")).unwrap_or(&name);
    let (first, rest) = name.split_once('_').unwrap_or((name, ""));
    let is_whole = ["", "person", "people", "persons", "identity", "pair", "class", "score"].contains(&rest);
    CONTRARY.contains(&first) && is_whole || ["not", "non"].contains(&first) && SAME.contains(&rest)
}
/// Parts of a data set, which are no folds.
const PARTS: [&str; 8] = ["train", "training", "val", "valid", "validation", "dev", "test", "testing"];

/// What was wanted of a list.
pub(super) const SHAPE: &str = "wanted path_a, path_b, same (1 or 0) and perhaps fold; or LFW's 'name n m' and 'name n name m'; or two lines a pair";

/// Whether a record has words for a pair's two images, or for one and the answer, that headers have.
pub(super) fn names_columns(record: &Record<'_>) -> bool {
    let any = |names: &[&str]| record.fields.iter().any(|f| names.contains(&plain(f).as_str()));
    any(&FIRST) && (any(&SAME) || any(&SECOND))
}

/// Whether the first record names columns; `same` does, and is an answer, too.
pub(super) fn is_header(records: &[Record<'_>]) -> bool {
    let fields = &records[0].fields;
    let says = |record: &Record<'_>| record.fields.iter().any(|f| answer(f).is_some());
    // Two images are a pair, whatever its answer is called.
    if fields.len() > 2 && fields[..2].iter().all(|f| is_image(f) || f.contains('/')) {
        return false;
    }
    // `probe,reference,same`: the last word is an answer, too, but the images are named below alone.
    let has_image = |record: &Record<'_>| record.fields.iter().any(|f| is_image(f) || f.contains('/'));
    let says_in_words = fields.iter().any(|f| answer(f).is_some() && f.parse::<f64>().is_err());
    let is_above_images = || records.get(1).is_some_and(|record| has_image(record) && says(record));
    // Above 1 and 0 no answer is a word.
    let is_above_numbers = || {
        let number =
            |field: Option<&Cow<'_, str>>| field.is_some_and(|f| answer(f).is_some() && f.parse::<f64>().is_ok());
        let is_word = |field: &Cow<'_, str>| answer(field).is_some() && field.parse::<f64>().is_err();
        let mut words = (0..fields.len()).filter(|&at| is_word(&fields[at]));
        records.get(1).is_some_and(|record| words.any(|at| number(record.fields.get(at))))
    };
    names_columns(&records[0])
        || says_in_words && !has_image(&records[0]) && (is_above_images() || is_above_numbers())
        || (!says(&records[0]) && records.get(1).is_some_and(says))
        || fields.get(2).is_some_and(|third| answer(third).is_none() && !is_image(third))
}

/// What a model answered is not the truth.
const GUESSES: [&str; 8] =
    ["predicted", "prediction", "predictions", "pred", "preds", "predicted_label", "guess", "output"];

/// The column whose every value is an answer: the third, else the first such one; one of guesses never is.
fn answers(table: &Table, width: usize) -> Option<usize> {
    let is_guess =
        |column: usize| table.header().get(column).is_some_and(|name| GUESSES.contains(&plain(name).as_str()));
    std::iter::once(2).chain(0..width).find(|&column| !is_guess(column) && are_answers(table, column))
}

fn are_answers(table: &Table, column: usize) -> bool {
    let mut records = table.ragged().filter_map(std::result::Result::ok);
    records.all(|record| record.fields.get(column).is_some_and(|field| answer(field).is_some()))
}

/// Whether a column without a name may hold folds: its values repeat, and none of them is empty or a fraction.
fn may_be_fold(table: &Table, column: usize) -> bool {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for record in table.ragged().filter_map(std::result::Result::ok) {
        let Some(word) = record.fields.get(column) else { return false };
        let fraction = word.parse::<f64>().is_ok_and(|number| number.fract() != 0.0);
        if word.is_empty() || fraction {
            return false;
        }
        *counts.entry(fold_word(word)).or_default() += 1;
    }
    counts.values().all(|&count| count > 1)
}

/// A fold however its number is written.
fn fold_word(word: &str) -> String {
    plain_number(word).unwrap_or_else(|| word.to_owned())
}

/// Those of some columns that the images of a pair, of which `wanted` have no column yet, may be in: where so many hold nothing but paths the
/// others are none, such as an index or an age; else those that are not called as numbers of lines are.
fn images_among(table: &Table, columns: Vec<usize>, wanted: usize) -> Vec<usize> {
    let paths = |&c: &usize| {
        let mut records = table.ragged().take(100).filter_map(std::result::Result::ok);
        records.all(|record| record.fields.get(c).is_some_and(|f| is_image(f) || f.contains(['/', '\\'])))
    };
    let is_number = |c: &usize| table.header().get(*c).is_some_and(|name| NUMBERS.contains(&plain(name).as_str()));
    let hold_paths: Vec<usize> = columns.iter().copied().filter(paths).collect();
    let are_named: Vec<usize> = columns.iter().copied().filter(|c| !is_number(c)).collect();
    [hold_paths, are_named].into_iter().find(|some| some.len() >= wanted).unwrap_or(columns)
}

pub(super) fn read(table: &Table) -> Result<Builder> {
    let width = table.width()?;
    if width < 3 {
        let first = table.ragged().next().transpose()?;
        let (line, text) = first.map_or((1, table.header().join(" ")), |r| (r.line, r.fields.join(" ")));
        return Err(table.error(line, &format!("'{text}' is no pair: {SHAPE}")));
    }
    let header = table.header();
    // `y` may be the second image of `x,y,positive`.
    let named = table.column(&SAME)?.filter(|&column| plain(&header[column]) != "y" || are_answers(table, column));
    if let (None, Some(contrary)) = (named, header.iter().find(|name| is_contrary(name))) {
        return Err(table.error(
            1,
            &format!(
                "column '{contrary}' says the contrary of what is wanted, or is no answer; wanted a column 'same', 1 for the same \
                 person and 0 for different ones"
            ),
        ));
    }
    let same_column = named.or_else(|| answers(table, width)).unwrap_or(2);
    let is_index = |c: &usize| is_index_of(table, *c);
    let by_place = header.is_empty() && width > 3 && same_column == 2 && may_be_fold(table, 3);
    let fold_column = table.column(&FOLD)?.or(by_place.then_some(3));
    let others = (0..width).filter(|c| *c != same_column && Some(*c) != fold_column && !is_index(c));
    let (first, second) = (table.column(&FIRST)?, table.column(&SECOND)?);
    let wanted = [first, second].iter().filter(|column| column.is_none()).count();
    let others = others.filter(|&c| Some(c) != first && Some(c) != second).collect();
    let mut free = images_among(table, others, wanted).into_iter();
    let a = first.or_else(|| free.next()).unwrap_or(0);
    let b = second.or_else(|| free.next()).unwrap_or(1);

    let mut builder = Builder::default();
    let used = [Some(a), Some(b), Some(same_column), fold_column];
    let name = |c: usize| called(table, c);
    if header.is_empty() && (a, b, same_column) != (0, 1, 2)
        || !header.is_empty() && (named.is_none() || first.is_none() || second.is_none())
    {
        builder.notes.push(format!(
            "pairs are read from columns {} and {}, the answer (the same person or not) from column {}",
            name(a),
            name(b),
            name(same_column)
        ));
    }
    let unused: Vec<String> = (0..width).filter(|c| !used.contains(&Some(*c)) && !is_index(c)).map(name).collect();
    if !unused.is_empty() {
        builder.notes.push(format!("nothing is read from column {}", unused.join(", ")));
    }
    let mut folds: HashMap<String, usize> = HashMap::new();
    let mut kinds: Vec<[bool; 2]> = Vec::new();
    for record in table.records() {
        let record = record?;
        let (line, fields) = (record.line, &record.fields);
        let same = answer(&fields[same_column]).ok_or_else(|| {
            table.error(
                line,
                &format!("'{}' does not say whether the pair is the same person; wanted 1 or 0", fields[same_column]),
            )
        })?;
        if fields[a].is_empty() || fields[b].is_empty() {
            return Err(table.error(line, "an image's path is empty"));
        }
        let fold = match fold_column.map(|column| fields[column].as_ref()) {
            None => None,
            Some("") => return Err(table.error(line, "the fold is empty; wanted one for each pair, or no such column")),
            Some(word) if PARTS.contains(&word.to_lowercase().as_str()) => {
                return Err(table.error(
                    line,
                    &format!(
                        "'{word}' is a part of a data set and no fold; wanted the pairs of one part in a list of their own, without \
                         this column"
                    ),
                ));
            }
            Some(word) => {
                let next = folds.len();
                let fold = *folds.entry(fold_word(word)).or_insert(next);
                kinds.resize(kinds.len().max(fold + 1), [false; 2]);
                Some(fold)
            }
        };
        if let Some(fold) = fold {
            kinds[fold][usize::from(same)] = true;
        }
        builder.pair(&fields[a], &fields[b], same, fold);
    }
    if folds.len() > 1 {
        in_order(&folds, &mut builder);
    }
    let one_sided = kinds.iter().filter(|kinds| !(kinds[0] && kinds[1])).count();
    if one_sided > 0 && folds.len() > 1 {
        builder.notes.push(format!(
            "{one_sided} of {} folds hold only genuine or only impostor pairs; are they folds?",
            folds.len()
        ));
    }
    if folds.len() == 1 {
        if let Some((column, word)) = fold_column.zip(folds.keys().next()) {
            let column = called(table, column);
            builder.notes.push(format!(
                "column {column} is passed over: it names one fold, '{word}', for every pair; wanted two folds or more"
            ));
        }
        builder.pairs.iter_mut().for_each(|p| p.fold = None);
    }
    Ok(builder)
}

/// Numbers folds, which are in order of appearance, by their own numbers, else in order of their names; says which is which where they are
/// not called 1, 2, 3, ....
fn in_order(folds: &HashMap<String, usize>, builder: &mut Builder) {
    let mut order: Vec<(&String, usize)> = folds.iter().map(|(word, &fold)| (word, fold)).collect();
    let numbers: Option<HashMap<&String, f64>> =
        order.iter().map(|(word, _)| Some((*word, word.parse().ok().filter(|n: &f64| n.is_finite())?))).collect();
    match &numbers {
        // Of so many digits that they are one number the words are in order.
        Some(numbers) => order.sort_by(|a, b| numbers[a.0].total_cmp(&numbers[b.0]).then(a.0.cmp(b.0))),
        None => order.sort(),
    }
    let mut place = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, (_, fold))| place[*fold] = at);
    builder.pairs.iter_mut().filter_map(|pair| pair.fold.as_mut()).for_each(|fold| *fold = place[*fold]);
    if order.iter().zip(1..).any(|((word, _), number): (_, usize)| **word != number.to_string()) {
        let words = several(order.iter().map(|(word, _)| format!("'{word}'")));
        builder.notes.push(format!("folds 1 to {} are those called {words}", order.len()));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pdloss_embed::delimited::Blanks;

    use super::*;

    #[test]
    fn a_header_whose_answer_is_an_answers_word_is_a_header() {
        let pairs = |text: &str| {
            let table = Table::parse(Path::new("p.csv"), text.to_owned(), Blanks::Separate, is_header).unwrap();
            read(&table).map(|read| read.pairs.len())
        };
        let rows = "A/1.jpg,A/2.jpg,1\nA/1.jpg,B/1.jpg,0\n";
        for header in [
            "probe,reference,same",
            "enroll,test,genuine",
            "img_left,img_right,match",
            "anchor,other,y",
            "x,y,positive",
        ] {
            assert_eq!(pairs(&format!("{header}\n{rows}")).unwrap(), 2, "{header}");
        }
        assert_eq!(pairs("probe,reference,same\nS001,S002,1\nS001,S003,0\n").unwrap(), 2);
        // Names without an ending may be called anything.
        assert_eq!(pairs("ann,bob,same\nann,eve,different\n").unwrap(), 2);
        let folds = "split number, first name, second name, is same\n1, A/1.jpg, A/2.jpg, 1\n2, A/1.jpg, B/1.jpg, 0\n";
        let table = Table::parse(Path::new("p.csv"), folds.to_owned(), Blanks::Separate, is_header).unwrap();
        let read = read(&table).unwrap();
        assert_eq!(read.pairs.iter().map(|pair| pair.fold).collect::<Vec<_>>(), [Some(0), Some(1)]);
    }

    #[test]
    fn what_a_model_guessed_is_not_the_truth() {
        let text = "img1,img2,predicted,actual\na.png,b.png,1,0\na.png,c.png,0,1\n";
        let table = Table::parse(Path::new("p.csv"), text.to_owned(), Blanks::Separate, is_header).unwrap();
        assert_eq!(read(&table).unwrap().pairs.iter().map(|pair| pair.same).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn folds_are_numbered_by_their_own_numbers_or_in_order_of_names() {
        let folds = |words: [&str; 4]| {
            let row = |(at, fold): (usize, &&str)| {
                [0, 1].map(|same| format!("a{at}.png,b{at}{same}.png,{same},{fold}\n")).concat()
            };
            let text = format!("a,b,same,fold\n{}", words.iter().enumerate().map(row).collect::<String>());
            let table = Table::parse(Path::new("p.csv"), text, Blanks::Separate, is_header).unwrap();
            let read = read(&table).unwrap();
            let folds = read.pairs.iter().step_by(2).map(|pair| pair.fold.unwrap() + 1).collect::<Vec<_>>();
            (folds, read.notes.join("; "))
        };
        assert_eq!(folds(["4", "1", "3", "2"]), (vec![4, 1, 3, 2], String::new()));
        let said = "folds 1 to 4 are those called '1', '2', '10', '30'";
        assert_eq!(folds(["30", "2", "10", "1"]), (vec![4, 2, 3, 1], said.to_owned()));
        let said = "folds 1 to 4 are those called '10', 'a', 'b', 'c'";
        assert_eq!(folds(["c", "b", "10", "a"]), (vec![4, 3, 1, 2], said.to_owned()));
    }

    #[test]
    fn folds_are_one_however_their_number_is_written_and_ids_of_many_digits_are_not() {
        let folds = |words: [&str; 4]| {
            let row = |(at, fold): (usize, &&str)| format!("a{at}.png,b{at}.png,{},{fold}\n", at % 2);
            let text = format!("a,b,same,fold\n{}", words.iter().enumerate().map(row).collect::<String>());
            let table = Table::parse(Path::new("p.csv"), text, Blanks::Separate, is_header).unwrap();
            read(&table).unwrap().pairs.iter().map(|pair| pair.fold).collect::<Vec<_>>()
        };
        let [one, two] = ["14893024578113128", "14893024578113129"];
        assert_eq!(folds([one, one, two, two]), [Some(0), Some(0), Some(1), Some(1)]);
        assert_eq!(folds([one, "14893024578113128.0", two, "014893024578113129"]), [0, 0, 1, 1].map(Some));
        assert_eq!(folds(["1", "1.0", "02", "2e0"]), [0, 0, 1, 1].map(Some));
        assert_eq!(folds(["a", "a", "nan", "NaN"]), [1, 1, 2, 0].map(Some), "words");
    }
}
