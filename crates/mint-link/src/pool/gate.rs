//! Negotiation and admission at the pool's end, without a connection and without a clock.
//!
//! A session starts before the gate. What the mint negotiates and proves opens it, or its deadlines close it; nothing of
//! the session counts before. It goes on to judge what comes late: a legacy mint that negotiates after all, a list of
//! mints that changes.

use std::time::Duration;

use tokio::time::Instant;

use super::{Admission, PoolTimers};
use crate::{
    error::{LinkError, Step},
    extensions::{ExtensionIds, ExtensionMessage, Extensions},
    keys::MintPublicKey,
    proof::MintProof,
};
use sv2_transport::Transcript;

pub(crate) struct Gate {
    ids: ExtensionIds,
    transcript: Transcript,
    /// When SetupConnection.Success went out.
    opened: Instant,
    negotiation: Duration,
    proof: Duration,
    /// What is on, and since when; `None` as long as the mint is a legacy one.
    negotiated: Option<(Extensions, Instant)>,
    proven: Option<MintPublicKey>,
}

/// What to do with the session.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing yet; judge again at this time, or when something comes.
    Wait(Instant),
    /// Let it work.
    Ready,
    /// End it.
    Refuse(LinkError),
}

impl Gate {
    pub(crate) fn new(ids: ExtensionIds, transcript: Transcript, timers: &PoolTimers, now: Instant) -> Self {
        Self {
            ids,
            transcript,
            opened: now,
            negotiation: timers.negotiation,
            proof: timers.proof,
            negotiated: None,
            proven: None,
        }
    }

    /// What is on.
    pub(crate) fn extensions(&self) -> Extensions {
        self.negotiated.map(|(extensions, _)| extensions).unwrap_or_default()
    }

    /// Whether the mint has negotiated at all.
    pub(crate) fn negotiates(&self) -> bool {
        self.negotiated.is_some()
    }

    pub(crate) fn proven(&self) -> Option<MintPublicKey> {
        self.proven
    }

    /// Answers a message of extension 0x0001; `None` if it is not for a pool.
    pub(crate) fn on_message(
        &mut self,
        message: ExtensionMessage,
        admission: &Admission,
        now: Instant,
    ) -> Option<ExtensionMessage> {
        let ExtensionMessage::Request { request_id, requested } = message else {
            return None;
        };
        let granted = self.ids.among(&requested);
        let required = admission.demands_proof() && !granted.proof && !self.extensions().proof;
        if required || !granted.any() {
            let ours = self.ids.all();
            return Some(ExtensionMessage::Error {
                request_id,
                unsupported: requested.into_iter().filter(|id| !ours.contains(id)).collect(),
                required: if required { vec![self.ids.proof] } else { Vec::new() },
            });
        }
        // Asked again, it adds: what is on stays on.
        let (before, since) = self.negotiated.unwrap_or((Extensions::default(), now));
        let since = if granted.proof && !before.proof { now } else { since };
        self.negotiated = Some((before.or(granted), since));
        Some(ExtensionMessage::Success {
            request_id,
            supported: self.ids.list(granted),
        })
    }

    /// Judges a MintProof. `Ok(false)`: it was not asked for, or came before.
    pub(crate) fn on_proof(&mut self, payload: Vec<u8>, admission: &Admission) -> Result<bool, LinkError> {
        if !self.extensions().proof || self.proven.is_some() {
            return Ok(false);
        }
        let key = MintProof::decode(payload)
            .and_then(|proof| proof.verify(&self.transcript))
            .map_err(LinkError::BadProof)?;
        admission.judge(key)?;
        self.proven = Some(key);
        Ok(true)
    }

    /// Judges a session that waits before the gate.
    pub(crate) fn verdict(&self, admission: &Admission, now: Instant) -> Verdict {
        let admitted = match self.admitted(admission) {
            Ok(()) => Verdict::Ready,
            Err(error) => Verdict::Refuse(error),
        };
        let (until, step) = match (self.proven, self.negotiated) {
            (Some(_), _) => return admitted,
            (None, Some((extensions, since))) if extensions.proof => (since + self.proof, Step::Proof),
            (None, Some(_)) if matches!(admitted, Verdict::Ready) => return admitted,
            // It may still negotiate.
            (None, _) => (self.opened + self.negotiation, Step::Negotiation),
        };
        match admitted {
            _ if now < until => Verdict::Wait(until),
            // It promised a proof and brought none.
            Verdict::Refuse(_) if step == Step::Proof => Verdict::Refuse(LinkError::Deadline {
                step,
                after: self.proof,
            }),
            verdict => verdict,
        }
    }

    /// Whether the rule lets this mint work, as far as it is known by now.
    pub(crate) fn admitted(&self, admission: &Admission) -> Result<(), LinkError> {
        match self.proven {
            Some(key) => admission.judge(key),
            None => admission.judge_unproven(self.negotiates()),
        }
    }
}

#[cfg(test)]
mod tests;
