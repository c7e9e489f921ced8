//! The figures that `verify` and `scores` have beside the usual ones: what they are asked for on the command line, their
//! columns, and their table.

use clap::Args;

use crate::metrics::verification::{
    Asked, Assessment, Cost, Interval, Line, Tally, actual_dcf_of, cllr_of, eer, logistic,
};
use crate::table::Record;
use crate::table::schema::find;
use crate::{Error, Result};

/// Priors and costs of decisions, and how much is printed.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Figures")]
pub struct FigureArgs {
    /// Print every figure: also best accuracy, balanced accuracy, F1, ROCCH-EER, partial AUC, DCF, Cllr and calibration; files
    /// and --json have them in any case, but for their intervals
    #[arg(long)]
    pub all_figures: bool,
    /// Probabilities of a genuine pair that detection costs (DCF) are taken at
    #[arg(long, value_delimiter = ',', value_name = "P,P,...", default_values_t = [0.05, 0.01, 0.001])]
    pub priors: Vec<f64>,
    /// What a false non-match costs
    #[arg(long, value_name = "COST", default_value_t = 1.0)]
    pub cost_miss: f64,
    /// What a false match costs
    #[arg(long, value_name = "COST", default_value_t = 1.0)]
    pub cost_false_match: f64,
}

/// Checked arguments.
#[derive(Debug)]
pub(super) struct Wanted {
    costs: Vec<Cost>,
    /// Whether every figure is printed.
    pub(super) all: bool,
}

impl Wanted {
    /// # Errors
    /// [`Error::Usage`] for priors that are none, or costs that are not above 0.
    pub(super) fn plan(args: &FigureArgs) -> Result<Self> {
        let (miss, false_match) = (args.cost_miss, args.cost_false_match);
        for (flag, cost) in [("--cost-miss", miss), ("--cost-false-match", false_match)] {
            if !(cost > 0.0 && cost.is_finite()) {
                return Err(Error::Usage(format!("{flag} {cost}: wanted a number above 0")));
            }
        }
        if let Some(prior) = args.priors.iter().find(|prior| !(**prior > 0.0 && **prior < 1.0)) {
            return Err(Error::Usage(format!("--priors {prior}: wanted probabilities between 0 and 1, such as 0.01")));
        }
        let mut priors = args.priors.clone();
        priors.sort_unstable_by(|a, b| b.total_cmp(a));
        priors.dedup();
        let costs = priors.into_iter().map(|prior| Cost { prior, miss, false_match }).collect();
        Ok(Self { costs, all: args.all_figures })
    }

    /// What is asked of pairs; `development` is the list that a threshold is chosen on.
    pub(super) fn asked(&self, ratios: bool, development: Option<&Development>) -> Asked {
        let threshold = development.map(|development| eer(&development.tally).threshold);
        Asked { costs: self.costs.clone(), ratios, threshold }
    }
}

/// Pairs that a threshold and a calibration are fitted on.
#[derive(Debug)]
pub(super) struct Development {
    pub(super) tally: Tally,
    /// What they are called.
    pub(super) name: String,
}

/// The figures of one tally.
#[derive(Debug)]
pub(super) struct Assessed {
    assessment: Assessment,
    /// The line, Cllr and each prior's actual cost after it; `None` where none fits best.
    logistic: Option<(Line, f64, Vec<f64>)>,
    development: Option<String>,
    sign: f64,
}

impl Assessed {
    /// Takes every figure; `sign` is -1 for distances, whose sign is swapped.
    pub(super) fn of(tally: &Tally, asked: &Asked, development: Option<&Development>, sign: f64) -> Self {
        let fitted = |line: Line| {
            let llr = |score: f64| line.llr(score);
            let costs = asked.costs.iter().map(|cost| actual_dcf_of(tally, cost, llr)).collect();
            (line, cllr_of(tally, llr), costs)
        };
        Self {
            assessment: Assessment::of(tally, asked),
            logistic: logistic(development.map_or(tally, |development| &development.tally)).map(fitted),
            development: development.map(|development| development.name.clone()),
            sign,
        }
    }

    /// What calibrated scores are, for [`--points`](super::outcome::VerificationOut::points) and pictures.
    pub(super) fn line(&self) -> Option<Line> {
        self.logistic.as_ref().map(|(line, ..)| *line)
    }

