//! Pictures of a verification run: ROC, DET on normal-deviate axes, both score distributions with d', and calibration. Each
//! as PNG and SVG. The letters of the PNG come with the program (DejaVu Sans), so no font and no display need to be there.

mod calibration;
pub(crate) mod scale;
mod title;

use std::io::Write;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use statrs::distribution::{ContinuousCDF, Normal};

use pdloss_embed::console::note;
use pdloss_embed::files::write_atomically;

use crate::metrics::verification::{Bin, Line, Point, Rates, Tally, histogram};
use crate::{Error, Result};
use scale::{Scale, digits, grouped, percent, power, probit, short};

/// What is drawn.
#[derive(Debug)]
pub struct Pictures<'a> {
    /// Scores and their counts.
    pub tally: &'a Tally,
    /// Points of the curves.
    pub curve: &'a [Point],
    /// The figures that captions name.
    pub rates: &'a Rates,
    /// The calibration line, where one fits.
    pub line: Option<Line>,
    /// Whose scores they are: model and data.
    pub title: String,
    /// What a score is: `cosine`, `score`, `distance`.
    pub score: &'static str,
    /// Scores are distances with their sign swapped.
    pub distance: bool,
}

const SIZE: (u32, u32) = (960, 720);
/// Room above the chart for title and legend.
const HEAD: i32 = 84;
/// Left and right of the title, and how large its letters are.
const MARGIN: u32 = 24;
const TITLE: f32 = 22.0;
const FONT: &str = "sans-serif";
const GENUINE: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const IMPOSTOR: RGBColor = RGBColor(0xd1, 0x5a, 0x1b);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0x99, 0x99, 0x99);

type Area<B> = DrawingArea<B, Shift>;
type Drawn<B> = std::result::Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

#[derive(Clone, Copy)]
enum Picture {
    Roc,
    Det,
    Scores,
    Calibration,
}

