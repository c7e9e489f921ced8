//! The page that `report` writes, in a real browser: it loads without an error and without the network, every picture
//! appears, tables sort, both themes differ, and nothing is wider than a phone. Listed as ignored where no Chromium is
//! found (`PDLOSS_CHROMIUM`, or `chromium`, `chromium-browser`, `google-chrome` on the path). `PDLOSS_PICTURES=FOLDER` keeps
//! what the browser saw.

#![allow(clippy::unwrap_used)] // a test program

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

fn main() -> ExitCode {
    let browser = browser();
    let absent = browser.is_none();
    let browser = browser.unwrap_or_default();
    let trial = |name: &str, test: fn(&Browser) -> Result<(), Failed>| {
        let browser = browser.clone();
        Trial::test(name, move || test(&Browser::new(browser)?)).with_ignored_flag(absent)
    };
    let narrow = |name: &str, test: fn(&Browser) -> Result<(), Failed>| {
        let browser = browser.clone();
        Trial::test(name, move || test(&Browser::of_narrow_scores(browser)?)).with_ignored_flag(absent)
    };
    let trials = vec![
        trial("the_page_is_whole_and_its_tables_sort", whole_and_sorted),
        trial("charts_answer_to_pointer_and_slider", charts_answer),
        trial("a_threshold_moves_rates_counts_and_mistakes", thresholds_answer),
        trial("maps_show_an_image_on_all_maps_of_its_data", maps_answer),
        trial("confusion_is_read_in_words_and_adds_up", confusion_answers),
        trial("what_became_of_queries_is_counted_and_shown", changes_are_shown),
        trial("names_are_words_not_markup", names_are_words),
        trial("themes_differ_and_the_button_turns_them", themes),
        trial("nothing_is_wider_than_a_phone", phone),
        narrow("tables_of_shares_sort_by_number", shares_sort),
        narrow("every_threshold_has_words_of_its_own", thresholds_differ),
        narrow("labels_of_charts_are_whole_and_apart", labels_are_whole),
        trial("what_is_pointed_at_stands_in_the_plot", cursors_stay),
        narrow("long_names_are_whole_and_leave_room", long_names),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn browser() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("PDLOSS_CHROMIUM") {
        return Some(given.into());
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|file| file.is_file())
}

/// A browser, and a page of a recall run, a verification run, a training run and a result file.
struct Browser {
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// A class whose name would be markup, and one that would end a title.
const NAMES: [&str; 3] = ["<script>document.title = 'taken'<!--", "a & b \"quoted\" %_", "</title><b>"];

/// Names that are alike but for their ends.
fn long_name(n: usize) -> String {
    format!("{}_{n}", "a".repeat(130))
}

impl Browser {
    fn new(program: PathBuf) -> Result<Self, Failed> {
        let browser = Self { program, folder: tempfile::tempdir()? };
        let at = |name: &str| browser.folder.path().join(name);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
        let (model, data) = (fixtures.join("embedder.onnx"), fixtures.join("shapes"));
        let measured = ["--model", "--data"].iter().zip([&model, &data]);
        let measured: Vec<String> =
            measured.flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]).collect();
        let save = |name: &str| ["--save-run".to_owned(), at(name).display().to_string()];
        tool(&[&["recall".to_owned()], &measured[..], &save("first"), &["--map".into(), "tsne".into()]].concat())?;
        tool(&[&["recall".to_owned()], &measured[..], &save("second"), &["--metric".into(), "l2".into()]].concat())?;
        let backbone = ["--model".to_owned(), fixtures.join("backbone.onnx").display().to_string()];
        tool(
            &[&["recall".to_owned()], &backbone[..], &measured[2..], &save("before"), &["--map".into(), "tsne".into()]]
                .concat(),
        )?;
        tool(&[&["verify".to_owned(), "--all-pairs".into()], &measured[..], &save("pairs")].concat())?;
        std::fs::create_dir(at("training"))?;
        let steps = (0..50).map(|step| {
            let recall = if step % 10 == 0 { format!("0.{}", 30 + step) } else { String::new() };
            format!("{step},{},{},{recall}\n", 1.0 - f64::from(step) / 30.0, f64::from(step) / 10.0)
        });
        std::fs::write(
            at("training/metrics.csv"),
            format!("step,loss,d_prime,recall@1\n{}", steps.collect::<String>()),
        )?;
        // a run whose classes have difficult names, and whose images are elsewhere
        let labels: Vec<&str> = (0..30).map(|n| NAMES[n % 3]).collect();
        let mut values = Vec::new();
        for n in 0..30_u8 {
            for axis in 0..4_u8 {
                let value = f32::from(u8::from(axis == n % 3))
                    + f32::from(n.wrapping_mul(37).wrapping_add(axis.wrapping_mul(91))) / 255.0;
                values.extend(value.to_le_bytes());
            }
        }
        std::fs::write(at("odd.f32"), values)?;
        std::fs::write(at("odd.txt"), labels.join("\n"))?;
        let path = |name: &str| at(name).display().to_string();
        tool(&[
            "recall".into(),
            "--embeddings".into(),
            path("odd.f32"),
            "--labels".into(),
            path("odd.txt"),
            "--dim".into(),
            "4".into(),
            "--save-run".into(),
            path("a & <i>b"),
        ])?;
        let results = ["first", "second", "pairs", "training", "a & <i>b", "before"].map(path);
        let page = ["--out".to_owned(), path("page.html"), "--title".into(), "Title </title> & all".into()];
        tool(&[&["report".to_owned()], &results[..], &page].concat())?;
        Ok(browser)
    }

    /// A page of scores that are nearly 1, of classes whose long names differ at their ends alone, and of score files with error
    /// rates of 9 %, 12 % and 50 %.
    fn of_narrow_scores(program: PathBuf) -> Result<Self, Failed> {
        let browser = Self { program, folder: tempfile::tempdir()? };
        let at = |name: &str| browser.folder.path().join(name);
        let path = |name: &str| at(name).display().to_string();
        let mut values = Vec::new();
        for n in 0..40_u16 {
            for axis in 0..4_u16 {
                let noise = f32::from((n.wrapping_mul(7919).wrapping_add(axis.wrapping_mul(10_473))) % 1009) / 1009.0;
                values.extend((1000.0 + noise + 0.4 * f32::from(u8::from(axis == n % 4))).to_le_bytes());
            }
        }
        std::fs::write(at("near.f32"), values)?;
        let labels: Vec<String> = (0..40).map(|n| long_name(n % 4)).collect();
        std::fs::write(at("near.txt"), labels.join("\n"))?;
        let kept = ["--embeddings", &path("near.f32"), "--labels", &path("near.txt"), "--dim", "4"].map(str::to_owned);
        let save = |name: &str| ["--save-run".to_owned(), path(name)];
        tool(&[&["recall".to_owned()], &kept[..], &save("recall")].concat())?;
        tool(&[&["verify".to_owned(), "--all-pairs".into()], &kept[..], &save("verify")].concat())?;
        for wrong in [9, 12, 50] {
            let scores = |low: u32, high: u32| {
                let score =
                    |n: u32| format!("{}\n", f64::from(if n < wrong { low } else { high }) + f64::from(n) / 1000.0);
                (0..100).map(score).collect::<String>()
            };
            std::fs::write(at("genuine.txt"), scores(0, 5_999_999))?;
            std::fs::write(at("impostor.txt"), scores(5_999_999, 0))?;
            let files = ["--genuine", &path("genuine.txt"), "--impostor", &path("impostor.txt")].map(str::to_owned);
            tool(&[&["scores".to_owned()], &files[..], &save(&format!("rate{wrong}"))].concat())?;
        }
        let results = ["recall", "verify", "rate50", "rate9", "rate12"].map(path);
        tool(&[&["report".to_owned()], &results[..], &["--out".to_owned(), path("page.html")]].concat())?;
        Ok(browser)
    }

    /// The page with a script of its own behind, whose JSON answer comes back; errors are watched from the start,
    /// and pictures far down are loaded at once.
    fn ask(&self, script: &str, more: &[&str]) -> Result<Value, Failed> {
        let page = std::fs::read_to_string(self.folder.path().join("page.html"))?;
        let watch = "<head><script>window.seen = [];\
            addEventListener('error', e => seen.push(e.message ?? `${e.target?.tagName} failed`), true);\
            addEventListener('securitypolicyviolation', e => seen.push(`blocked: ${e.blockedURI}`));</script>";
        let answer = format!(
            "<script>onload = async () => {{ const answer = await (async () => {{ {script} }})().catch(e => ({{ failed: e.message }}));\
             document.documentElement.innerHTML = '<body><pre id=answer></pre>';\
             document.getElementById('answer').textContent = JSON.stringify(answer); }}</script></body>"
        );
        if page.matches("<head>").count() != 1 || page.matches("</body>").count() != 1 {
            return Err("the page has other than one head and body".into());
        }
        let page = page.replace(" loading=\"lazy\"", "").replace("<head>", watch).replace("</body>", &answer);
        let asked = self.folder.path().join("asked.html");
        std::fs::write(&asked, page)?;
        let output = self.open(&asked, &[&["--virtual-time-budget=20000", "--dump-dom"], more].concat())?;
        let dom = String::from_utf8_lossy(&output.stdout);
        let answer = dom.split("<pre id=\"answer\">").nth(1).and_then(|rest| rest.split("</pre>").next());
        let answer = answer.ok_or("the script gave no answer in time")?;
        let plain = answer.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&");
        let answer: Value = serde_json::from_str(&plain)?;
        if answer["failed"].is_null() { Ok(answer) } else { Err(format!("the script failed: {answer}").into()) }
    }

    /// A picture of the page.
    fn picture(&self, name: &str, more: &[&str]) -> Result<image::RgbImage, Failed> {
        let kept = std::env::var_os("PDLOSS_PICTURES").map(PathBuf::from);
        let file = kept.as_deref().unwrap_or(self.folder.path()).join(format!("{name}.png"));
        let flag = format!("--screenshot={}", file.display());
        self.open(&self.folder.path().join("page.html"), &[&[flag.as_str(), "--hide-scrollbars"], more].concat())?;
        Ok(image::open(file)?.into_rgb8())
    }

    fn open(&self, page: &Path, more: &[&str]) -> Result<Output, Failed> {
        let profile = tempfile::tempdir()?;
        let quiet = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let output = Command::new(&self.program)
            .args(quiet)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(more)
            .arg(format!("file://{}", page.display()))
            .output()?;
        if output.status.success() {
            Ok(output)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
        }
    }
}

