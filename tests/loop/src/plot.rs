//! Pictures: shares over time, latencies over load.

use std::path::Path;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

const COLOURS: [RGBColor; 9] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(23, 190, 207),
    RGBColor(127, 127, 127),
    RGBColor(188, 189, 34),
];

/// A line and its name.
pub type Line = (String, Vec<(f64, f64)>);

/// What a picture shows.
#[derive(Debug)]
pub struct Picture<'p> {
    /// Above it.
    pub title: &'p str,
    /// Below and beside it.
    pub axes: (&'p str, &'p str),
    /// From the bottom to the top.
    pub height: (f64, f64),
    /// Whether the height is logarithmic.
    pub logarithmic: bool,
    /// Its lines.
    pub lines: &'p [Line],
}

/// Draws lines into an SVG file.
///
/// # Errors
/// When the file cannot be written.
pub fn draw(path: &Path, picture: &Picture<'_>) -> anyhow::Result<()> {
    let root = SVGBackend::new(path, (860, 360)).into_drawing_area();
    root.fill(&WHITE)?;
    let right = picture.lines.iter().flat_map(|(_, points)| points).map(|p| p.0);
    let left = right.clone().fold(f64::INFINITY, f64::min);
    let right = right.fold(left + 1e-9, f64::max);
    let mut builder = ChartBuilder::on(&root);
    builder
        .caption(picture.title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64);
    let (low, high) = picture.height;
    let across = left..right;
    if picture.logarithmic {
        lines(builder.build_cartesian_2d(across, (low..high).log_scale())?, picture)?;
    } else {
        lines(builder.build_cartesian_2d(across, low..high)?, picture)?;
    }
    root.present()?;
    Ok(())
}

/// A picture on a chart of this height.
type Chart<'p, Y> = ChartContext<'p, SVGBackend<'p>, Cartesian2d<RangedCoordf64, Y>>;

/// The axes, the lines and what they are called.
fn lines<'p, Y>(mut chart: Chart<'p, Y>, picture: &Picture<'_>) -> anyhow::Result<()>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64> + 'p,
{
    let (low, high) = picture.height;
    chart.configure_mesh().x_desc(picture.axes.0).y_desc(picture.axes.1).draw()?;
    for (index, (name, points)) in picture.lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let clamped = points.iter().map(|(x, y)| (*x, y.clamp(low, high)));
        chart
            .draw_series(LineSeries::new(clamped, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}
