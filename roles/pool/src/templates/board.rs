//! Turns what a source says into [`Work`], and nothing that channels would stumble over gets through.
//!
//! Pure but for the watch it publishes to. It gives every template an id of the pool's own, since a source that was
//! restarted may use its numbers again: a block found on an older template must not be taken for one on a newer.

use std::collections::VecDeque;
use std::sync::Arc;

use bitcoin::consensus::Decodable;
use bitcoin::{Amount, CompactTarget, Target, TxOut};
use template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned, SubmitSolutionOwned};
use tokio::time::Instant;

use super::status::Shared;
use super::work::Work;

/// Templates remembered for one tip; the oldest is forgotten first. Bitcoin Core gives one every half minute or so.
const KNOWN: usize = 256;
/// Bytes of the coinbase field that a template may fill (SV2 specification, section 7.2).
const MAX_PREFIX: usize = 8;
/// Bytes of a template's own coinbase outputs: a job with them must fit into a frame. Bitcoin Core's take 46.
const MAX_OUTPUTS: usize = 16 * 1024;

/// Something that a source must not say. Its session is over: what else it says is worth no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Violation {
    #[error("a message whose fields don't fit: {0:?}")]
    Encoding(binary_sv2::Error),
    #[error("a template whose coinbase prefix has {0} bytes, allowed are {MAX_PREFIX}")]
    Prefix(usize),
    #[error("a template whose coinbase outputs are not {0} whole outputs within {MAX_OUTPUTS} bytes")]
    Outputs(u32),
    #[error("a template that pays {0} sat, more than there will ever be")]
    Value(u64),
    #[error("a template for the current tip before there was a tip")]
    NoTip,
    #[error("a tip that makes template {0} current, which is not a future template")]
    UnknownTemplate(u64),
    #[error("a tip whose nBits {0:#010x} is no target")]
    Bits(u32),
}

impl From<binary_sv2::Error> for Violation {
    fn from(error: binary_sv2::Error) -> Self {
        Self::Encoding(error)
    }
}

/// The chain has moved on since the solution's job was given out, or the solution names a template that never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its template is not one of the current tip")]
pub(super) struct Stale;

pub(super) struct Board {
    shared: Arc<Shared>,
    /// Counts the source's connections: its ids are worth nothing beyond one.
    session: u64,
    last_id: u64,
    known: VecDeque<Known>,
    /// The tip that this session has told.
    synced: bool,
}

/// A template that can be current, or become so.
struct Known {
    ours: u64,
    theirs: u64,
    session: u64,
    template: Arc<NewTemplateOwned>,
    /// Not yet minable.
    future: bool,
}

impl Board {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            session: 0,
            last_id: 0,
            known: VecDeque::new(),
            synced: false,
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The source is there, or there again. What it said before is served on until it says better.
    pub(super) fn connected(&mut self) {
        self.session += 1;
        self.synced = false;
        self.known.retain(|known| !known.future);
        self.shared.connected();
    }

    /// Whether the source has told its tip since it [`connected`](Self::connected): what is stale can be told then.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// Takes a NewTemplate.
    pub(super) fn template(&mut self, template: NewTemplateOwned) -> Result<(), Violation> {
        check(&template)?;
        let future = template.future_template;
        if !future && !self.synced {
            return Err(Violation::NoTip);
        }
        self.shared.gave_template();
        let template = self.know(template);
        let work = self.shared.work.borrow().clone();
        if let Some(work) = work {
            self.publish(match future {
                true => Work {
                    future: Some(template),
                    ..Work::clone(&work)
                },
                false => Work {
                    current: template,
                    since: Instant::now(),
                    ..Work::clone(&work)
                },
            });
        }
        Ok(())
    }