fn tool(arguments: &[String]) -> Result<(), Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_pdloss-eval")).args(arguments).output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}

fn equal<T: PartialEq + std::fmt::Debug>(got: T, wanted: T, what: &str) -> Result<(), Failed> {
    if got == wanted { Ok(()) } else { Err(format!("{what}: {got:?}, wanted {wanted:?}").into()) }
}

fn holds(condition: bool, what: impl std::fmt::Display) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(what.to_string().into()) }
}

fn whole_and_sorted(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const images = [...document.images];
        const charts = [...document.querySelectorAll('figure.chart')];
        const table = [...document.querySelectorAll('table.sortable')].find(t => t.caption.textContent.includes('by recall@1'));
        const column = name => [...table.tHead.rows[0].cells].findIndex(c => c.textContent === name);
        const texts = name => [...table.tBodies[0].rows].map(row => row.cells[column(name)].textContent);
        const click = name => table.tHead.rows[0].cells[column(name)].querySelector('button').click();
        const before = texts('map@r');
        click('map@r'); const up = texts('map@r');
        click('map@r'); const down = texts('map@r'), aria = table.tHead.rows[0].cells[column('map@r')].ariaSort;
        click('class'); const names = texts('class');
        return { seen, before, up, down, aria, names,
            images: images.length, blank: images.filter(i => i.naturalWidth < 8).length,
            unnamed: images.filter(i => !i.alt).length,
            charts: charts.map(c => c.querySelector('figcaption').textContent),
            empty: charts.filter(c => ![...c.querySelectorAll('.line')].some(l => l.getTotalLength() > 100)).length,
            described: charts.every(c => c.querySelector('svg > desc').textContent.length > 20),
            uncaptioned: [...document.querySelectorAll('table')].filter(t => !t.caption?.textContent).length,
            mismarked: [...document.querySelectorAll('ol.row:has(li.query) li:not(.query)')].filter(found => {
                const name = item => item.querySelector('.class').textContent;
                let query = found;
                while (!query.classList.contains('query')) query = query.previousElementSibling;
                const alike = name(found) === name(query);
                return alike !== found.classList.contains('right') || alike === found.classList.contains('wrong'); }).length,
            marks: document.querySelectorAll('li.right').length * document.querySelectorAll('li.wrong').length,
            outside: [...document.querySelectorAll('[src], link[href]')].filter(e => !(e.src ?? e.href).startsWith('data:')).length };";
    let answer = browser.ask(script, &[])?;
    equal(&answer["seen"], &serde_json::json!([]), "errors")?;
    holds(answer["images"].as_u64() > Some(200), format!("pictures: {}", answer["images"]))?;
    for none in ["blank", "unnamed", "empty", "mismarked", "uncaptioned", "outside"] {
        equal(answer[none].as_u64(), Some(0), none)?;
    }
    equal(answer["described"].as_bool(), Some(true), "charts are described")?;
    holds(answer["marks"].as_u64() > Some(0), "right and wrong neighbours are marked")?;
    let charts: Vec<&str> = answer["charts"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for wanted in
        ["Recall@K", "Scores of pairs: d\u{2032} = ", "ROC", "DET", "Training: loss", "Training: d\u{2032}", "Recall@1"]
    {
        holds(charts.iter().any(|caption| caption.contains(wanted)), format!("{wanted} in {charts:?}"))?;
    }
    let numbers = |name: &str| -> Vec<f64> {
        let texts = answer[name].as_array().unwrap().iter().filter_map(Value::as_str);
        texts.filter_map(|text| text.parse().ok()).collect()
    };
    let (before, up, mut down) = (numbers("before"), numbers("up"), numbers("down"));
    holds(up.len() == 10 && up.is_sorted() && up != before, format!("{before:?} sorted is {up:?}"))?;
    down.reverse();
    equal(&down, &up, "sorted twice")?;
    equal(answer["aria"].as_str(), Some("descending"), "aria-sort")?;
    let names: Vec<&str> = answer["names"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    holds(names.len() == 10 && names.is_sorted(), format!("{names:?}"))
}

/// Values under the slider and the pointer are those of the tables beside the charts.
fn charts_answer(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const charts = [...document.querySelectorAll('figure.chart')];
        const chart = word => charts.find(c => c.querySelector('figcaption').textContent.startsWith(word));
        const read = c => c.querySelector('output').textContent;
        const slide = (c, to) => { const s = c.querySelector('input'); s.value = to; s.dispatchEvent(new Event('input')); return read(c); };
        const recall = chart('Recall@K'), first = slide(recall, 0);
        const said = recall.querySelector('input').getAttribute('aria-valuetext');
        const table = [...recall.querySelectorAll('tbody tr')].map(row => [...row.cells].map(c => c.textContent));
        const roc = chart('ROC'), plot = roc.querySelector('svg.plot'), box = plot.getBoundingClientRect();
        plot.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + box.width * 458 / 480, clientY: box.top + 9 }));
        const end = read(roc), dots = plot.querySelectorAll('.cursor circle').length;
        const scores = chart('Scores of pairs'), at = scores.querySelector('input');
        const low = slide(scores, 0), high = slide(scores, at.max);
        return { seen, first, said, table, end, dots, low, high, bands: recall.querySelectorAll('.band').length,
            marks: scores.querySelector('text.mark').textContent,
            sliders: charts.filter(c => c.querySelector('input[type=range][aria-label]')).length, charts: charts.length,
            numbers: charts.filter(c => c.querySelectorAll('details tbody tr').length).length };";
    let answer = browser.ask(script, &[])?;
    equal(&answer["seen"], &serde_json::json!([]), "errors")?;
    equal(&answer["sliders"], &answer["charts"], "sliders")?;
    equal(&answer["numbers"], &answer["charts"], "charts with numbers")?;
    let word = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let first = word("first");
    equal(&word("said"), &first, "what is said is what is shown")?;
    holds(first.starts_with("K = 1"), &first)?;
    let rows = answer["table"].as_array().ok_or("no table")?;
    holds(rows.len() >= 2, &answer["table"])?;
    for row in rows {
        let (name, value) = (row[0].as_str().unwrap_or_default(), row[1].as_str().unwrap_or_default());
        let shown =
            first.split(" \u{b7} ").find_map(|part| part.strip_prefix(name)).ok_or(format!("{name} in {first}"))?;
        let shown: f64 = shown.trim().trim_end_matches(" %").parse()?;
        holds((shown - 100.0 * value.parse::<f64>()?).abs() < 0.06, format!("{name}: {shown} % and {value}"))?;
    }
    holds(word("end").contains("FMR 100 %") && word("end").contains("pairs 100 %"), word("end"))?;
    holds(answer["dots"].as_u64() >= Some(1) && answer["bands"].as_u64() >= Some(2), &answer)?;
    holds(word("marks").starts_with("EER at "), word("marks"))?;
    // As a threshold the lowest score accepts all, the highest nearly none.
    holds(word("low").contains("FMR at this threshold 100 %") && word("low").contains("FNMR 0 %"), word("low"))?;
    holds(!word("high").contains("FMR at this threshold 100 %"), word("high"))
}

