//! The plot: for each comparison, the ratio and its spread, on a logarithmic scale around 1.

use std::fmt::Write;

use crate::compare::Measure;
use crate::report::Row;

const ROW: f64 = 20.0;
const LABEL: f64 = 470.0;
const WIDTH: f64 = 420.0;
const TOP: f64 = 64.0;

/// The lines of the scale.
const TICKS: [f64; 13] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// The first quantity of each comparison, as an SVG picture.
pub(crate) fn svg(rows: &[Row]) -> String {
    let first = |row: &&Row| row.quantity == row.measure.quantities()[0];
    let rows: Vec<&Row> = rows.iter().filter(first).collect();
    let reach = rows.iter().flat_map(|row| [row.pairs.ratio.least, row.pairs.ratio.most, 0.5, 2.0]);
    let (low, high) = reach.fold((1.0_f64, 1.0_f64), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
    let (low, high) = (low.ln() - 0.1, high.ln() + 0.1);
    let place = |ratio: f64| LABEL + (ratio.ln() - low) / (high - low) * WIDTH;
    let headings = Measure::ALL.iter().filter(|measure| rows.iter().any(|row| row.measure == **measure)).count();
    let height = TOP + (rows.len() + headings) as f64 * ROW + 12.0;
    let full = LABEL + WIDTH + 60.0;
    // Writing to a string cannot fail.
    let mut text = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{full}' height='{height}' font-family='sans-serif' \
         font-size='12'>\n<rect width='{full}' height='{height}' fill='white'/>\n\
         <text x='10' y='24' font-size='16'>A / B: median of the pairs, least and most</text>\n\
         <circle cx='{LABEL}' cy='19' r='4' fill='#2f855a'/><text x='{}' y='23'>A is better</text>\n\
         <circle cx='{}' cy='19' r='4' fill='#c05621'/><text x='{}' y='23'>B is better</text>\n",
        LABEL + 10.0,
        LABEL + 110.0,
        LABEL + 120.0
    );
    for tick in TICKS.iter().filter(|tick| (low..high).contains(&tick.ln())) {
        let (x, colour) = (place(*tick), if *tick == 1.0 { "#4a5568" } else { "#e2e8f0" });
        let _ = writeln!(
            text,
            "<line x1='{x:.1}' x2='{x:.1}' y1='{}' y2='{}' stroke='{colour}'/>\
             <text x='{x:.1}' y='{}' text-anchor='middle' fill='#4a5568'>{tick}</text>",
            TOP - 8.0,
            height - 8.0,
            TOP - 12.0
        );
    }
    let mut y = TOP;
    for measure in Measure::ALL {
        let mut of_measure = rows.iter().filter(|row| row.measure == measure).peekable();
        if let Some(row) = of_measure.peek() {
            let (quantity, better) =
                (row.quantity, if row.quantity.more_is_better { "more is better" } else { "less is better" });
            let _ = writeln!(
                text,
                "<text x='10' y='{}' font-weight='bold'>{}: {}, {better}</text>",
                y + 14.0,
                measure.name(),
                quantity.name
            );
            y += ROW;
        }
        for row in of_measure {
            let ratio = row.pairs.ratio;
            let better = (ratio.median >= 1.0) == row.quantity.more_is_better;
            let colour = if better { "#2f855a" } else { "#c05621" };
            let (middle, base) = (y + 10.0, y + 14.0);
            let label = escaped(&format!("{}: {} / {}", row.guest, row.a, row.b));
            let _ = writeln!(
                text,
                "<text x='22' y='{base}'>{label}</text>\
                 <line x1='{:.1}' x2='{:.1}' y1='{middle}' y2='{middle}' stroke='{colour}' stroke-width='2'/>\
                 <circle cx='{:.1}' cy='{middle}' r='4' fill='{colour}'/>\
                 <text x='{:.1}' y='{base}' fill='{colour}'>{:.2}</text>",
                place(ratio.least),
                place(ratio.most),
                place(ratio.median),
                place(ratio.most) + 8.0,
                ratio.median
            );
            y += ROW;
        }
    }
    text.push_str("</svg>\n");
    text
}

/// As the text of an element: names of guests and peers are anybody's.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::Pairs;

    fn row(measure: Measure, quantity: usize, b: &str, pair: (f64, f64)) -> Row {
        let quantity = measure.quantities()[quantity];
        Row {
            measure,
            guest: "hello".into(),
            quantity,
            a: "wharf".into(),
            b: b.into(),
            rate: None,
            pairs: Pairs::new(vec![pair]),
        }
    }

    #[test]
    fn a_row_has_a_colour_that_says_which_side_is_better() {
        let svg = svg(&[
            row(Measure::Throughput, 0, "faster <&>", (1.0, 2.0)),
            row(Measure::ColdStart, 0, "slower", (1.0, 4.0)),
            row(Measure::ColdStart, 1, "left out", (1.0, 4.0)),
        ]);
        let line = |name: &str| svg.lines().find(|line| line.contains(name)).unwrap();
        assert!(line("hello: wharf / faster &lt;&amp;&gt;").contains("#c05621"), "{svg}");
        assert!(line("hello: wharf / slower").contains("#2f855a"), "{svg}");
        assert!(!svg.contains("left out") && svg.ends_with("</svg>\n"), "{svg}");
    }
}
