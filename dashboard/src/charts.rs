//! Use over time as pictures and as a table: which steps a range has, gaps filled with zero, and SVG whose shapes are numbers
//! alone, so that nothing in it comes from a visitor. It reads no database and draws no axis texts; those are HTML.

use std::fmt::Write;

use tenancy::usage::Counts;
use tenancy::usage::series::{Point, Step};

use crate::page::{at, count};

/// Width and height of the drawing; the page stretches it.
const WIDTH: u64 = 1_000;
const HEIGHT: u64 = 200;

/// A class of messages: style, name, number.
type Class = (&'static str, &'static str, fn(&Counts) -> i64);

/// The classes of messages in the order in which they are stacked.
pub(crate) const CLASSES: [Class; 7] = [
    ("publish", "Publishes", |counts| counts.publishes),
    ("delivery", "Deliveries", |counts| counts.deliveries),
    ("client", "Client events", |counts| counts.client_events),
    ("presence", "Presence", |counts| counts.presence),
    ("cached", "Cache", |counts| counts.cached),
    ("webhook", "Webhooks", |counts| counts.webhooks),
    ("read", "REST reads", |counts| counts.reads),
];

/// How far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    Hour,
    Day,
    Month,
}

impl Range {
    pub(crate) const ALL: [Range; 3] = [Range::Hour, Range::Day, Range::Month];

    /// What the address asks for; a day if it asks for nothing that there is.
    pub(crate) fn parse(name: Option<&str>) -> Range {
        Range::ALL.into_iter().find(|range| Some(range.name()) == name).unwrap_or(Range::Day)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Range::Hour => "1h",
            Range::Day => "24h",
            Range::Month => "30d",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Range::Hour => "Hour",
            Range::Day => "24 hours",
            Range::Month => "30 days",
        }
    }

    pub(crate) fn step(self) -> Step {
        match self {
            Range::Hour => Step::Minute,
            Range::Day => Step::Hour,
            Range::Month => Step::Day,
        }
    }

    /// One step, in words.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Range::Hour => "minute",
            Range::Day => "hour",
            Range::Month => "day",
        }
    }

    fn steps(self) -> u32 {
        match self {
            Range::Hour => 60,
            Range::Day => 24,
            Range::Month => 30,
        }
    }

    fn label(self, step: u32) -> String {
        let ms = i64::from(step) * self.step().ms();
        at(ms, if self == Range::Month { "%-d %b" } else { "%H:%M" })
    }

    /// From which step to before which.
    pub(crate) fn bounds(self, now_ms: i64) -> (u32, u32) {
        let to = u32::try_from(now_ms / self.step().ms()).unwrap_or(0) + 1;
        (to - self.steps(), to)
    }
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) at: String,
    pub(crate) connections: String,
    pub(crate) total: String,
    pub(crate) classes: Vec<String>,
}

/// A picture with the words around it.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) svg: String,
    /// The highest value drawn.
    pub(crate) top: String,
    /// What it shows, in a sentence.
    pub(crate) says: String,
}

/// Both charts of a page, and their table.
#[derive(Clone, Debug)]
pub(crate) struct Charts {
    pub(crate) range: Range,
    pub(crate) messages: Chart,
    pub(crate) connections: Chart,
    /// Under the axis, from left to right.
    pub(crate) labels: Vec<String>,
    /// Latest first, without steps in which nothing was used.
    pub(crate) lines: Vec<Line>,
    /// Sums of the range by class.
    pub(crate) sums: Vec<(&'static str, &'static str, String)>,
    pub(crate) total: String,
}

impl Charts {
    pub(crate) fn new(range: Range, now_ms: i64, points: &[Point], connections_max: Option<u64>) -> Charts {
        let (from, to) = range.bounds(now_ms);
        let all: Vec<Point> = (from..to)
            .map(|step| {
                let none = Point { at: step, counts: Counts::default(), connections_peak: 0 };
                points.iter().find(|point| point.at == step).copied().unwrap_or(none)
            })
            .collect();
        let sum = all.iter().fold(Counts::default(), |sum, point| sum + point.counts);
        let used = |point: &&Point| point.counts.total() > 0 || point.connections_peak > 0;
        let line = |point: &Point| Line {
            at: range.label(point.at),
            connections: whole(point.connections_peak),
            total: whole(point.counts.total()),
            classes: CLASSES.iter().map(|(_, _, of)| whole(of(&point.counts))).collect(),
        };
        let last = all.len() - 1;
        Charts {
            range,
            messages: messages(range, &all),
            connections: connections(range, &all, connections_max),
            labels: [0, last / 3, last * 2 / 3, last].map(|at| range.label(all[at].at)).to_vec(),
            lines: all.iter().rev().filter(used).map(line).collect(),
            sums: CLASSES.iter().map(|(style, title, of)| (*style, *title, whole(of(&sum)))).collect(),
            total: whole(sum.total()),
        }
    }
}

/// A number that storage may have as a negative one and that never is.
pub(crate) fn positive(number: i64) -> u64 {
    number.max(0).unsigned_abs()
}

fn whole(number: i64) -> String {
    count(positive(number))
}

fn open() -> String {
    format!(
        r#"<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true" focusable="false">"#
    )
}

/// Left edge and width of a bar among `of`.
fn slot(at: usize, of: usize) -> (u64, u64) {
    let edge = |at: usize| at as u64 * WIDTH / of as u64;
    let gap = if of > 40 { 3 } else { 6 };
    (edge(at), edge(at + 1) - edge(at) - gap)
}

fn scaled(value: i64, top: u64) -> u64 {
    (u128::from(positive(value)) * u128::from(HEIGHT) / u128::from(top.max(1))) as u64
}

