//! The comparison as one picture: in what part of the time each method was how stale.

use std::path::Path;

use anyhow::Context as _;
use plotters::prelude::*;

use super::table::{SHARES_MS, Table};

const SIZE: (u32, u32) = (900, 440);
/// Of Okabe and Ito, which everybody can tell apart; the first is the push.
const COLORS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

impl Table {
    /// Draws it into an SVG file.
    pub(crate) fn draw(&self, path: &Path) -> anyhow::Result<()> {
        self.draw_on(SVGBackend::new(path, SIZE))
            .with_context(|| path.display().to_string())
    }

    fn draw_on(&self, file: SVGBackend<'_>) -> anyhow::Result<()> {
        let area = file.into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(54)
            .build_cartesian_2d(SHARES_MS.log_scale(), 0.0..100.0)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("for how long what is shown has differed from what the mint has committed")
            .y_desc("% of the time at most so long")
            .y_label_formatter(&|percent| format!("{percent}"))
            .axis_desc_style(("sans-serif", 16))
            .x_label_formatter(&|ms| match *ms {
                ms if ms < 1000.0 => format!("{ms} ms"),
                ms => format!("{} s", ms / 1000.0),
            })
            .label_style(("sans-serif", 15))
            .draw()?;
        for (row, color) in self.rows.iter().zip(COLORS) {
            let line = row.staleness_shares.iter().map(|(ms, share)| (*ms, 100.0 * share));
            chart
                .draw_series(LineSeries::new(line, color.stroke_width(2)))?
                .label(&row.method)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::MiddleLeft)
            .label_font(("sans-serif", 15))
            .background_style(WHITE)
            .draw()?;
        area.present()?;
        Ok(())
    }
}
