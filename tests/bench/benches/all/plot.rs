//! SVG plots.

use std::path::Path;

use plotters::{
    chart::ChartBuilder,
    element::{EmptyElement, Rectangle, Text},
    prelude::{IntoDrawingArea as _, SVGBackend, SeriesLabelPosition},
    series::LineSeries,
    style::{Color as _, IntoFont as _, RGBColor, ShapeStyle, WHITE},
};

const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
];

const SIZE: (u32, u32) = (860, 420);
const FONT: &str = "sans-serif";

/// A bar: its name and its parts, each in its own colour.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) parts: Vec<f64>,
}

/// Bars next to each other, with named parts.
pub(crate) fn bars(path: &Path, title: &str, unit: &str, parts: &[&str], bars: &[Bar]) {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).unwrap();
    let sum = |bar: &Bar| bar.parts.iter().sum::<f64>();
    let most = bars.iter().map(sum).fold(0.0, f64::max) * 1.15;
    // Space for the names of the parts on the right.
    let width = bars.len() as f64 * if parts.len() > 1 { 1.15 } else { 1.0 };
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(60)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..width, 0.0..most)
        .unwrap();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc(unit)
        .draw()
        .unwrap();
    for (part, name) in parts.iter().enumerate() {
        let colour = COLOURS[part % COLOURS.len()];
        let rectangle = |(place, bar): (usize, &Bar)| {
            let below: f64 = bar.parts[..part].iter().sum();
            let place = place as f64;
            Rectangle::new(
                [
                    (place + 0.15, below),
                    (place + 0.85, below + bar.parts[part]),
                ],
                colour.filled(),
            )
        };
        let series = chart
            .draw_series(bars.iter().enumerate().map(rectangle))
            .unwrap();
        if parts.len() > 1 {
            series.label(*name).legend(move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled())
            });
        }
    }
    // The given number of pixels below a point.
    let text = |text: &str, at, below| {
        EmptyElement::at(at) + Text::new(text.to_owned(), (0, below), (FONT, 11).into_font())
    };
    for (place, bar) in bars.iter().enumerate() {
        let place = place as f64 + 0.15;
        let total = format!("{:.2}", sum(bar));
        let mut texts = vec![text(&total, (place + 0.1, sum(bar)), -14)];
        for (line, name) in (0..).zip(bar.name.split([',', '-'])) {
            texts.push(text(name.trim(), (place, 0.0), 6 + 13 * line));
        }
        chart.draw_series(texts).unwrap();
    }
    if parts.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .draw()
            .unwrap();
    }
    root.present().unwrap();
}

/// A line: its name and its points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) fn lines(path: &Path, title: &str, (across, up): (&str, &str), lines: &[Line]) {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).unwrap();
    let all = || lines.iter().flat_map(|line| &line.points);
    let widest = all().map(|point| point.0).fold(0.0, f64::max);
    let highest = all().map(|point| point.1).fold(0.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..widest, 0.0..highest.max(1.0))
        .unwrap();
    chart
        .configure_mesh()
        .x_desc(across)
        .y_desc(up)
        .draw()
        .unwrap();
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle().copied()) {
        let style = ShapeStyle::from(&colour).stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))
            .unwrap()
            .label(&line.name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 1), (x + 14, y + 1)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .draw()
        .unwrap();
    root.present().unwrap();
}
