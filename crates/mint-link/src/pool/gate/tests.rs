use super::*;
use crate::MintKey;

const MS: Duration = Duration::from_millis(1);
const STATS: u16 = 0x4D53;
const PROOF: u16 = 0x4D50;
const QUOTES: u16 = 0x4D51;

struct Case {
    gate: Gate,
    start: Instant,
    key: MintKey,
    transcript: Transcript,
}

impl Case {
    fn new() -> Self {
        let (start, transcript) = (Instant::now(), Transcript::new(b"first", b"second"));
        Self {
            gate: Gate::new(ExtensionIds::default(), transcript, &PoolTimers::default(), start),
            start,
            key: MintKey::generate(),
            transcript,
        }
    }

    fn request(&mut self, requested: &[u16], admission: &Admission, at: Duration) -> ExtensionMessage {
        let request = ExtensionMessage::Request {
            request_id: 4,
            requested: requested.to_vec(),
        };
        self.gate.on_message(request, admission, self.start + at).unwrap()
    }

    fn prove(&mut self, admission: &Admission) -> Result<bool, LinkError> {
        let proof = MintProof::new(&self.key, &self.transcript);
        self.gate
            .on_proof(proof.to_frame(&ExtensionIds::default()).payload, admission)
    }

    fn verdict(&self, admission: &Admission, at: Duration) -> Verdict {
        self.gate.verdict(admission, self.start + at)
    }

    fn waits_until(&self, admission: &Admission, at: Duration, until: Duration) -> bool {
        matches!(self.verdict(admission, at), Verdict::Wait(t) if t == self.start + until)
    }

    fn is_ready(&self, admission: &Admission, at: Duration) -> bool {
        matches!(self.verdict(admission, at), Verdict::Ready)
    }
}

fn only(key: &MintKey) -> Admission {
    Admission {
        mint_public_keys: vec![key.public()],
        allow_legacy_mint: false,
    }
}

fn any() -> Admission {
    Admission::default()
}

fn legacy(mut admission: Admission) -> Admission {
    admission.allow_legacy_mint = true;
    admission
}

fn success(supported: &[u16]) -> ExtensionMessage {
    ExtensionMessage::Success {
        request_id: 4,
        supported: supported.to_vec(),
    }
}

#[test]
fn a_mint_that_proves_a_listed_key_is_ready_at_once() {
    let mut case = Case::new();
    let rule = only(&case.key);
    assert!(case.waits_until(&rule, MS, 2000 * MS));
    assert_eq!(
        case.request(&[STATS, PROOF, 7], &rule, 10 * MS),
        success(&[STATS, PROOF])
    );
    assert!(case.waits_until(&rule, 11 * MS, 10_010 * MS));
    assert!(case.prove(&rule).unwrap());
    assert_eq!(case.gate.proven(), Some(case.key.public()));
    assert!(case.is_ready(&rule, 12 * MS));
    assert!(!case.prove(&rule).unwrap(), "a second proof counts");
}

#[test]
fn a_promised_proof_that_does_not_come_ends_the_session() {
    let mut case = Case::new();
    let rule = only(&case.key);
    case.request(&[PROOF], &rule, 10 * MS);
    assert!(matches!(
        case.verdict(&rule, 10_010 * MS),
        Verdict::Refuse(LinkError::Deadline { step: Step::Proof, .. })
    ));
    // Where any mint will do, or an older one, it is let in without.
    for rule in [any(), legacy(only(&case.key))] {
        assert!(case.waits_until(&rule, 10_009 * MS, 10_010 * MS));
        assert!(case.is_ready(&rule, 10_010 * MS));
    }
}

#[test]
fn a_proof_fails_for_its_form_its_signature_or_its_key() {
    let mut case = Case::new();
    let rule = only(&case.key);
    let other = MintKey::generate();
    assert!(!case.prove(&rule).unwrap(), "not asked for");
    case.request(&[PROOF], &rule, MS);
    let cut = case.gate.on_proof(vec![0; 95], &rule);
    assert!(matches!(cut, Err(LinkError::BadProof(_))));
    let elsewhere = MintProof::new(&case.key, &Transcript::new(b"x", b"y")).to_frame(&ExtensionIds::default());
    assert!(matches!(
        case.gate.on_proof(elsewhere.payload, &rule),
        Err(LinkError::BadProof(_))
    ));
    assert!(matches!(case.prove(&only(&other)), Err(LinkError::NotListed(key)) if key == case.key.public()));
    assert_eq!(case.gate.proven(), None);
    // An empty list takes any key, but no false proof.
    assert!(case.prove(&any()).unwrap());
}