    fn calibrated_on(&self) -> &str {
        self.development.as_deref().unwrap_or("the same pairs")
    }

    /// Figures by name, with the threshold of those that have one, in the sign in which the scores were given.
    fn figures(&self) -> Vec<(String, Option<f64>, Option<f64>)> {
        let found = &self.assessment;
        let best = &found.best;
        let threshold = |name: &str| match name {
            "best_accuracy" => Some(best.accuracy.threshold),
            "best_balanced_accuracy" => Some(best.balanced_accuracy.threshold),
            "best_f1" => Some(best.f1.threshold),
            "hter" => found.hter.map(|hter| hter.threshold),
            _ => None,
        };
        let with = |(name, value): (String, Option<f64>)| {
            let threshold = threshold(&name).map(|threshold| self.sign * threshold);
            (name, value, threshold)
        };
        let mut figures: Vec<_> = found.figures().into_iter().map(with).collect();
        figures.push(("cllr_logistic".into(), self.logistic.as_ref().map(|(_, cllr, _)| *cllr), None));
        for (at, (cost, ..)) in found.dcf.iter().enumerate() {
            let actual = self.logistic.as_ref().map(|(.., costs)| costs[at]);
            figures.push((format!("act_dcf_logistic@prior={}", cost.prior), actual, None));
        }
        figures
    }

    /// Figures by name.
    pub(super) fn values(&self) -> Vec<(String, Option<f64>)> {
        self.figures().into_iter().map(|(name, value, _)| (name, value)).collect()
    }

    /// Adds their columns.
    pub(super) fn record(&self, record: &mut Record, intervals: &[Interval]) {
        for (name, value, threshold) in self.figures() {
            record.set(name.as_str(), value);
            if let Some(threshold) = threshold {
                record.set(format!("{name}_threshold"), threshold);
            }
            let interval = intervals.iter().find(|interval| interval.name == name);
            let has_one = find(&name).is_some_and(|found| !found.column.interval.is_empty());
            if !intervals.is_empty() && has_one {
                record.set(format!("{name}_from"), interval.map(|i| i.low));
                record.set(format!("{name}_to"), interval.map(|i| i.high));
            }
        }
        if let Some(hter) = self.assessment.hter {
            record.set("hter_fmr", hter.fmr).set("hter_fnmr", hter.fnmr);
        }
        if let Some((cost, ..)) = self.assessment.dcf.first() {
            record.set("dcf_cost_miss", cost.miss).set("dcf_cost_false_match", cost.false_match);
        }
        let line = self.line();
        record.set("logistic_slope", line.map(|line| self.sign * line.slope));
        record.set("logistic_offset", line.map(|line| line.offset));
        record.set("calibrated_on", self.calibrated_on());
        record.set("development", self.development.clone());
    }

    /// The figures one below another, and what they want said.
    pub(super) fn table(&self, counts: &Record) -> String {
        let list = if self.development.is_some() { "the development list" } else { "the same pairs" };
        let note = |name: &str, value: Option<f64>| match name {
            "best_accuracy" | "best_balanced_accuracy" | "best_f1" => "best threshold of these pairs".into(),
            "cllr" if value.is_none() => "wants log-likelihood ratios".into(),
            "cllr" => "scores taken for likelihood ratios".into(),
            "min_cllr" => "after PAV on these pairs".to_owned(),
            "cllr_logistic" if value.is_none() => format!("no line fits best: {list}"),
            "cllr_logistic" => format!("after logistic: {list}"),
            "hter" => "EER threshold of the development list".into(),
            name if name.starts_with("pauc@") && value.is_none() => "not carried by the impostor pairs".into(),
            _ => String::new(),
        };
        let row = |(name, value, threshold): (String, Option<f64>, Option<f64>)| {
            let mut row = Record::new();
            row.set("figure", name.as_str())
                .set("value", value)
                .set("threshold", threshold)
                .set("note", note(&name, value));
            row
        };
        let shown = |(name, value, _): &(String, Option<f64>, Option<f64>)| value.is_some() || !name.contains("dcf");
        let rows: Vec<Record> = self.figures().into_iter().filter(shown).map(row).collect();
        Record::text_over(&rows, counts)
    }
}
