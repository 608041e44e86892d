//! Which quotes a connection is told of by message 0xC0: those of its channels' locking keys.
//!
//! A key is followed while a channel with it is open, once however many there are; its quotes name the oldest of them. A
//! key whose channels were all closed and that comes back is told everything again.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use mint_link::MintQuoteNotification;
use sv2_transport::Frame;
use tracing::warn;

use crate::notices::{Follower, Notices};
use crate::outbox::AcknowledgedQuote;

type Key = [u8; 33];

/// The keys of one connection and who follows them.
pub(crate) struct Notifier {
    notices: Notices,
    /// The extension type of the frames; `None` while the miner is not to be told.
    extension: Option<u16>,
    keys: BTreeMap<Key, Followed>,
    news: FuturesUnordered<Abortable<BoxFuture<'static, News>>>,
}

struct Followed {
    channels: BTreeSet<u32>,
    /// Ends the following, if there is any.
    following: Option<AbortHandle>,
}

/// New quotes of a key, and the follower that found them.
pub(crate) struct News {
    key: Key,
    follower: Follower,
    quotes: Vec<AcknowledgedQuote>,
}

impl Notifier {
    /// Tells with frames of this extension, if of any.
    pub(crate) fn new(notices: Notices, extension: Option<u16>) -> Self {
        Self {
            notices,
            extension,
            keys: BTreeMap::new(),
            news: FuturesUnordered::new(),
        }
    }

    /// From now on with frames of this extension.
    pub(crate) fn negotiated(&mut self, extension: u16) {
        self.extension = Some(extension);
        let keys: Vec<Key> = self.keys.keys().copied().collect();
        keys.into_iter().for_each(|key| self.follow(key));
    }

    /// A channel with this key was opened.
    pub(crate) fn opened(&mut self, key: Key, channel_id: u32) {
        let followed = self.keys.entry(key).or_insert_with(|| Followed {
            channels: BTreeSet::new(),
            following: None,
        });
        followed.channels.insert(channel_id);
        if self.extension.is_some() {
            self.follow(key);
        }
    }

    /// A channel with this key was closed.
    pub(crate) fn closed(&mut self, key: Key, channel_id: u32) {
        if let Some(followed) = self.keys.get_mut(&key) {
            followed.channels.remove(&channel_id);
            if followed.channels.is_empty()
                && let Some(Followed {
                    following: Some(following),
                    ..
                }) = self.keys.remove(&key)
            {
                following.abort();
            }
        }
    }

    fn follow(&mut self, key: Key) {
        if let Some(followed) = self.keys.get_mut(&key)
            && followed.following.is_none()
        {
            let (handle, registration) = AbortHandle::new_pair();
            followed.following = Some(handle);
            let follower = self.notices.follow(key);
            self.news.push(Abortable::new(next(key, follower), registration));
        }
    }

    /// The next quotes of any key: waits while there are none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            match self.news.next().await {
                Some(Ok(news)) => return news,
                // Closed meanwhile.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// The frames that tell of these quotes; goes on to follow their key.
    pub(crate) fn frames(&mut self, news: News) -> Vec<Frame> {
        let News { key, follower, quotes } = news;
        let (Some(followed), Some(extension)) = (self.keys.get_mut(&key), self.extension) else {
            return Vec::new();
        };
        let (handle, registration) = AbortHandle::new_pair();
        followed.following = Some(handle);
        self.news.push(Abortable::new(next(key, follower), registration));
        let Some(channel_id) = followed.channels.first().copied() else {
            return Vec::new();
        };
        let frame = |quote: AcknowledgedQuote| {
            let told = MintQuoteNotification {
                channel_id,
                quote_id: quote.quote_id,
                amount: quote.amount,
            };
            told.to_frame(extension)
                .inspect_err(|error| warn!(%error, "a quote can't be told: its id is no id"))
                .ok()
        };
        quotes.into_iter().filter_map(frame).collect()
    }
}

fn next(key: Key, mut follower: Follower) -> BoxFuture<'static, News> {
    Box::pin(async move {
        let quotes = follower.next().await;
        News { key, follower, quotes }
    })
}
