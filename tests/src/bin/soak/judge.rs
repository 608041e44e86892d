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
    pub(crate) cache: Place,
    pub(crate) http: Place,
    pub(crate) sse: Place,
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
    pub(crate) cache: Measured,
    pub(crate) http: Measured,
    pub(crate) sse: Measured,
    pub(crate) wrong: u64,
    pub(crate) complaints: Vec<String>,
    /// How long was measured.
    pub(crate) lasted: Nanos,
}

impl Judge {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let state = State {
            truth: Truth::default(),
            cache: Place::new("cache")?,
            http: Place::new("http")?,
            sse: Place::new("sse")?,
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
        state.places().into_iter().for_each(|place| place.begin(at));
    }

    /// Judges what is long enough ago. To be called several times a second.
    pub(crate) fn judge(&self) {
        let until = clock::now().saturating_sub(LAG);
        let state = &mut *self.lock();
        let State {
            truth,
            cache,
            http,
            sse,
            ..
        } = state;
        for place in [&mut *cache, http, &mut *sse] {
            place.judge(truth, until);
        }
        if let Some(oldest) = [cache.version(), sse.version()].into_iter().flatten().min() {
            truth.forget_before(oldest.saturating_sub(KEPT));
        }
    }

    /// Ends the measuring at `until`, which is long enough ago, and goes on comparing.
    pub(crate) fn finish(&self, until: Nanos) {
        let State {
            truth,
            cache,
            http,
            sse,
            ..
        } = &mut *self.lock();
        for place in [cache, http, sse] {
            place.finish(truth, until);
        }
    }

    /// What was measured between the beginning and `until`, and found wrong until now.
    pub(crate) fn verdict(&self, until: Nanos) -> Verdict {
        let state = self.lock();
        let places = [&state.cache.measured, &state.http.measured, &state.sse.measured];
        let told = places.iter().flat_map(|place| place.complaints.iter().cloned());
        Verdict {
            cache: state.cache.measured.clone(),
            http: state.http.measured.clone(),
            sse: state.sse.measured.clone(),
            wrong: state.wrong + places.iter().map(|place| place.wrong).sum::<u64>(),
            complaints: state.complaints.iter().cloned().chain(told).collect(),
            lasted: state.began.map_or(0, |began| until.saturating_sub(began)),
        }
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

    fn places(&mut self) -> [&mut Place; 3] {
        [&mut self.cache, &mut self.http, &mut self.sse]
    }

    fn hear(&mut self, record: Record) {
        let heard = match record {
            Record::Ready => Ok(()),
            Record::Found { version, totals } => self.truth.found(version, Digest::of(&totals)),
            Record::Committed { version, at, totals } => self.truth.committed(version, at, Digest::of(&totals)),
            Record::Shows {
                at,
                taken,
                version,
                totals,
                ..
            } => {
                self.traffic.shown += 1;
                match version {
                    Some(version) => self.cache.shows(Shown {
                        at,
                        taken,
                        version,
                        totals,
                    }),
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
