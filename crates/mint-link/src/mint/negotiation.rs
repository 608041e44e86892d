//! The mint's side of extension negotiation, without a connection and without a clock.
//!
//! It asks once, right after the setup. A pool that refuses is asked once more for what it did not refuse; one that
//! stays silent, answers something else or closes is a legacy peer, with whom quotes work. A late answer still counts.

use crate::extensions::{ExtensionIds, ExtensionMessage, Extensions};

/// What a session has negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiated {
    /// The pool has not answered yet.
    Pending,
    /// These extensions are on.
    On(Extensions),
    /// None: quotes only.
    Legacy(LegacyReason),
}

/// Why a session has no extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyReason {
    /// The pool did not answer within the deadline. It still may.
    NoAnswer,
    /// The pool answered as if it had been a SetupConnection.
    Misunderstood,
    /// The pool supports none of them.
    Refused,
    /// The pool closed the last connection when it was asked, so it was not asked again.
    NotAsked,
}

#[derive(Debug)]
pub(crate) struct Negotiation {
    ids: ExtensionIds,
    asked: Extensions,
    /// The id of the request that is out; 0 if none was ever sent.
    request_id: u16,
    state: Negotiated,
}

/// What an answer leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    /// Ask again, for less.
    Ask(ExtensionMessage),
    /// These extensions are on from here.
    TurnOn(Extensions),
}

impl Negotiation {
    /// With the request to send first, if the pool is to be asked.
    pub(crate) fn new(ids: ExtensionIds, ask: bool) -> (Self, Option<ExtensionMessage>) {
        let mut negotiation = Self {
            ids,
            asked: Extensions::default(),
            request_id: 0,
            state: Negotiated::Legacy(LegacyReason::NotAsked),
        };
        let request = ask.then(|| negotiation.ask(Extensions::ALL));
        (negotiation, request)
    }

    pub(crate) fn state(&self) -> Negotiated {
        self.state
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.state == Negotiated::Pending
    }

    /// The deadline has passed.
    pub(crate) fn on_deadline(&mut self) {
        self.legacy(LegacyReason::NoAnswer);
    }

    /// The pool took the request for a second SetupConnection.
    pub(crate) fn on_setup_answer(&mut self) {
        self.legacy(LegacyReason::Misunderstood);
    }

    /// A message of extension 0x0001. Answers to other requests, and a second answer, change nothing.
    pub(crate) fn on_message(&mut self, message: ExtensionMessage) -> Next {
        if self.request_id == 0 || matches!(self.state, Negotiated::On(_)) {
            return Next::Nothing;
        }
        match message {
            ExtensionMessage::Success { request_id, supported } if request_id == self.request_id => {
                let on = self.ids.among(&supported).and(self.asked);
                self.state = if on.any() {
                    Negotiated::On(on)
                } else {
                    Negotiated::Legacy(LegacyReason::Refused)
                };
                if on.any() { Next::TurnOn(on) } else { Next::Nothing }
            }
            ExtensionMessage::Error {
                request_id,
                unsupported,
                required,
            } if request_id == self.request_id => self.on_error(&unsupported, &required),
            _ => Next::Nothing,
        }
    }

    fn on_error(&mut self, unsupported: &[u16], required: &[u16]) -> Next {
        let can_do_all_required = required.iter().all(|id| self.ids.all().contains(id));
        let less = self
            .asked
            .without(self.ids.among(unsupported))
            .or(self.ids.among(required));
        if self.request_id == 1 && can_do_all_required && less.any() && less != self.asked {
            return Next::Ask(self.ask(less));
        }
        self.state = Negotiated::Legacy(LegacyReason::Refused);
        Next::Nothing
    }

    fn ask(&mut self, extensions: Extensions) -> ExtensionMessage {
        self.asked = extensions;
        self.request_id += 1;
        self.state = Negotiated::Pending;
        ExtensionMessage::Request {
            request_id: self.request_id,
            requested: self.ids.list(extensions),
        }
    }

