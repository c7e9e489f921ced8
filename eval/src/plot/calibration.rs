//! The picture of calibration: what each score says as a log-likelihood ratio, by the best rising map and by the best line.

use plotters::prelude::*;

use super::scale::{Scale, short};
use super::{Area, Axis, Drawn, FONT, GENUINE, IMPOSTOR, INK, Pictures, across};
use crate::metrics::verification::{Block, min_cllr, pav};

/// The axis of ratios ends here at least, and nowhere beyond the next.
const LEAST: f64 = 2.0;
const MOST: f64 = 30.0;

impl Pictures<'_> {
    pub(super) fn calibration<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let sign = if self.distance { -1.0 } else { 1.0 };
        let blocks = pav(self.tally);
        let line = format!("minimum Cllr {:.4} bits", min_cllr(self.tally, &blocks));
        let chart_area = self.head(area, "Calibration", &line)?;
        let fitted = self.line.map_or("no line fits best".to_owned(), |line| {
            let side = if line.offset < 0.0 { '-' } else { '+' };
            format!("logistic: {} x score {side} {:.4}", short(sign * line.slope), line.offset.abs())
        });
        for (left, color, name) in
            [(250, GENUINE, "PAV, dashed where one kind is alone".to_owned()), (600, IMPOSTOR, fitted)]
        {
            area.draw(&Rectangle::new([(left, 57), (left + 18, 61)], color.filled()))?;
            area.draw(&Text::new(name, (left + 26, 50), (FONT, 17).into_font().color(&INK)))?;
        }
        let finite = |score: &f64| score.is_finite();
        let ends = blocks.iter().flat_map(|block| [sign * block.from, sign * block.to]).filter(finite);
        let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let (low, high) = if low <= high { (low, high) } else { (-0.5, 0.5) };
        let scale = across(low, high);
        let llrs = blocks.iter().map(|block| block.llr(self.tally));
        let most = llrs.filter(finite).map(f64::abs).fold(LEAST, f64::max).min(MOST) * 1.1;
        let ratios = Scale::over(-most, most, 10);
        let named = |ticks: &[(f64, String)], at: f64| {
            let near =
                ticks.iter().min_by(|a, b| (a.0 / 2.0 - at / 2.0).abs().total_cmp(&(b.0 / 2.0 - at / 2.0).abs()));
            near.map_or(String::new(), |(_, label)| label.clone())
        };
        let axis = |of: &Scale| Axis { from: of.from, to: of.to, ticks: of.ticks.iter().map(|(at, _)| *at).collect() };
        let mut chart = ChartBuilder::on(&chart_area)
            .margin(16)
            .margin_right(36)
            .x_label_area_size(56)
            .y_label_area_size(84)
            .build_cartesian_2d(axis(&scale), axis(&ratios))?;
        chart
            .configure_mesh()
            .x_desc(self.score)
            .y_desc("natural log-likelihood ratio, genuine to impostor")
            .x_label_formatter(&|x| named(&scale.ticks, *x))
            .y_label_formatter(&|y| named(&ratios.ticks, *y))
            .x_labels(scale.ticks.len())
            .y_labels(ratios.ticks.len())
            .label_style((FONT, 16).into_font().color(&INK))
            .axis_desc_style((FONT, 18).into_font().color(&INK))
            .bold_line_style(BLACK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .draw()?;
        // Scores that only one kind has are dashed, on the axis' edge: they are surer than can be shown.
        let point = |score: f64, llr: f64| (sign * score.clamp(f64::MIN, f64::MAX), llr.clamp(ratios.from, ratios.to));
        let ends = |block: &Block| [block.from, block.to].map(|score| point(score, block.llr(self.tally)));
        let (sure, known): (Vec<_>, Vec<_>) = blocks.iter().partition(|block| block.llr(self.tally).is_infinite());
        chart.draw_series(LineSeries::new(known.into_iter().flat_map(ends), GENUINE.stroke_width(2)))?;
        for block in sure {
            chart.draw_series(DashedLineSeries::new(ends(block), 8, 6, GENUINE.stroke_width(2)))?;
        }
        // The line within both axes.
        if let Some(line) = self.line.filter(|line| line.slope != 0.0) {
            let score = |llr: f64| sign * (llr - line.offset) / line.slope;
            let (a, b) = (score(ratios.from), score(ratios.to));
            let ends = [a.min(b).max(scale.from), a.max(b).min(scale.to)];
            if ends[0] < ends[1] {
                let drawn = ends.map(|x| (x, line.llr(sign * x)));
                chart.draw_series(LineSeries::new(drawn, IMPOSTOR.stroke_width(2)))?;
            }
        }
        Ok(())
    }
}
