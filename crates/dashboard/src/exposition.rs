//! The two texts that a scraper may want of `/metrics`: OpenMetrics if it asks for it, as Prometheus does, and Prometheus'
//! older text format for everybody else.
//!
//! What is registered is written as OpenMetrics. The older format differs in three things that matter here: a counter's
//! family is named as its series (`…_total`), an unknown type is called untyped, and there are no UNIT and EOF.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};

const OPEN_METRICS: &str = "application/openmetrics-text";

/// A text that scrapers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Exposition {
    /// What the request asks for by `Accept` (RFC 9110, section 12.5.1). OpenMetrics must be named, and not refused by a
    /// weight of 0.
    pub(crate) fn wanted(request: &HeaderMap) -> Self {
        let mut ranges = request
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let named = ranges.any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let open_metrics = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(OPEN_METRICS));
            open_metrics && !parts.any(|parameter| weight(parameter) == Some(0.0))
        });
        if named { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// This text of what was written as OpenMetrics.
    pub(crate) fn of(self, open_metrics: String) -> String {
        match self {
            Self::Prometheus => prometheus(&open_metrics),
            Self::OpenMetrics => open_metrics,
        }
    }
}

fn weight(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    name.trim()
        .eq_ignore_ascii_case("q")
        .then(|| value.trim().parse().ok())?
}

fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let counter = |line: &str| {
            let family = line.strip_prefix("# TYPE ")?.strip_suffix(" counter")?;
            Some(format!("{family}_total"))
        };
        let line: Cow<'_, str> = if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            // TYPE follows at once, and tells whether this is a counter's help.
            let named = lines.peek().and_then(|next| counter(next)).zip(rest.split_once(' '));
            match named {
                Some((family, (_, help))) => format!("# HELP {family} {help}").into(),
                None => line.into(),
            }
        } else if let Some(family) = counter(line) {
            format!("# TYPE {family} counter").into()
        } else if let Some(family) = line.strip_suffix(" unknown").filter(|line| line.starts_with("# TYPE ")) {
            format!("{family} untyped").into()
        } else {
            line.into()
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn wanted(accept: &[&'static str]) -> Exposition {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        Exposition::wanted(&headers)
    }

    #[test]
    fn open_metrics_is_for_those_who_name_it() {
        // What Prometheus 2.5 and later, and curl, send.
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;\
                          q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(wanted(&[prometheus]), Exposition::OpenMetrics);
        assert_eq!(
            wanted(&["text/html", "Application/OpenMetrics-Text"]),
            Exposition::OpenMetrics
        );
        for other in [
            &[][..],
            &["*/*"],
            &["text/plain;version=0.0.4"],
            &["application/openmetrics-text; q=0"],
        ] {
            assert_eq!(wanted(other), Exposition::Prometheus, "{other:?}");
        }
    }

    #[test]
    fn a_counters_family_is_named_as_its_series_in_the_older_text() {
        let open_metrics = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total 3\n# HELP c_seconds Time.\n\
                            # TYPE c_seconds gauge\n# UNIT c_seconds seconds\nc_seconds{x=\"# TYPE y counter\"} 1.5\n\
                            # HELP d D.\n# TYPE d unknown\nd 1\n# EOF\n";
        let text = "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total 3\n# HELP c_seconds Time.\n\
                    # TYPE c_seconds gauge\nc_seconds{x=\"# TYPE y counter\"} 1.5\n# HELP d D.\n# TYPE d untyped\nd 1\n";
        assert_eq!(Exposition::Prometheus.of(open_metrics.to_owned()), text);
        assert_eq!(Exposition::OpenMetrics.of(open_metrics.to_owned()), open_metrics);
    }
}