#[test]
fn a_legacy_mint_is_judged_when_its_time_is_over() {
    let case = Case::new();
    for rule in [any(), only(&case.key)] {
        assert!(case.waits_until(&rule, 1999 * MS, 2000 * MS));
        assert!(matches!(
            case.verdict(&rule, 2000 * MS),
            Verdict::Refuse(LinkError::LegacyRefused)
        ));
    }
    for rule in [legacy(any()), legacy(only(&case.key))] {
        assert!(case.waits_until(&rule, 1999 * MS, 2000 * MS));
        assert!(case.is_ready(&rule, 2000 * MS));
    }
}

#[test]
fn where_proof_is_demanded_a_request_without_it_is_answered_with_what_is_required() {
    let mut case = Case::new();
    let rule = only(&case.key);
    let error = ExtensionMessage::Error {
        request_id: 4,
        unsupported: vec![9],
        required: vec![PROOF],
    };
    assert_eq!(case.request(&[STATS, 9], &rule, MS), error);
    assert!(!case.gate.negotiates());
    assert!(case.waits_until(&rule, MS, 2000 * MS));
    // Asked properly, it goes on.
    assert_eq!(case.request(&[STATS, PROOF], &rule, 2 * MS), success(&[STATS, PROOF]));
    assert!(case.waits_until(&rule, 3 * MS, 10_002 * MS));
}

#[test]
fn without_demand_a_mint_that_negotiates_anything_is_ready_at_once() {
    for rule in [any(), legacy(only(&MintKey::generate()))] {
        let mut case = Case::new();
        assert_eq!(case.request(&[STATS], &rule, MS), success(&[STATS]));
        assert!(case.is_ready(&rule, MS));
        assert_eq!(case.gate.extensions(), ExtensionIds::default().among(&[STATS]));
    }
}

#[test]
fn a_request_for_nothing_that_is_known_is_an_error_and_a_later_one_adds() {
    let mut case = Case::new();
    let rule = any();
    let error = ExtensionMessage::Error {
        request_id: 4,
        unsupported: vec![2, 9],
        required: vec![],
    };
    assert_eq!(case.request(&[2, 9], &rule, MS), error);
    assert!(!case.gate.negotiates());
    case.request(&[STATS], &rule, MS);
    assert_eq!(case.request(&[QUOTES], &rule, 7 * MS), success(&[QUOTES]));
    assert_eq!(case.gate.extensions(), ExtensionIds::default().among(&[STATS, QUOTES]));
    case.request(&[PROOF], &rule, 9 * MS);
    assert_eq!(case.gate.extensions(), Extensions::ALL);
    assert!(case.waits_until(&rule, 9 * MS, 10_009 * MS));
    // Repeated, it does not buy time.
    case.request(&[PROOF], &rule, 4000 * MS);
    assert!(case.is_ready(&rule, 10_009 * MS));
    // Only a mint asks.
    assert_eq!(case.gate.on_message(success(&[STATS]), &rule, case.start), None);
}

#[test]
fn a_rule_that_changes_is_applied_to_those_within() {
    let mut case = Case::new();
    let other = MintKey::generate();
    case.request(&[PROOF], &only(&case.key), MS);
    case.prove(&only(&case.key)).unwrap();
    assert!(case.gate.admitted(&only(&case.key)).is_ok());
    assert!(case.gate.admitted(&any()).is_ok());
    assert!(matches!(
        case.gate.admitted(&only(&other)),
        Err(LinkError::NotListed(_))
    ));
    // One that has proven another key is not let in as a legacy mint.
    assert!(case.gate.admitted(&legacy(only(&other))).is_err());
    let mut unproven = Case::new();
    assert!(unproven.gate.admitted(&legacy(any())).is_ok());
    assert!(unproven.gate.admitted(&any()).is_err());
    unproven.request(&[STATS], &any(), MS);
    assert!(unproven.gate.admitted(&any()).is_ok());
    assert!(matches!(
        unproven.gate.admitted(&only(&other)),
        Err(LinkError::LegacyRefused)
    ));
}