    /// Takes a SetNewPrevHash.
    pub(super) fn tip(&mut self, tip: SetNewPrevHashOwned) -> Result<(), Violation> {
        if Target::from_compact(CompactTarget::from_consensus(tip.n_bits)) == Target::ZERO {
            return Err(Violation::Bits(tip.n_bits));
        }
        let session = self.session;
        let named = |known: &Known| known.future && known.session == session && known.theirs == tip.template_id;
        let at = self.known.iter().rposition(named);
        let mut chosen = at
            .and_then(|at| self.known.remove(at))
            .ok_or(Violation::UnknownTemplate(tip.template_id))?;
        chosen.future = false;
        self.known.retain(|known| !known.future);
        self.synced = true;
        let before = self.shared.work.borrow().clone();
        match before {
            Some(work) if work.tip.prev_hash == tip.prev_hash && work.tip.n_bits == tip.n_bits => {
                self.same_tip(&work, chosen);
            }
            _ => {
                self.shared.moved_on();
                self.known.clear();
                self.publish(Work {
                    tip: SetNewPrevHashOwned {
                        template_id: chosen.ours,
                        ..tip
                    },
                    current: Arc::clone(&chosen.template),
                    future: None,
                    since: Instant::now(),
                });
                self.known.push_back(chosen);
            }
        }
        Ok(())
    }

    /// The source has told once more the tip that is current anyway, as it does after a reconnect. Miners go on with what
    /// they have: their shares would be stale for no reason.
    fn same_tip(&mut self, work: &Work, mut chosen: Known) {
        let mut current = Arc::clone(&work.current);
        let mut known = self.known.iter_mut();
        match known.find(|known| known.ours == current.template_id) {
            Some(known) if says_the_same(&current, &chosen.template) => {
                known.theirs = chosen.theirs;
                known.session = chosen.session;
            }
            _ => {
                current = Arc::new(NewTemplateOwned {
                    future_template: false,
                    ..NewTemplateOwned::clone(&chosen.template)
                });
                chosen.template = Arc::clone(&current);
                self.known.push_back(chosen);
            }
        }
        self.publish(Work {
            current,
            future: None,
            since: Instant::now(),
            ..work.clone()
        });
    }

    /// The solution as its source will understand it. A solution from before a reconnect, on a template of the same tip
    /// that the source has not told again, keeps the source's number of then: it may still know it.
    pub(super) fn resolve(&self, solution: SubmitSolutionOwned) -> Result<SubmitSolutionOwned, Stale> {
        let named = |known: &&Known| !known.future && known.ours == solution.template_id;
        let known = self.known.iter().find(named).ok_or(Stale)?;
        Ok(SubmitSolutionOwned {
            template_id: known.theirs,
            ..solution
        })
    }

    /// Gives a template its id and remembers it.
    fn know(&mut self, mut template: NewTemplateOwned) -> Arc<NewTemplateOwned> {
        self.last_id += 1;
        let theirs = std::mem::replace(&mut template.template_id, self.last_id);
        let template = Arc::new(template);
        if self.known.len() >= KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(Known {
            ours: self.last_id,
            theirs,
            session: self.session,
            template: Arc::clone(&template),
            future: template.future_template,
        });
        template
    }

    fn publish(&self, work: Work) {
        self.shared.work.send_replace(Some(Arc::new(work)));
    }
}

/// Whether a channel would make the same job of both.
fn says_the_same(one: &NewTemplateOwned, other: &NewTemplateOwned) -> bool {
    let other = NewTemplateOwned {
        template_id: one.template_id,
        future_template: one.future_template,
        ..other.clone()
    };
    *one == other
}

fn check(template: &NewTemplateOwned) -> Result<(), Violation> {
    let prefix = template.coinbase_prefix.len();
    if prefix > MAX_PREFIX {
        return Err(Violation::Prefix(prefix));
    }
    let value = template.coinbase_tx_value_remaining;
    if value > Amount::MAX_MONEY.to_sat() {
        return Err(Violation::Value(value));
    }
    let count = template.coinbase_tx_outputs_count;
    let mut rest = template.coinbase_tx_outputs.as_bytes();
    let whole =
        rest.len() <= MAX_OUTPUTS && (0..count).all(|_| TxOut::consensus_decode(&mut rest).is_ok()) && rest.is_empty();
    whole.then_some(()).ok_or(Violation::Outputs(count))
}

#[cfg(test)]
mod tests;
