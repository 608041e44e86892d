//! The truth and the places together, fed by all threads that see something.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    clock::{self, Nanos},
    place::{LAG, Measured, Place, Shown},
    process::Hear,
    record::Record,
    truth::{Digest, Truth},
};

/// Versions that are remembered although all places show newer ones: for answers that are still on their way.
const KEPT: u64 = 10_000;

/// Shared by whoever sees something.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    shared: Arc<Mutex<State>>,
}

/// What is known.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) truth: Truth,
    /// Of the first pool, as the two below.
    pub(crate) cache: Place,
    pub(crate) http: Place,
    pub(crate) sse: Place,
    /// The caches of the other pools.
    others: Vec<Place>,
    /// Of the mint's, in words.
    complaints: Vec<String>,
    wrong: u64,
    /// When the measuring began.
    began: Option<Nanos>,
    /// What children have told of their traffic.
    pub(crate) traffic: Traffic,
}

/// Counts that only grow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// How often something was shown.
    pub(crate) shown: u64,
}

impl Traffic {
    /// By how much they have grown.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            messages: self.messages - before.messages,
            bytes: self.bytes - before.bytes,
            shown: self.shown - before.shown,
        }
    }
}

/// All that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// Of all pools.
    pub(crate) cache: Measured,
    pub(crate) http: Measured,
    pub(crate) sse: Measured,
    pub(crate) wrong: u64,
    pub(crate) complaints: Vec<String>,
    /// How long was measured.
    pub(crate) lasted: Nanos,
}

impl Judge {
    /// For this many pools.
    pub(crate) fn new(pools: u64) -> anyhow::Result<Self> {
        let state = State {
            truth: Truth::default(),
            cache: Place::new("cache")?,
            http: Place::new("http")?,
            sse: Place::new("sse")?,
            others: (2..=pools)
                .map(|pool| Place::new(format!("cache of pool {pool}")))
                .collect::<anyhow::Result<_>>()?,
            complaints: Vec::new(),
            wrong: 0,
            began: None,
            traffic: Traffic::default(),
        };
        Ok(Self {
            shared: Arc::new(Mutex::new(state)),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears a mint or a pool.
    pub(crate) fn hear(&self) -> Hear {
        self.hear_if(|_| true)
    }

    /// Hears another pool, the first of them being 0.
    pub(crate) fn hear_other(&self, index: usize) -> Hear {
        let judge = self.clone();
        Arc::new(move |record| {
            if let Some(shown) = shown(&record)
                && let Some(place) = judge.lock().others.get_mut(index)
            {
                place.shows(shown);
            }
        })
    }

    /// Hears those of a pool's snapshots that answer a request.
    pub(crate) fn hear_answers(&self) -> Hear {
        self.hear_if(|record| !matches!(record, Record::Shows { answers: false, .. }))
    }

    /// Hears a mint, and not what a pool's cache shows.
    pub(crate) fn hear_mint(&self) -> Hear {
        self.hear_if(|record| !matches!(record, Record::Shows { .. }))
    }

    fn hear_if(&self, counts: fn(&Record) -> bool) -> Hear {
        let judge = self.clone();
        Arc::new(move |record| {
            if counts(&record) {
                judge.lock().hear(record);
            }
        })
    }

    /// The measuring begins.
    pub(crate) fn begin(&self) {
        let at = clock::now();
        let mut state = self.lock();
        state.began = Some(at);
        state.parts().1.for_each(|place| place.begin(at));
    }

    /// Judges what is long enough ago. To be called several times a second.
    pub(crate) fn judge(&self) {
        let until = clock::now().saturating_sub(LAG);
        let state = &mut *self.lock();
        let (truth, places) = state.parts();
        places.for_each(|place| place.judge(truth, until));
        let versions = state.caches().chain([&state.sse]).filter_map(Place::version);
        if let Some(oldest) = versions.min() {
            state.truth.forget_before(oldest.saturating_sub(KEPT));
        }
    }

    /// Ends the measuring at `until`, which is long enough ago, and goes on comparing.
    pub(crate) fn finish(&self, until: Nanos) {
        let state = &mut *self.lock();
        let (truth, places) = state.parts();
        places.for_each(|place| place.finish(truth, until));
    }

    /// What was measured between the beginning and `until`, and found wrong until now.
    pub(crate) fn verdict(&self, until: Nanos) -> anyhow::Result<Verdict> {
        let state = self.lock();
        let mut cache = state.cache.measured.clone();
        for other in &state.others {
            cache.merge(&other.measured)?;
        }
        let places = [&cache, &state.http.measured, &state.sse.measured];
        let told = places.iter().flat_map(|place| place.complaints.iter().cloned());
        Ok(Verdict {
            http: state.http.measured.clone(),
            sse: state.sse.measured.clone(),
            wrong: state.wrong + places.iter().map(|place| place.wrong).sum::<u64>(),
            complaints: state.complaints.iter().cloned().chain(told).collect(),
            lasted: state.began.map_or(0, |began| until.saturating_sub(began)),
            cache,
        })
    }
}

impl State {
    /// Something is wrong with the mint's figures.
    pub(crate) fn complain(&mut self, complaint: String) {
        self.wrong += 1;
        if self.complaints.len() < 5 {
            self.complaints.push(complaint);
        }
    }

    /// The caches of all pools, the first one's first.
    pub(crate) fn caches(&self) -> impl Iterator<Item = &Place> {
        [&self.cache].into_iter().chain(&self.others)
    }

    /// All places, and the truth that they are judged by.
    fn parts(&mut self) -> (&Truth, impl Iterator<Item = &mut Place>) {
        let first = [&mut self.cache, &mut self.http, &mut self.sse];
        (&self.truth, first.into_iter().chain(&mut self.others))
    }

    fn hear(&mut self, record: Record) {
        let heard = match record {
            Record::Ready => Ok(()),
            Record::Found { version, totals } => self.truth.found(version, Digest::of(&totals)),
            Record::Committed { version, at, totals } => self.truth.committed(version, at, Digest::of(&totals)),
            Record::Shows { at, totals, .. } => {
                self.traffic.shown += 1;
                match shown(&record) {
                    Some(shown) => self.cache.shows(shown),
                    None => self.cache.shows_figures(at, totals),
                }
                Ok(())
            }
            Record::Traffic { messages, bytes } => {
                self.traffic.messages += messages;
                self.traffic.bytes += bytes;
                Ok(())
            }
        };
        if let Err(complaint) = heard {
            self.complain(complaint);
        }
    }
}

/// What a record says is shown, if it says of which version that is.
fn shown(record: &Record) -> Option<Shown> {
    match *record {
        Record::Shows {
            at,
            taken,
            version: Some(version),
            totals,
            ..
        } => Some(Shown {
            at,
            taken,
            version,
            totals,
        }),
        _ => None,
    }
}
