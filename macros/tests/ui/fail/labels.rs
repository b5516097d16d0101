//! Mistakes in label sets and label values, all of them at once.

use mvx_metrics::LabelValue;
use mvx_metrics::Labels;

#[derive(Labels)]
enum NoStruct {
    One,
}

#[derive(Labels)]
struct Fields {
    recorder: bool,
    #[label(name = "a-b")]
    dashed: bool,
    #[label(name = "dashed_too")]
    one: bool,
    #[label(name = "dashed_too", skip = "yes")]
    two: bool,
    #[label(rename = "x")]
    three: bool,
    größe: bool,
}

#[derive(Labels)]
struct Tuple(bool);

#[derive(LabelValue)]
struct NoEnum;

#[derive(LabelValue)]
enum Values {
    Failed(u8),
    #[label(name = "twice")]
    One,
    Twice,
    #[label(name = 7)]
    Seven,
}

fn main() {}