impl Pictures<'_> {
    /// Writes `roc`, `det`, `scores` and `calibration`, each `.png` and `.svg`, into a folder, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::File`] where writing fails.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|e| Error::File {
            path: folder.into(),
            action: "create",
            source: e,
        })?;
        register_font(FONT, FontStyle::Normal, dejavu::sans::regular())
            .map_err(|_| Error::Measure("the built-in font cannot be read".into()))?;
        let missing = title::missing(&self.title);
        if !missing.is_empty() {
            note(&format!(
                "--plot: the built-in font has no '{missing}', which are '?' in the titles of .png files; those of .svg files have them"
            ));
        }
        // The title of a picture of points is drawn here, that of the others where they are looked at.
        let plain = Pictures { title: title::drawn(&self.title), ..*self };
        for (name, picture) in [
            ("roc", Picture::Roc),
            ("det", Picture::Det),
            ("scores", Picture::Scores),
            ("calibration", Picture::Calibration),
        ] {
            self.write_one(&plain, folder, name, picture)?;
        }
        Ok(())
    }

    fn write_one(&self, plain: &Self, folder: &Path, name: &str, picture: Picture) -> Result<()> {
        let failed = |path: &Path, e: &dyn std::fmt::Display| Error::write(path, std::io::Error::other(e.to_string()));
        let path = folder.join(format!("{name}.png"));
        let mut pixels = vec![0_u8; (SIZE.0 * SIZE.1 * 3) as usize];
        {
            let area = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
            plain.draw(picture, &area).and_then(|()| area.present()).map_err(|e| failed(&path, &e))?;
        }
        write_atomically(&path, |file| {
            let encoder = image::codecs::png::PngEncoder::new(file);
            image::ImageEncoder::write_image(encoder, &pixels, SIZE.0, SIZE.1, image::ExtendedColorType::Rgb8)
                .map_err(std::io::Error::other)
        })?;
        let path = folder.join(format!("{name}.svg"));
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
            self.draw(picture, &area).and_then(|()| area.present()).map_err(|e| failed(&path, &e))?;
        }
        write_atomically(&path, |file| file.write_all(text.as_bytes()))
    }

    fn draw<B: DrawingBackend>(&self, picture: Picture, area: &Area<B>) -> Drawn<B> {
        match picture {
            Picture::Roc => self.roc(area),
            Picture::Det => self.det(area),
            Picture::Scores => self.scores(area),
            Picture::Calibration => self.calibration(area),
        }
    }

    /// Title, a line below it, and the area that is left for the chart.
    fn head<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        what: &str,
        line: &str,
    ) -> std::result::Result<DrawingArea<B, Shift>, DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        area.draw(&Text::new(
            title::fitted(&format!("{what}: {}", self.title), TITLE, (SIZE.0 - 2 * MARGIN) as f32),
            (MARGIN as i32, 16),
            (FONT, TITLE).into_font().color(&INK),
        ))?;
        area.draw(&Text::new(line.to_owned(), (24, 50), (FONT, 17).into_font().color(&INK)))?;
        Ok(area.split_vertically(HEAD).1)
    }

    fn roc<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let targets = self.rates.at.iter().filter_map(|at| at.reached.map(|r| (at.target, 1.0 - r.fnmr)));
        let some = targets.filter(|(target, _)| *target <= 0.011).take(3);
        let some = some.map(|(f, tar)| format!("TAR {} at FAR {f}", percent(tar)));
        let line: Vec<_> = [format!("AUC {}", digits(self.rates.auc, 5))].into_iter().chain(some).collect();
        let line = line.join(";  ");
        let chart_area = self.head(area, "ROC", &line)?;
        let least = (1.0 / self.tally.impostor() as f64).max(1e-9).log10().floor();
        #[allow(clippy::cast_possible_truncation)] // a whole number of decades
        let decades: Vec<f64> = (least as i32..=0).map(f64::from).collect();
        // From below 0 and to above 1, so that a curve on the edge is seen whole.
        let tenths: Vec<f64> = (0..=10).map(|n| f64::from(n) / 10.0).collect();
        let mut chart = ChartBuilder::on(&chart_area)
            .margin(16)
            .margin_right(36)
            .x_label_area_size(56)
            .y_label_area_size(84)
            .build_cartesian_2d(
                Axis { from: least, to: 0.0, ticks: decades.clone() },
                Axis { from: -0.02, to: 1.02, ticks: tenths },
            )?;
        chart
            .configure_mesh()
            .x_desc("false match rate (FMR, FAR), logarithmic")
            .y_desc("true match rate (TAR = 1 - FNMR)")
            .x_label_formatter(&|x| power(*x))
            .y_label_formatter(&|y| format!("{y:.1}"))
            .x_labels(decades.len())
            .y_labels(11)
            .label_style((FONT, 16).into_font().color(&INK))
            .axis_desc_style((FONT, 18).into_font().color(&INK))
            .bold_line_style(BLACK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .draw()?;
        let points = self.curve.iter().filter(|p| p.false_matches > 0);
        let line: Vec<(f64, f64)> = points.map(|p| (self.tally.fmr(p).log10(), 1.0 - self.tally.fnmr(p))).collect();
        chart.draw_series(LineSeries::new(line, GENUINE.stroke_width(2)))?;
        Ok(())
    }

    fn det<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let eer = &self.rates.eer;
        let bracket = if eer.high > eer.low {
            format!(", bracket {} to {}", percent(eer.low), percent(eer.high))
        } else {
            String::new()
        };
        let chart_area = self.head(area, "DET", &format!("EER {}{bracket}", percent(eer.value)))?;
        const TICKS: [f64; 15] = [1e-6, 1e-5, 1e-4, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99];
        // An axis ends where its pairs can no longer tell a rate from none.
        let start = |pairs: u64| TICKS.iter().copied().filter(|&t| t <= 1.0 / pairs as f64).fold(TICKS[0], f64::max);
        let (least_x, least_y) = (start(self.tally.impostor()).min(0.01), start(self.tally.genuine()).min(0.01));
        let axis = |least: f64, most: f64| {
            let ticks: Vec<f64> = TICKS.iter().copied().filter(|&t| t >= least && t <= most).map(probit).collect();
            (ticks.len(), Axis { from: probit(least), to: probit(most), ticks })
        };
        let most = if eer.value < 0.3 { 0.6 } else { 0.99 };
        let ((x_count, x), (y_count, y)) = (axis(least_x, most), axis(least_y, most));
        let mut chart = ChartBuilder::on(&chart_area)
            .margin(16)
            .margin_right(36)
            .x_label_area_size(56)
            .y_label_area_size(96)
            .build_cartesian_2d(x, y)?;
        let label = |at: &f64| percent(Normal::standard().cdf(*at));
        chart
            .configure_mesh()
            .x_desc("false match rate (FMR), normal deviate")
            .y_desc("false non-match rate (FNMR), normal deviate")
            .x_label_formatter(&label)
            .y_label_formatter(&label)
            .x_labels(x_count)
            .y_labels(y_count)
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 18).into_font().color(&INK))
            .bold_line_style(BLACK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .draw()?;
        let ends = (probit(least_x.max(least_y)), probit(most));
        chart.draw_series(DashedLineSeries::new([(ends.0, ends.0), (ends.1, ends.1)], 6, 6, FAINT.stroke_width(1)))?;
        let (genuine, impostor) = (self.tally.genuine(), self.tally.impostor());
        let inside = |p: &&Point| {
            p.false_matches > 0
                && p.false_matches < impostor
                && p.false_non_matches > 0
                && p.false_non_matches < genuine
        };
        let line: Vec<(f64, f64)> = self
            .curve
            .iter()
            .filter(inside)
            .map(|p| (self.tally.fmr(p), self.tally.fnmr(p)))
            .filter(|(x, y)| (least_x..=most).contains(x) && (least_y..=most).contains(y))
            .map(|(x, y)| (probit(x), probit(y)))
            .collect();
        chart.draw_series(LineSeries::new(line, GENUINE.stroke_width(2)))?;
        if eer.value > least_x.max(least_y) && eer.value < most {
            let at = probit(eer.value);
            chart.draw_series([Circle::new((at, at), 6, IMPOSTOR.filled())])?;
        }
        Ok(())
    }

    fn scores<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let d = &self.rates.decidability;
        let sign = if self.distance { -1.0 } else { 1.0 };
        let d_prime = d.d_prime.map_or("d' undefined".to_owned(), |d| format!("d' = {d:.3}"));
        let chart_area = self.head(area, "Scores", &d_prime)?;
        // The legend beside d', above the chart: never over the data.
        for (left, color, name, mu, sd, pairs) in [
            (190, GENUINE, "genuine", d.mu_genuine, d.sd_genuine, self.tally.genuine()),
            (560, IMPOSTOR, "impostor", d.mu_impostor, d.sd_impostor, self.tally.impostor()),
        ] {
            area.draw(&Rectangle::new([(left, 51), (left + 18, 67)], color.mix(0.6).filled()))?;
            let text = format!("{name}: {} ± {}, {} pairs", short(sign * mu), short(sd), grouped(pairs));
            area.draw(&Text::new(text, (left + 26, 50), (FONT, 17).into_font().color(&INK)))?;
        }
        let bins = histogram(self.tally, sign);
        let top = bins.iter().flat_map(|b| [b.genuine, b.impostor]).fold(0.0, f64::max) * 1.05;
        let (low, high) = (bins.first().map_or(0.0, |b| b.from), bins.last().map_or(1.0, |b| b.to));
        let scale = across(low, high);
        let ticks: Vec<f64> = scale.ticks.iter().map(|(at, _)| *at).collect();
        let label = |at: &f64| {
            let near =
                scale.ticks.iter().min_by(|a, b| (a.0 / 2.0 - at / 2.0).abs().total_cmp(&(b.0 / 2.0 - at / 2.0).abs()));
            near.map_or(String::new(), |(_, label)| label.clone())
        };
        let mut chart = ChartBuilder::on(&chart_area)
            .margin(16)
            .margin_right(36)
            .x_label_area_size(56)
            .y_label_area_size(84)
            .build_cartesian_2d(Axis { from: scale.from, to: scale.to, ticks: ticks.clone() }, 0.0..top)?;
        chart
            .configure_mesh()
            .x_desc(self.score)
            .x_label_formatter(&label)
            .x_labels(ticks.len())
            .y_desc("share of pairs in each of the bins")
            .y_label_formatter(&|y| percent(*y))
            .label_style((FONT, 16).into_font().color(&INK))
            .axis_desc_style((FONT, 18).into_font().color(&INK))
            .bold_line_style(BLACK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .draw()?;
        type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<Axis, RangedCoordf64>>;
        fn fill<B: DrawingBackend>(
            chart: &mut Chart<'_, B>,
            bins: &[Bin],
            share: impl Fn(&Bin) -> f64,
            color: RGBColor,
        ) -> Drawn<B> {
            let outline = bins.iter().flat_map(|b| [(b.from, share(b)), (b.to, share(b))]);
            chart.draw_series(AreaSeries::new(outline, 0.0, color.mix(0.35)).border_style(color.stroke_width(2)))?;
            Ok(())
        }
        fill(&mut chart, &bins, |b| b.impostor, IMPOSTOR)?;
        fill(&mut chart, &bins, |b| b.genuine, GENUINE)?;
        for (mu, color) in [(sign * d.mu_genuine, GENUINE), (sign * d.mu_impostor, IMPOSTOR)] {
            if (low..=high).contains(&mu) {
                chart.draw_series(DashedLineSeries::new([(mu, 0.0), (mu, top)], 6, 6, color.stroke_width(2)))?;
            }
        }
        Ok(())
    }
}

/// A horizontal axis: fewer marks where their labels are long.
fn across(low: f64, high: f64) -> Scale {
    /// Letters of labels that have room beside each other.
    const SHORT: usize = 8;
    let scale = Scale::over(low, high, 8);
    let is_long = scale.ticks.iter().any(|(_, label)| label.chars().count() > SHORT);
    if is_long { Scale::over(low, high, 3) } else { scale }
}

/// A linear axis with its ticks where they are said to be.
struct Axis {
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(0.0..1.0).map(&Scale::share(self.from, self.to, *value).clamp(-1.0, 2.0), limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_marks_have_room_beside_each_other() {
        for (low, high) in
            [(1.0 - 1e-9, 1.0), (1.0 - 1e-12, 1.0), (-6e-30, 6e-30), (0.0, 1.0), (0.3, 0.31), (1e9, 1e9 + 1.0)]
        {
            let labels = across(low, high).ticks.into_iter().map(|(_, label)| label.chars().count());
            // Ten units a letter of about 830.
            assert!(labels.clone().sum::<usize>() <= 83, "{low} to {high}: {:?}", labels.collect::<Vec<_>>());
        }
    }
}