fn messages(range: Range, points: &[Point]) -> Chart {
    let top = points.iter().map(|point| positive(point.counts.total())).max().unwrap_or(0);
    let mut svg = open();
    for (i, point) in points.iter().enumerate() {
        let (x, width) = slot(i, points.len());
        // Edges are scaled, not heights, so that rounding leaves no gaps.
        let (mut below, mut sum) = (0, 0);
        for (style, _, of) in CLASSES {
            sum += of(&point.counts);
            let edge = scaled(sum, top);
            if edge > below {
                let (y, height) = (HEIGHT - edge, edge - below);
                let _ = write!(
                    svg,
                    r#"<rect class="of-{style}" x="{x}" y="{y}" width="{width}" height="{height}"/>"#
                );
            }
            below = edge;
        }
    }
    svg.push_str("</svg>");
    let best = points.iter().max_by_key(|point| point.counts.total()).filter(|_| top > 0);
    let says = match best {
        None => "No messages in this time.".to_owned(),
        Some(best) => format!(
            "Most in one {}: {} messages, at {}.",
            range.unit(),
            whole(best.counts.total()),
            range.label(best.at)
        ),
    };
    Chart { svg, top: count(top), says }
}

fn connections(range: Range, points: &[Point], max: Option<u64>) -> Chart {
    let peak = points.iter().map(|point| positive(point.connections_peak)).max().unwrap_or(0);
    // The limit is drawn where it says something about the bars.
    let limit = max.filter(|max| *max > 0 && peak * 3 >= *max);
    let top = limit.unwrap_or(0).max(peak);
    let mut svg = open();
    for (i, point) in points.iter().enumerate() {
        let (x, width) = slot(i, points.len());
        let height = scaled(point.connections_peak, top);
        if height > 0 {
            let y = HEIGHT - height;
            let _ = write!(
                svg,
                r#"<rect class="of-connections" x="{x}" y="{y}" width="{width}" height="{height}"/>"#
            );
        }
    }
    if let Some(limit) = limit {
        let y = (HEIGHT - scaled(limit.cast_signed(), top)).max(1);
        let _ = write!(svg, r#"<path class="limit" d="M0 {y}H{WIDTH}"/>"#);
    }
    svg.push_str("</svg>");
    let best = points.iter().max_by_key(|point| point.connections_peak).filter(|_| peak > 0);
    let of = max.map(|max| format!(" of {}", count(max))).unwrap_or_default();
    let says = match best {
        None => "No connections in this time.".to_owned(),
        Some(best) => format!("Peak: {}{of} at once, at {}.", count(peak), range.label(best.at)),
    };
    Chart { svg, top: count(top), says }
}

/// Classes side by side in one bar, as shares of `whole`.
pub(crate) fn share_bar(counts: &Counts, whole: u64) -> String {
    let mut svg = format!(
        r#"<svg class="shares" viewBox="0 0 {WIDTH} 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">"#
    );
    let whole = u128::from(whole.max(positive(counts.total())).max(1));
    let (mut before, mut sum) = (0, 0_i64);
    for (style, _, of) in CLASSES {
        sum += of(counts);
        let edge = (u128::from(positive(sum)) * u128::from(WIDTH) / whole) as u64;
        if edge > before {
            let width = edge - before;
            let _ =
                write!(svg, r#"<rect class="of-{style}" x="{before}" y="0" width="{width}" height="10"/>"#);
        }
        before = edge;
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: u32, publishes: i64, deliveries: i64) -> Point {
        let counts = Counts { publishes, deliveries, ..Counts::default() };
        Point { at, counts, connections_peak: 3 }
    }

    #[test]
    fn a_range_ends_with_the_step_that_runs_and_has_no_gaps() {
        let now_ms = 100 * Step::Hour.ms() + 59 * 60_000;
        let (from, to) = Range::Day.bounds(now_ms);
        assert_eq!((from, to), (77, 101));
        let charts =
            Charts::new(Range::Day, now_ms, &[point(76, 9, 9), point(77, 1, 1), point(100, 2, 6)], None);
        assert_eq!(charts.total, "10", "what lies before the range is left out");
        assert_eq!(charts.lines.len(), 2);
        assert_eq!(charts.labels, ["05:00", "12:00", "20:00", "04:00"]);
        assert_eq!(charts.messages.says, "Most in one hour: 8 messages, at 04:00.");
        assert_eq!(charts.messages.top, "8");
    }

    #[test]
    fn stacked_bars_fill_the_height_of_the_highest() {
        let chart = messages(Range::Hour, &[point(1, 1, 2), point(2, 0, 1)]);
        assert!(
            chart.svg.contains(r#"<rect class="of-publish" x="0" y="134" width="494" height="66"/>"#),
            "{}",
            chart.svg
        );
        assert!(
            chart.svg.contains(r#"<rect class="of-delivery" x="0" y="0" width="494" height="134"/>"#),
            "{}",
            chart.svg
        );
        assert_eq!(chart.svg.matches("<rect").count(), 3);
    }

    #[test]
    fn the_limit_is_drawn_when_it_is_near() {
        let points = [point(1, 0, 0)];
        assert!(connections(Range::Hour, &points, Some(9)).svg.contains("limit"));
        assert!(!connections(Range::Hour, &points, Some(10)).svg.contains("limit"));
        assert_eq!(connections(Range::Hour, &points, Some(10)).says, "Peak: 3 of 10 at once, at 00:01.");
    }

    #[test]
    fn an_unknown_range_is_a_day() {
        assert_eq!(Range::parse(Some("7y")), Range::Day);
        assert_eq!(Range::parse(Some("30d")), Range::Month);
    }
}
