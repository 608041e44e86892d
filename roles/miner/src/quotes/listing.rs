//! The pool's list of a key's quotes: `GET /api/v1/quotes?key=`, page by page.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Deadline of one page.
const DEADLINE: Duration = Duration::from_secs(15);

/// The largest page that is read; a pool's own have some 50 KiB.
const MAX_BODY: usize = 4 * 1024 * 1024;
const MAX_REDIRECTS: usize = 3;

/// Why a list can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the pool's page at {page} {problem}")]
pub struct ListingError {
    /// The page's URL.
    pub page: String,
    /// What is wrong.
    pub problem: ListingProblem,
}

/// What is wrong with a pool's page.
#[derive(Debug, thiserror::Error)]
pub enum ListingProblem {
    /// It can't be reached.
    #[error("can't be read: {0}")]
    Http(#[from] bitreq::Error),
    /// It takes too long.
    #[error("took longer than {DEADLINE:?}")]
    Deadline,
    /// It says something else.
    #[error("answers {status} to {path}")]
    Status {
        /// The HTTP status.
        status: i32,
        /// What was asked for.
        path: &'static str,
    },
    /// It is not what a pool says.
    #[error("gives a list of quotes that can't be understood: {0}")]
    Form(String),
}

/// A list that is read again and again, each time from where the last time ended.
#[derive(Debug)]
pub(crate) struct Listing {
    base: String,
    key: String,
    read: Option<Bookmark>,
}

/// How far a list was read.
#[derive(Debug)]
struct Bookmark {
    /// The first quote of the list: another one means that it has begun anew, or lost its front, and is read as a whole.
    first: String,
    /// The position before the last page.
    after: u64,
    /// The quotes of the last page, which has grown when it is read again.
    last_page: HashSet<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    quotes: Vec<Listed>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    quote_id: String,
}

const PATH: &str = "/api/v1/quotes";

impl Listing {
    /// The list of this key (66 hex digits) on the pool's page at `url`.
    pub(crate) fn new(url: &str, key: String) -> Self {
        Self {
            base: url.trim_end_matches('/').to_owned(),
            key,
            read: None,
        }
    }

    /// Sends the id of every quote that was not there the last time, and returns how many they were. After an error, all
    /// since the last success come again.
    pub(crate) async fn read_new(&mut self, ids: &mpsc::Sender<String>) -> Result<usize, ListingError> {
        let read = self.read_on(ids).await;
        read.map_err(|problem| ListingError {
            page: self.base.clone(),
            problem,
        })
    }

    async fn read_on(&mut self, ids: &mpsc::Sender<String>) -> Result<usize, ListingProblem> {
        let mut page = self.page(0).await?;
        let Some(first) = page.quotes.first().map(|quote| quote.quote_id.clone()) else {
            self.read = None;
            return Ok(0);
        };
        let known = self.read.as_ref().filter(|read| read.first == first);
        let mut after = known.map_or(0, |known| known.after);
        let mut seen = known.map(|known| known.last_page.clone()).unwrap_or_default();
        if after > 0 {
            page = self.page(after).await?;
        }
        let mut new = 0;
        loop {
            let mut last_page = HashSet::with_capacity(page.quotes.len());
            for Listed { quote_id } in page.quotes {
                if !seen.contains(&quote_id) {
                    new += 1;
                    // Where nobody takes them any more, the stop is near.
                    let _ = ids.send(quote_id.clone()).await;
                }
                last_page.insert(quote_id);
            }
            let Some(next) = page.next else {
                self.read = Some(Bookmark {
                    first,
                    after,
                    last_page,
                });
                return Ok(new);
            };
            // Positions grow, or this would never end.
            after = next
                .parse()
                .ok()
                .filter(|next| *next > after)
                .ok_or_else(|| ListingProblem::Form(format!("next = {next:?} after {after}")))?;
            seen = HashSet::new();
            page = self.page(after).await?;
        }
    }

    async fn page(&self, after: u64) -> Result<Page, ListingProblem> {
        let Self { base, key, .. } = self;
        let request = bitreq::get(format!("{base}{PATH}?key={key}&after={after}"))
            .with_timeout(DEADLINE.as_secs())
            .with_max_redirects(MAX_REDIRECTS)
            .with_max_body_size(MAX_BODY);
        let response = timeout(DEADLINE, request.send_async())
            .await
            .map_err(|_| ListingProblem::Deadline)??;
        if response.status_code != 200 {
            return Err(ListingProblem::Status {
                status: response.status_code,
                path: PATH,
            });
        }
        serde_json::from_slice(response.as_bytes()).map_err(|error| ListingProblem::Form(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
