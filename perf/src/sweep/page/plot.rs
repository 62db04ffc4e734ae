//! Plots as SVG: lines over two axes, and ratios with their bounds.

use std::fmt::Write;

use super::html::escape;
use crate::report::versus::Ratio;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Room around the plot: left, right, top, bottom.
const ROOM: (f64, f64, f64, f64) = (70.0, 150.0, 30.0, 45.0);
/// Colours that most people can tell apart (Okabe and Ito), again and again.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// Height of a row of ratios.
const ROW: f64 = 22.0;
/// Room for what a ratio is of.
const NAMES: f64 = 430.0;

/// How numbers become places.
#[derive(Clone, Copy, Debug)]
pub(super) enum Axis {
    /// Equal factors are equally far apart.
    Log(&'static str),
    /// The same, of one in so many that are slower: 10 is the 90th percentile.
    Percentile(&'static str),
}

/// Points that belong together.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    /// For the legend.
    pub(super) name: String,
    /// Both numbers of each; those that are not above zero are left out.
    pub(super) points: Vec<(f64, f64)>,
}

/// Lines over two axes.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// On top.
    pub(super) title: String,
    /// To the right.
    pub(super) x: Axis,
    /// Upwards.
    pub(super) y: Axis,
    /// The lines.
    pub(super) series: Vec<Series>,
}

impl Axis {
    fn label(self) -> &'static str {
        match self {
            Self::Log(label) | Self::Percentile(label) => label,
        }
    }

    fn tick(self, power: i32) -> String {
        match self {
            Self::Log(_) => in_short(10_f64.powi(power)),
            Self::Percentile(_) if power == 0 => "0".to_owned(),
            Self::Percentile(_) => {
                let decimals = usize::try_from(power - 2).unwrap_or(0);
                format!("{:.decimals$}", 100.0 - 10_f64.powi(2 - power))
            }
        }
    }
}

/// The powers of ten around some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    low: i32,
    high: i32,
}

impl Range {
    /// Around all of them; `None` around nothing.
    fn around(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), number| {
            (low.min(number), high.max(number))
        });
        if !(low.is_finite() && high.is_finite()) {
            return None;
        }
        let low = power_below(low);
        let high = -power_below(1.0 / high);
        Some(Self {
            low,
            high: high.max(low + 1),
        })
    }

    /// Where between 0 and 1 a number lies.
    fn place(self, number: f64) -> f64 {
        (number.log10() - f64::from(self.low)) / f64::from(self.high - self.low)
    }

    fn powers(self) -> std::ops::RangeInclusive<i32> {
        self.low..=self.high
    }
}

/// The largest power of ten that is not above the number, among those that any number here has.
fn power_below(number: f64) -> i32 {
    (-12..=18)
        .rev()
        .find(|power| 10_f64.powi(*power) <= number * (1.0 + 1e-9))
        .unwrap_or(-12)
}

impl Plot {
    /// As SVG; nothing where there are no points.
    pub(super) fn draw(mut self) -> String {
        for series in &mut self.series {
            series
                .points
                .retain(|(x, y)| x.is_finite() && y.is_finite() && *x > 0.0 && *y > 0.0);
        }
        self.series.retain(|series| !series.points.is_empty());
        let points = || self.series.iter().flat_map(|series| &series.points);
        let (Some(across), Some(upwards)) = (
            Range::around(points().map(|point| point.0)),
            Range::around(points().map(|point| point.1)),
        ) else {
            return String::new();
        };
        let (left, right, top, bottom) = ROOM;
        let (x_at, y_at) = (
            |number| left + across.place(number) * (WIDTH - left - right),
            |number| HEIGHT - bottom - upwards.place(number) * (HEIGHT - top - bottom),
        );
        let mut svg = begin(WIDTH, HEIGHT);
        text(&mut svg, (left, 18.0), "start", &self.title);
        for power in across.powers() {
            let x = x_at(10_f64.powi(power));
            line(&mut svg, (x, top), (x, HEIGHT - bottom), "#ddd");
            text(&mut svg, (x, HEIGHT - bottom + 16.0), "middle", &self.x.tick(power));
        }
        for power in upwards.powers() {
            let y = y_at(10_f64.powi(power));
            line(&mut svg, (left, y), (WIDTH - right, y), "#ddd");
            text(&mut svg, (left - 6.0, y + 4.0), "end", &self.y.tick(power));
        }
        text(
            &mut svg,
            (left, HEIGHT - 8.0),
            "start",
            &format!("→ {}   ↑ {}", self.x.label(), self.y.label()),
        );
        for (at, series) in self.series.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let places: Vec<String> = series
                .points
                .iter()
                .map(|(x, y)| format!("{:.1},{:.1}", x_at(*x), y_at(*y)))
                .collect();
            element(
                &mut svg,
                &format!(
                    "polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"",
                    places.join(" ")
                ),
            );
            // Where points are few each was measured by itself.
            if series.points.len() <= 20 {
                series.points.iter().for_each(|(x, y)| dot(&mut svg, (x_at(*x), y_at(*y)), colour));
            }
            let y = top + 14.0 + 16.0 * at as f64;
            dot(&mut svg, (WIDTH - right + 12.0, y - 4.0), colour);
            text(&mut svg, (WIDTH - right + 20.0, y), "start", &series.name);
        }
        svg + "</svg>"
    }
}