    fn legacy(&mut self, reason: LegacyReason) {
        if self.is_pending() {
            self.state = Negotiated::Legacy(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking() -> Negotiation {
        let (negotiation, request) = Negotiation::new(ExtensionIds::default(), true);
        let requested = vec![0x4D53, 0x4D50, 0x4D51];
        assert_eq!(
            request,
            Some(ExtensionMessage::Request {
                request_id: 1,
                requested
            })
        );
        assert!(negotiation.is_pending());
        negotiation
    }

    fn success(request_id: u16, supported: &[u16]) -> ExtensionMessage {
        let supported = supported.to_vec();
        ExtensionMessage::Success { request_id, supported }
    }

    fn error(request_id: u16, unsupported: &[u16], required: &[u16]) -> ExtensionMessage {
        ExtensionMessage::Error {
            request_id,
            unsupported: unsupported.to_vec(),
            required: required.to_vec(),
        }
    }

    const STATS: Extensions = Extensions {
        stats: true,
        proof: false,
        quotes: false,
    };

    #[test]
    fn a_success_turns_on_what_was_asked_and_nothing_else() {
        let mut all = asking();
        assert_eq!(
            all.on_message(success(1, &[0x4D51, 0x4D53, 0x4D50, 7])),
            Next::TurnOn(Extensions::ALL)
        );
        let mut some = asking();
        assert_eq!(some.on_message(success(1, &[0x4D53])), Next::TurnOn(STATS));
        assert_eq!(some.state(), Negotiated::On(STATS));
        // Repeated, or for more: too late.
        assert_eq!(some.on_message(success(1, &[0x4D53, 0x4D50])), Next::Nothing);
        assert_eq!(some.on_message(error(1, &[0x4D53], &[])), Next::Nothing);
        some.on_deadline();
        assert_eq!(some.state(), Negotiated::On(STATS));
        let mut none = asking();
        assert_eq!(none.on_message(success(1, &[])), Next::Nothing);
        assert_eq!(none.state(), Negotiated::Legacy(LegacyReason::Refused));
    }

    #[test]
    fn silence_and_misunderstanding_make_a_legacy_peer_that_a_late_success_upgrades() {
        let mut silent = asking();
        silent.on_deadline();
        assert_eq!(silent.state(), Negotiated::Legacy(LegacyReason::NoAnswer));
        assert_eq!(silent.on_message(success(2, &[0x4D53])), Next::Nothing);
        assert_eq!(silent.on_message(success(1, &[0x4D53])), Next::TurnOn(STATS));
        let mut confused = asking();
        confused.on_setup_answer();
        assert_eq!(confused.state(), Negotiated::Legacy(LegacyReason::Misunderstood));
        assert_eq!(confused.on_message(success(1, &[0x4D53])), Next::TurnOn(STATS));
        confused.on_setup_answer();
        assert_eq!(confused.state(), Negotiated::On(STATS));
    }

    #[test]
    fn an_error_is_followed_by_one_request_for_what_was_not_refused() {
        let mut negotiation = asking();
        let next = negotiation.on_message(error(1, &[0x4D51, 0x4D50], &[]));
        let requested = vec![0x4D53];
        assert_eq!(
            next,
            Next::Ask(ExtensionMessage::Request {
                request_id: 2,
                requested
            })
        );
        assert!(negotiation.is_pending());
        assert_eq!(negotiation.on_message(success(1, &[0x4D53])), Next::Nothing);
        assert_eq!(negotiation.on_message(error(2, &[], &[0x4D50])), Next::Nothing);
        assert_eq!(negotiation.state(), Negotiated::Legacy(LegacyReason::Refused));
        // All refused, nothing refused, or something required that is unknown here: no second request.
        for refusal in [
            error(1, &[0x4D53, 0x4D50, 0x4D51], &[]),
            error(1, &[], &[]),
            error(1, &[0x4D53], &[2]),
        ] {
            let mut negotiation = asking();
            assert_eq!(negotiation.on_message(refusal), Next::Nothing);
            assert_eq!(negotiation.state(), Negotiated::Legacy(LegacyReason::Refused));
        }
    }

    #[test]
    fn who_was_not_asked_has_no_say() {
        let (mut negotiation, request) = Negotiation::new(ExtensionIds::default(), false);
        assert_eq!(request, None);
        assert_eq!(negotiation.on_message(success(0, &[0x4D53])), Next::Nothing);
        assert_eq!(negotiation.on_message(error(0, &[], &[])), Next::Nothing);
        let request = ExtensionMessage::Request {
            request_id: 1,
            requested: vec![],
        };
        assert_eq!(asking().on_message(request), Next::Nothing);
        assert_eq!(negotiation.state(), Negotiated::Legacy(LegacyReason::NotAsked));
    }
}
