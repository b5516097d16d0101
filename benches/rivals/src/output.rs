//! The table for people, the object for programs.

use crate::Failure;
use crate::rounds::Paired;
use crate::rows::Reading;
use crate::rows::Row;
use crate::stats;
use serde_json::Value;
use serde_json::json;

const HEAD: [&str; 9] = ["id", "what", "unit", "ours", "rival", "ratio", "upper 95 %", "bar", "verdict"];

/// Columns whose cells stand to the right.
const NUMBERS: std::ops::Range<usize> = 3..8;

/// An aligned table, and below it what there is to say of single rows.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let mut text = aligned(&lines, NUMBERS);
    text.push('\n');
    for row in rows {
        let discarded = row.figures.discarded;
        let repeated = (discarded > 0).then(|| {
            format!(
                "{discarded} round(s) were repeated: an event was refused, or producers did not push at once"
            )
        });
        let unchecked = row
            .unchecked_because()
            .map(|why| format!("NOT CHECKED: {why}; the figures are what was measured"));
        for remark in row.remarks.iter().cloned().chain(repeated).chain(unchecked) {
            text.push_str(&format!("{}: {remark}\n", row.id));
        }
    }
    text.push_str(
        "ours, rival: medians of the rounds. ratio: median of the paired ratios ours[i] / rival[i]. upper 95 %: upper end of the \
         two-sided 95 % confidence interval of that median, by order statistics. A row without a rival is judged by its largest figure, or by its median where the object says so.\n",
    );
    text
}

/// Cells padded to the width of their column.
pub fn aligned<const N: usize>(lines: &[[String; N]], right: std::ops::Range<usize>) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cells(row: &Row) -> [String; 9] {
    let figures = &row.figures;
    let ratio = stats::median(&stats::ratios(&figures.ours, &figures.rival));
    let alone = row.reading != Reading::Ratio;
    let of_two = |figure: f64| if alone { "-".to_owned() } else { format!("{figure:.2}") };
    [
        row.id.to_owned(),
        row.what.to_owned(),
        row.unit.to_owned(),
        format!("{:.2}", stats::median(&figures.ours)),
        of_two(stats::median(&figures.rival)),
        of_two(ratio),
        of_two(row.bound()),
        format!("<= {:.2}", row.bar),
        row.verdict().text().to_owned(),
    ]
}

/// The object of the last line: every round's figure, so that whoever reads it judges for himself.
pub fn object(machine: &Value, rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows.iter().map(row_object).collect();
    json!({ "machine": machine, "rows": rows })
}

fn row_object(row: &Row) -> Value {
    json!({
        "id": row.id,
        "what": row.what,
        "unit": row.unit,
        "ours": row.figures.ours,
        "rival": row.figures.rival,
        "op": "<=",
        "threads": row.threads,
        "bar": row.bar,
        "reading": row.reading.text(),
        "discarded": row.figures.discarded,
        "unchecked": row.unchecked,
        "not_checked": row.unchecked_because(),
        "remarks": row.remarks,
    })
}

/// The rows of an object, as they were measured by another process.
pub fn read(object: &Value) -> Result<Vec<Row>, Failure> {
    let rows = object["rows"].as_array().ok_or("an object without rows")?;
    rows.iter().map(|row| read_row(row).ok_or_else(|| format!("this is no row: {row}").into())).collect()
}

fn read_row(row: &Value) -> Option<Row> {
    let text = |key: &str| Some(row[key].as_str()?.to_owned());
    let figures = |key: &str| row[key].as_array()?.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>();
    let number = |key: &str| usize::try_from(row[key].as_u64()?).ok();
    let readings = [Reading::Ratio, Reading::OursAlone, Reading::Median];
    Some(Row {
        id: kept(text("id")?),
        what: kept(text("what")?),
        unit: kept(text("unit")?),
        figures: Paired { ours: figures("ours")?, rival: figures("rival")?, discarded: number("discarded")? },
        reading: readings.into_iter().find(|reading| row["reading"] == reading.text())?,
        bar: row["bar"].as_f64()?,
        threads: number("threads")?,
        unchecked: text("unchecked"),
        remarks: row["remarks"]
            .as_array()?
            .iter()
            .map(|r| Some(r.as_str()?.to_owned()))
            .collect::<Option<_>>()?,
    })
}

/// A text for as long as the program runs; there are a few dozen.
fn kept(text: String) -> &'static str {
    text.leak()
}