/// What stands under the slider is counted again from the scores of the pairs, and the pairs shown are those decided wrongly.
fn thresholds_answer(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const figure = document.querySelector('figure.threshold'), run = figure.closest('section'), slider = figure.querySelector('input');
        const seen_of = kind => [...run.querySelectorAll(`.judged[data-kind=${kind}]`)].filter(p => p.offsetParent).map(p => Number(p.dataset.score));
        const at = to => { slider.value = to; slider.dispatchEvent(new Event('input'));
            return { said: figure.querySelector('output').textContent, aria: slider.getAttribute('aria-valuetext'),
                impostor: seen_of('impostor'), genuine: seen_of('genuine'),
                notes: [...run.querySelectorAll('.gallery .note')].map(n => n.textContent) }; };
        const counts = JSON.parse(figure.querySelector('script').textContent), first = { impostor: seen_of('impostor'), genuine: seen_of('genuine') };
        return { seen, counts, first, low: at(0), middle: at(counts.first), high: at(counts.counts.length - 1) };";
    let answer = browser.ask(script, &[])?;
    equal(&answer["seen"], &serde_json::json!([]), "errors")?;
    let shown = |place: &str, kind: &str| -> Vec<f64> {
        answer[place][kind].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    equal(&shown("first", "impostor"), &shown("middle", "impostor"), "it begins with the EER's threshold")?;
    equal(&shown("first", "genuine"), &shown("middle", "genuine"), "genuine pairs there")?;
    let counts = answer["counts"]["counts"].as_array().ok_or("no counts")?;
    let places = [
        ("low", 0),
        ("middle", usize::try_from(answer["counts"]["first"].as_u64().ok_or("no first")?)?),
        ("high", counts.len() - 1),
    ];
    for (place, at) in places {
        let threshold = counts[at][0].as_f64().ok_or("no threshold")?;
        let said = &answer[place]["said"].as_str().unwrap_or_default().replace(',', "");
        equal(&answer[place]["aria"], &answer[place]["said"], "what is said is what is shown")?;
        for (kind, column, wrong) in [("impostor", 1, "accepted"), ("genuine", 2, "rejected")] {
            let of = &answer["counts"][kind];
            holds(said.contains(&format!("{} of {of} {kind} pairs {wrong}", counts[at][column])), said)?;
            let is_wrong = |score: f64| (score >= threshold) == (kind == "impostor");
            let shown = shown(place, kind);
            holds(shown.iter().all(|&score| is_wrong(score)), format!("{place}, {kind}: {shown:?}"))?;
            equal(shown.len() as u64, counts[at][column].as_u64().unwrap_or_default().min(12), kind)?;
        }
    }
    // As the lowest threshold all impostors are accepted, as the highest nearly no genuine pair is.
    holds(shown("low", "impostor").len() == 12 && shown("low", "genuine").is_empty(), &answer["low"])?;
    holds(shown("high", "genuine").len() == 12, &answer["high"])
}

fn maps_answer(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const maps = [...document.querySelectorAll('figure.map')];
        const [one, two] = maps, read = map => map.querySelector('output').textContent;
        const slider = one.querySelector('input'), points = JSON.parse(one.querySelector('script').textContent);
        slider.value = 7;
        slider.dispatchEvent(new Event('input'));
        const same = map => map.querySelectorAll('circle.same').length, here = map => map.querySelectorAll('circle.here').length;
        const by_slider = [read(one), read(two), same(one), same(two), here(one), here(two), slider.getAttribute('aria-valuetext')];
        const picture = one.querySelector('output img')?.src.slice(0, 22), of_class = points.filter(p => p.class === points[7].class).length;
        const plot = two.querySelector('svg'), at = [...plot.querySelectorAll('circle')][30].getBoundingClientRect();
        plot.dispatchEvent(new PointerEvent('pointermove', { clientX: at.left + at.width / 2, clientY: at.top + at.height / 2 }));
        return { seen, maps: maps.length, circles: one.querySelectorAll('circle').length, points: points.length, name: points[7].name,
            by_slider, of_class, picture, by_pointer: [read(one), read(two)], captions: maps.map(map => map.querySelector('figcaption').textContent),
            pictured: maps.filter(map => map.querySelector('output img')?.naturalWidth > 8).length,
            sent: maps.map(map => JSON.parse(map.querySelector('script').textContent).filter(p => p.picture).length) };";
    let answer = browser.ask(script, &[])?;
    equal(&answer["seen"], &serde_json::json!([]), "errors")?;
    holds(answer["maps"].as_u64() >= Some(2), &answer)?;
    equal(&answer["circles"], &answer["points"], "a circle for each image")?;
    let name = answer["name"].as_str().ok_or("no name")?;
    let said = &answer["by_slider"];
    for at in [0, 1, 6] {
        holds(said[at].as_str().is_some_and(|words| words.ends_with(name)), said)?;
    }
    holds(said[2] == answer["of_class"] && said[3] == answer["of_class"] && said[4] == 1 && said[5] == 1, said)?;
    equal(&answer["picture"], &serde_json::json!("data:image/jpeg;base64"), "its picture")?;
    equal(&answer["by_pointer"][0], &answer["by_pointer"][1], "both maps show what one is pointed at")?;
    let captions = answer["captions"].as_array().ok_or("no captions")?;
    let wanted = ["first", "second", "a & <i>b", "before", "first by t-SNE", "before by t-SNE"];
    equal(captions.clone(), wanted.map(|name| Value::from(format!("Embeddings of {name}"))).to_vec(), "maps")?;
    // Each picture is on the page once, and all maps of its data show it: of 160 images every one has one.
    equal(&answer["sent"], &serde_json::json!([160, 0, 0, 0, 0, 0]), "pictures by map")?;
    equal(answer["pictured"].as_u64(), Some(5), "maps that show the picture")?;
    holds(answer["by_pointer"][0] != said[0], &answer)
}

/// Cells say in words what they count, and rows add up to the queries of their class; the slider goes from the commonest mistake on.
fn confusion_answers(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const figures = [...document.querySelectorAll('figure.confusion')], figure = figures[0], table = figure.querySelector('table');
        const slider = figure.querySelector('input'), read = () => figure.querySelector('output').textContent;
        slider.value = 0; slider.dispatchEvent(new Event('input'));
        const first = read(), said = slider.getAttribute('aria-valuetext'), here = table.querySelectorAll('.here').length;
        const most = Math.max(...[...table.querySelectorAll('td[title]:not(.right)')].map(c => Number(c.textContent)));
        const diagonal = table.querySelector('td.right');
        diagonal.dispatchEvent(new PointerEvent('pointermove', { bubbles: true }));
        const rows = [...table.tBodies[0].rows].map(row => ({ name: row.cells[0].title, head: row.cells[0].textContent,
            sum: [...row.cells].slice(1).reduce((sum, cell) => sum + Number(cell.textContent), 0),
            of: Number([...row.cells].find(cell => cell.title.includes(' queries of '))?.title.match(/of (\\d+) queries/)[1]) }));
        const heads = [...table.tHead.rows[0].cells].slice(1).map(c => c.querySelector('abbr').title);
        const pairs = [...document.querySelectorAll('table.sortable')].filter(t => t.caption.textContent.includes('pairs of classes'));
        return { seen, figures: figures.length, sections: document.querySelectorAll('section.run:has(figure.confusion)').length,
            first, said, here, most, pointed: read(), diagonal: diagonal.title, rows, heads, pairs: pairs.length,
            twos: [...document.querySelectorAll('.twos ol.row')].map(row => [...row.children].map(li => li.className).join(' ')) };";
    let answer = browser.ask(script, &[])?;
    equal(&answer["seen"], &serde_json::json!([]), "errors")?;
    holds(answer["figures"].as_u64() >= Some(3), &answer)?;
    equal(&answer["figures"], &answer["sections"], "a matrix a run")?;
    equal(&answer["figures"], &answer["pairs"], "a list of pairs a matrix")?;
    equal(&answer["first"], &answer["said"], "what is said is what is shown")?;
    equal(answer["here"].as_u64(), Some(1), "cells that are marked")?;
    let first = answer["first"].as_str().unwrap_or_default();
    holds(first.starts_with(&format!("{} of ", answer["most"])) && first.ends_with("%)"), first)?;
    equal(&answer["pointed"], &answer["diagonal"], "the cell under the pointer")?;
    let rows = answer["rows"].as_array().ok_or("no rows")?;
    let names: Vec<&Value> = rows.iter().map(|row| &row["name"]).collect();
    equal(names, answer["heads"].as_array().unwrap().iter().collect(), "rows and columns are the same classes")?;
    for row in rows {
        equal(&row["sum"], &row["of"], "the queries of a class")?;
    }
    let twos = answer["twos"].as_array().ok_or("no pairs of classes")?;
    let in_twos = |row: &Value| {
        row.as_str()
            .is_some_and(|row| row.split(' ').collect::<Vec<_>>().chunks(2).all(|two| two == ["query", "wrong"]))
    };
    holds(!twos.is_empty() && twos.iter().all(in_twos), &answer["twos"])
}

/// The four counts are of all queries, and rows of pictures are what they are said to be.
fn changes_are_shown(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const part = document.getElementById('differences');
        const tables = [...part.querySelectorAll('table')].filter(t => t.caption.textContent.startsWith('Queries by what'));
        const table = tables.find(t => t.caption.textContent.includes('before'));
        const counts = [...table.tBodies[0].rows].map(row => [...row.cells].slice(1).map(cell => Number(cell.textContent)));
        const words = [...part.querySelectorAll('p')].map(p => p.textContent).find(text => text.startsWith('Of ') && text.includes('before'));
        const galleries = [...part.querySelectorAll('section.gallery')].map(section => ({ caption: section.querySelector('h4').textContent,
            note: section.querySelector('p').textContent, rows: [...section.querySelectorAll('ol.row')].map(row => [...row.children].map(li => li.className).join(' ')),
            blank: [...section.querySelectorAll('img')].filter(image => image.naturalWidth < 8).length }));
        return { seen, tables: tables.length, counts, words, galleries };";
    let answer = browser.ask(script, &[])?;
    equal(&answer["seen"], &serde_json::json!([]), "errors")?;
    let count = |row: usize, column: usize| answer["counts"][row][column].as_u64().unwrap_or_default();
    let (kept, lost, won, never) = (count(0, 0), count(0, 1), count(1, 0), count(1, 1));
    equal(kept + lost + won + never, 160, "queries")?;
    let words = answer["words"].as_str().unwrap_or_default();
    let wanted = format!(
        "Of 160 queries {won} went from wrong to right and {lost} from right to wrong between first and before"
    );
    holds(words.starts_with(&wanted), words)?;
    let galleries = answer["galleries"].as_array().ok_or("no galleries")?;
    let right = galleries.iter().filter(|gallery| {
        let caption = gallery["caption"].as_str().unwrap_or_default();
        let kinds = if caption.starts_with("Wrong in") { "query wrong right" } else { "query right wrong" };
        let rows = gallery["rows"].as_array().unwrap();
        gallery["blank"] == 0 && !rows.is_empty() && rows.iter().all(|row| row == kinds)
    });
    holds(lost > 0 && right.count() == galleries.len(), &answer)?;
    let of_lost = galleries.iter().find(|gallery| gallery["caption"] == "Right in first, wrong in before");
    let note = of_lost.and_then(|gallery| gallery["note"].as_str()).ok_or("no gallery of what was lost")?;
    holds(note.contains(&format!("of {lost} queries")), note)
}

fn names_are_words(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const heads = [...document.querySelectorAll('h2')].map(h => h.textContent);
        const classes = [...document.querySelectorAll('.class')].map(c => c.title);
        return { seen, heads, classes, title: document.title, h1: document.querySelector('h1').textContent,
            bold: document.querySelectorAll('main b, main i').length, scripts: document.querySelectorAll('main script:not([type])').length };";
    let answer = browser.ask(script, &[])?;
    equal(&answer["seen"], &serde_json::json!([]), "errors")?;
    equal(answer["title"].as_str(), Some("Title </title> & all"), "title")?;
    equal(answer["h1"].as_str(), Some("Title </title> & all"), "heading")?;
    equal((answer["bold"].as_u64(), answer["scripts"].as_u64()), (Some(0), Some(0)), "markup from names")?;
    let has = |list: &str, word: &str| {
        answer[list].as_array().unwrap().iter().any(|v| v.as_str().is_some_and(|v| v.starts_with(word)))
    };
    holds(has("heads", "a & <i>b"), &answer["heads"])?;
    NAMES.iter().try_for_each(|name| holds(has("classes", name), format!("{name} in {}", answer["classes"])))
}

const DARK: &str = "--blink-settings=preferredColorScheme=0";
const LIGHT: &str = "--blink-settings=preferredColorScheme=1";

fn themes(browser: &Browser) -> Result<(), Failed> {
    let mut corners = Vec::new();
    for (name, scheme) in [("light", LIGHT), ("dark", DARK)] {
        let picture = browser.picture(name, &[scheme, "--window-size=1280,3000"])?;
        let distinct: std::collections::HashSet<_> = picture.pixels().map(|p| p.0).collect();
        holds(distinct.len() > 100, format!("{name}: {} colours", distinct.len()))?;
        corners.push(picture.get_pixel(2, 2).0);
    }
    holds(corners[0].iter().all(|&v| v > 240) && corners[1].iter().all(|&v| v < 40), format!("{corners:?}"))?;
    let script = "
        const ground = () => getComputedStyle(document.body).backgroundColor, button = document.getElementById('theme');
        const first = ground(), says = button.textContent; button.click();
        const second = ground(); button.click(); return { seen, says, first, second, third: ground() };";
    for (scheme, says) in [(LIGHT, "Dark"), (DARK, "Light")] {
        let answer = browser.ask(script, &[scheme])?;
        equal(answer["says"].as_str(), Some(says), "the button")?;
        equal(&answer["first"], &answer["third"], "turned twice")?;
        holds(answer["first"] != answer["second"], &answer)?;
    }
    Ok(())
}

fn phone(browser: &Browser) -> Result<(), Failed> {
    let width = "--window-size=390,844";
    browser.picture("phone", &["--window-size=390,6000"])?;
    let script = "return { width: innerWidth, needed: document.documentElement.scrollWidth };";
    let answer = browser.ask(script, &[width])?;
    holds(answer["width"].as_u64() <= Some(500), format!("the window is not small: {answer}"))?;
    holds(answer["needed"].as_u64() <= answer["width"].as_u64(), format!("wider than the window: {answer}"))
}

fn shares_sort(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const table = [...document.querySelectorAll('figure.chart')].find(c => c.textContent.includes('rate12') && c.textContent.includes('DET')).querySelector('details table');
        const press = () => table.tHead.rows[0].cells[1].querySelector('button').click();
        const texts = () => [...table.tBodies[0].rows].map(row => row.cells[1].textContent);
        press(); const up = texts(); press();
        return { seen, up, down: texts() };";
    let answer = browser.ask(script, &[])?;
    equal(&answer["seen"], &serde_json::json!([]), "errors")?;
    equal(&answer["up"], &serde_json::json!(["9 %", "12 %", "50 %"]), "ascending")?;
    equal(&answer["down"], &serde_json::json!(["50 %", "12 %", "9 %"]), "descending")
}

fn thresholds_differ(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const figure = document.querySelector('figure.threshold'), slider = figure.querySelector('input'), said = [], noted = [];
        const note = [...figure.closest('section').querySelectorAll('.gallery .note')].at(-1), first = note.textContent;
        for (let at = 0; at <= slider.max; at++) {
            slider.value = at; slider.dispatchEvent(new Event('input'));
            said.push(figure.querySelector('output b').textContent);
            noted.push(note.textContent.includes(`that ${said.at(-1)} decides`));
        }
        return { seen, said, noted, first };";
    let answer = browser.ask(script, &[])?;
    equal(&answer["seen"], &serde_json::json!([]), "errors")?;
    let said: Vec<&str> = answer["said"].as_array().ok_or("no words")?.iter().filter_map(Value::as_str).collect();
    let distinct: std::collections::HashSet<&&str> = said.iter().collect();
    holds(said.len() > 100, &answer)?;
    equal(distinct.len(), said.len(), "thresholds in words")?;
    holds(answer["noted"].as_array().is_some_and(|noted| noted.iter().all(|is| *is == true)), &answer["noted"])?;
    let first = answer["first"].as_str().unwrap_or_default();
    holds(first.contains("EER's threshold, 0.99999"), first)
}

fn labels_are_whole(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const cut = [], over = [], captions = [];
        for (const chart of document.querySelectorAll('figure.chart')) {
            const caption = chart.querySelector('figcaption').textContent, plot = chart.querySelector('svg.plot').getBoundingClientRect();
            const texts = [...chart.querySelectorAll('svg.plot text')].map(t => [t.textContent, t.getBoundingClientRect()]);
            captions.push(caption);
            for (const [text, box] of texts)
                if (box.left < plot.left - .5 || box.right > plot.right + .5) cut.push(`${caption}: ${text}`);
            for (const [n, [text, a]] of texts.entries()) for (const [other, b] of texts.slice(n + 1))
                if (a.left < b.right - .5 && b.left < a.right - .5 && a.top < b.bottom - 4 && b.top < a.bottom - 4) over.push(`${caption}: ${text} and ${other}`);
        }
        return { seen, cut, over, captions };";
    for size in ["--window-size=1280,900", "--window-size=390,844"] {
        let answer = browser.ask(script, &[size])?;
        for none in ["seen", "cut", "over"] {
            equal(&answer[none], &serde_json::json!([]), &format!("{none} at {size}"))?;
        }
        holds(answer["captions"].as_array().is_some_and(|all| all.len() >= 8), &answer["captions"])?;
    }
    Ok(())
}

fn cursors_stay(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const outside = [];
        let read = 0;
        for (const chart of document.querySelectorAll('figure.chart')) {
            const slider = chart.querySelector('input'), clip = chart.querySelector('clipPath rect'), of = name => Number(clip.getAttribute(name));
            for (let at = 0; slider && at <= slider.max; at++) {
                slider.value = at; slider.dispatchEvent(new Event('input'));
                for (const dot of chart.querySelectorAll('.cursor circle')) {
                    const x = dot.cx.baseVal.value - of('x'), y = dot.cy.baseVal.value - of('y');
                    read++;
                    if (x < -.2 || x > of('width') + .2 || y < -.2 || y > of('height') + .2) outside.push([chart.querySelector('figcaption').textContent, x, y]);
                }
            }
        }
        return { seen, read, outside };";
    let answer = browser.ask(script, &[])?;
    equal(&answer["seen"], &serde_json::json!([]), "errors")?;
    holds(answer["read"].as_u64() > Some(100), &answer["read"])?;
    equal(&answer["outside"], &serde_json::json!([]), "dots outside the plot")
}

fn long_names(browser: &Browser) -> Result<(), Failed> {
    let script = "
        const table = [...document.querySelectorAll('table.sortable')].find(t => t.caption.textContent.includes('by recall@1'));
        const first = [...table.tBodies[0].rows].map(row => row.cells[0]), labels = [...document.querySelectorAll('li .class')];
        const clipped = cell => cell.scrollWidth > cell.clientWidth + 1 && getComputedStyle(cell).overflow !== 'visible';
        const mistaken = [...document.querySelectorAll('ol.row:has(.wrong):has(.query)')];
        const label = item => item.querySelector('.class');
        return { seen, box: table.parentElement.clientWidth, name: Math.max(...first.map(cell => cell.getBoundingClientRect().width)),
            texts: first.map(cell => cell.textContent), cut: [...first, ...labels].filter(clipped).map(cell => cell.textContent),
            labels: labels.length, rows: mistaken.length,
            alike: mistaken.filter(row => [...row.querySelectorAll('.wrong')].some(found => label(found).textContent === label(row.querySelector('.query')).textContent)).length };";
    for (size, most) in [("--window-size=1280,900", 0.5), ("--window-size=390,844", 0.7)] {
        let answer = browser.ask(script, &[size])?;
        for none in ["seen", "cut"] {
            equal(&answer[none], &serde_json::json!([]), &format!("{none} at {size}"))?;
        }
        let number = |name: &str| answer[name].as_f64().unwrap_or_default();
        holds(number("name") > 0.0 && number("name") < most * number("box"), &answer)?;
        holds(number("labels") > 0.0 && number("rows") > 0.0, &answer)?;
        equal(number("alike"), 0.0, "names of two classes that read alike")?;
        let texts = answer["texts"].as_array().ok_or("no names")?;
        holds((0..4).all(|n| texts.iter().any(|text| *text == long_name(n))), &answer["texts"])?;
    }
    Ok(())
}