/// A row for each ratio: its place on one axis, and its bounds.
pub(super) fn ratios(ratios: &[(String, Ratio)]) -> String {
    let usable = |ratio: &Ratio| {
        [ratio.ratio, ratio.min, ratio.max]
            .iter()
            .all(|number| number.is_finite() && *number > 0.0)
    };
    let ratios: Vec<_> = ratios.iter().filter(|(_, ratio)| usable(ratio)).collect();
    let bounds = ratios.iter().flat_map(|(_, ratio)| [ratio.min, ratio.max, 1.0]);
    let Some(range) = Range::around(bounds) else { return String::new() };
    let height = ROW * (ratios.len() as f64 + 2.0);
    let x_at = |number| NAMES + range.place(number) * (WIDTH - 60.0);
    let mut svg = begin(NAMES + WIDTH, height);
    for power in range.powers() {
        let (x, number) = (x_at(10_f64.powi(power)), 10_f64.powi(power));
        line(&mut svg, (x, ROW), (x, height - ROW), if power == 0 { "#888" } else { "#ddd" });
        text(&mut svg, (x, height - 6.0), "middle", &in_short(number));
    }
    for (at, (name, ratio)) in ratios.iter().enumerate() {
        let y = ROW * (at as f64 + 1.5);
        text(&mut svg, (NAMES - 12.0, y + 4.0), "end", name);
        line(&mut svg, (x_at(ratio.min), y), (x_at(ratio.max), y), COLOURS[0]);
        dot(&mut svg, (x_at(ratio.ratio), y), COLOURS[0]);
    }
    svg + "</svg>"
}

fn begin(width: f64, height: f64) -> String {
    format!(
        "<svg width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" font-size=\"12\" font-family=\"sans-serif\">"
    )
}

fn element(svg: &mut String, what: &str) {
    write!(svg, "<{what}/>").expect("a string takes everything");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let (x1, y1, x2, y2) = (from.0, from.1, to.0, to.1);
    element(
        svg,
        &format!("line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\""),
    );
}

fn dot(svg: &mut String, (x, y): (f64, f64), colour: &str) {
    element(svg, &format!("circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\""));
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, said: &str) {
    let said = escape(said);
    write!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{said}</text>").expect("a string takes everything");
}

/// A power of ten as people write it.
fn in_short(number: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let unit = units.iter().find(|(size, _)| number >= *size);
    unit.map_or_else(|| format!("{number}"), |(size, unit)| format!("{}{unit}", number / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: &[(f64, f64)]) -> Plot {
        Plot {
            title: "a < b".to_owned(),
            x: Axis::Percentile("percentile"),
            y: Axis::Log("microseconds"),
            series: vec![Series {
                name: "one".to_owned(),
                points: points.to_vec(),
            }],
        }
    }

    #[test]
    fn points_lie_between_powers_of_ten() {
        assert_eq!(Range::around([20.0, 900.0].into_iter()), Some(Range { low: 1, high: 3 }));
        assert_eq!(Range::around([10.0, 10.0].into_iter()), Some(Range { low: 1, high: 2 }));
        assert_eq!(Range::around([0.05, 0.5].into_iter()), Some(Range { low: -2, high: 0 }));
        assert_eq!(Range::around(std::iter::empty()), None);
        let range = Range { low: 0, high: 2 };
        assert!((range.place(10.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert_eq!(plot(&[]).draw(), "");
        assert_eq!(plot(&[(0.0, 1.0), (f64::NAN, 1.0)]).draw(), "");
        let drawn = plot(&[(1.0, 100.0), (1_000.0, 5_000.0), (-1.0, 1.0)]).draw();
        assert_eq!(drawn.matches("<circle").count(), 3, "two points and one in the legend: {drawn}");
        assert!(
            drawn.contains("a &lt; b") && drawn.contains(">99.9<") && drawn.contains(">10k<"),
            "{drawn}"
        );
    }

    #[test]
    fn a_ratio_has_its_bounds() {
        let ratio = Ratio {
            ours: 1.0,
            theirs: 1.0,
            ratio: 5.0,
            min: 2.0,
            max: 8.0,
        };
        let drawn = ratios(&[("puts".to_owned(), ratio), ("none".to_owned(), Ratio { min: 0.0, ..ratio })]);
        assert_eq!(drawn.matches("<circle").count(), 1, "{drawn}");
        assert_eq!(ratios(&[]), "");
    }
}
