//! The mint's links to its pools, on the mint's own page. `assets/links.js` keeps them going.

use super::Cell;
use crate::{
    format::{self, UNKNOWN, grouped},
    source::{LinkStage, LinkView, LinksView},
};

/// The table of links, and the settings of the push.
pub(super) struct Links {
    pub(super) rows: Vec<Row>,
    pub(super) push: [(&'static str, Cell); 2],
}

/// One link.
pub(super) struct Row {
    pub(super) pool: String,
    pub(super) state: &'static str,
    pub(super) cells: [(&'static str, String); 6],
}

impl Links {
    pub(super) fn new(links: &LinksView) -> Self {
        let span = |id, field, span| Cell::new(id, field, "span", Some(format::span(span)));
        Self {
            rows: links.links.iter().map(Row::new).collect(),
            push: [
                (
                    "Pushed at least every",
                    span("push-interval-set", "push.interval_ms", links.push.interval),
                ),
                (
                    "Least time between two",
                    span("push-gap", "push.min_gap_ms", links.push.min_gap),
                ),
            ],
        }
    }
}

impl Row {
    fn new(link: &LinkView) -> Self {
        let since = link.since.and_then(format::readable);
        let extensions = match (link.state, link.extensions.is_empty()) {
            (LinkStage::Connected, true) => "none".to_owned(),
            (LinkStage::Connected, false) => link.extensions.join(", "),
            _ => UNKNOWN.to_owned(),
        };
        Self {
            pool: link.pool.clone(),
            state: link.state.as_str(),
            cells: [
                ("State", link.state.as_str().to_owned()),
                ("Since", since.unwrap_or_else(|| UNKNOWN.to_owned())),
                ("Extensions", extensions),
                ("Sessions", grouped(link.sessions)),
                ("Failures in a row", grouped(link.failures_in_a_row)),
                (
                    "Last ended because",
                    link.last_error.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
                ),
            ],
        }
    }
}
