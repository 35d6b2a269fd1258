//! Plots, beside the tables.

use std::path::Path;

use plotters::prelude::*;

const SIZE: (u32, u32) = (640, 400);

/// One figure at several sizes.
pub struct Line {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// Draws lines over a logarithmic scale of sizes into `docs/performance/`.
pub fn picture(file: &str, axes: (&str, &str), lines: &[Line]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/performance").join(file);
    draw(&path, axes, lines).expect("the plot can be written");
}

fn draw(path: &Path, (x, y): (&str, &str), lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let least = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let most = points().map(|point| point.0).fold(0.0, f64::max);
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    // Where there is room for it: beside lines that rise, or beside lines that fall.
    let ends = |end: fn(&Line) -> Option<&(f64, f64)>| lines.iter().filter_map(end).map(|point| point.1).sum::<f64>();
    let rises = ends(|line| line.points.last()) >= ends(|line| line.points.first());
    let room = if rises { SeriesLabelPosition::UpperLeft } else { SeriesLabelPosition::UpperRight };
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((least..most).log_scale(), 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .x_labels(6)
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|size| format!("{size:.0}"))
        .draw()?;
    for (number, line) in lines.iter().enumerate() {
        let colour = Palette99::pick(number).stroke_width(2);
        let key = move |(x, y): (i32, i32)| PathElement::new([(x, y), (x + 16, y)], colour);
        chart.draw_series(LineSeries::new(line.points.clone(), colour).point_size(3))?.label(line.name).legend(key);
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).position(room).draw()?;
    root.present()?;
    Ok(())
}
