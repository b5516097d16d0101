//! A chart of a few lines: x by factors, y from 0.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;

/// What is left around the plot for words and numbers.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 36.0;

/// Of the first line, the second and so on; readable on light and dark ground.
const COLOURS: [&str; 3] = ["#2a7de1", "#e0662b", "#2f9e5a"];

/// How many marks the y axis has above 0, at most.
const MARKS: f64 = 6.0;

pub struct Line<'a> {
    pub name: &'a str,
    pub points: Vec<(f64, f64)>,
}

pub struct Chart<'a> {
    pub title: &'a str,
    pub lines: &'a [Line<'a>],
}

impl Chart<'_> {
    /// The picture. Names and titles are our own and have nothing in them that would need an escape.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let highest = points().map(|point| point.1).fold(0.0, f64::max);
        let step = step(highest);
        let scale = Scale {
            from: points().map(|point| point.0).fold(f64::INFINITY, f64::min),
            to: points().map(|point| point.0).fold(0.0, f64::max),
            top: (highest / step).ceil().max(1.0) * step,
        };
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#777\">\n"
        );
        text(&mut out, LEFT, 20.0, "start", self.title);
        let mut mark = 0.0;
        while mark <= scale.top + step / 2.0 {
            let y = scale.y(mark);
            put(&mut out, format_args!("<path d=\"M{LEFT} {y:.1}H{}\" stroke=\"#ccc\"/>", WIDTH - RIGHT));
            text(&mut out, LEFT - 8.0, y + 4.0, "end", &mark.to_string());
            mark += step;
        }
        for (x, _) in self.lines.first().map_or(&[][..], |line| &line.points) {
            text(&mut out, scale.x(*x), HEIGHT - 12.0, "middle", &x.to_string());
        }
        for (at, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let place = |(x, y): &(f64, f64)| (scale.x(*x), scale.y(*y));
            let path: Vec<String> =
                line.points.iter().map(place).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
            put(
                &mut out,
                format_args!(
                    "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                    path.join("L")
                ),
            );
            for (x, y) in line.points.iter().map(place) {
                put(
                    &mut out,
                    format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"),
                );
            }
            let x = LEFT + 140.0 * at as f64;
            put(&mut out, format_args!("<path d=\"M{x} 38h18\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
            text(&mut out, x + 24.0, 42.0, "start", line.name);
        }
        out.push_str("</svg>\n");
        out
    }
}

/// Where values are in the picture.
struct Scale {
    from: f64,
    to: f64,
    top: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        let range = (self.to / self.from).ln().max(f64::MIN_POSITIVE);
        LEFT + (WIDTH - LEFT - RIGHT) * (value / self.from).ln() / range
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / self.top
    }
}

/// 1, 2 or 5 times a power of ten, so that there are few marks.
fn step(highest: f64) -> f64 {
    let least = (highest / MARKS).max(1e-3);
    let ten = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|times| times * ten).into_iter().find(|step| *step >= least).unwrap_or(least)
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    put(out, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!([0.9, 7.0, 60.0, 61.0, 130.0].map(step), [0.2, 2.0, 10.0, 20.0, 50.0]);
    }

    #[test]
    fn points_lie_between_the_axes_by_their_factors() {
        let points = vec![(1.0, 0.0), (10.0, 50.0), (100.0, 100.0)];
        let svg = Chart { title: "t", lines: &[Line { name: "n", points }] }.svg();
        assert!(svg.contains("d=\"M64.0 324.0L382.0 190.0L700.0 56.0\""), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
