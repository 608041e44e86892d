use binary_sv2::Seq0255Owned;

use super::*;
use crate::templates::config::Source;

fn template(id: u64, future: bool) -> NewTemplateOwned {
    NewTemplateOwned {
        template_id: id,
        future_template: future,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![3, 1, 2, 3].try_into().unwrap(),
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 312_500_000,
        coinbase_tx_outputs_count: 0,
        coinbase_tx_outputs: vec![].try_into().unwrap(),
        coinbase_tx_locktime: 7,
        merkle_path: Seq0255Owned::new(vec![]).unwrap(),
    }
}

fn paying(id: u64, future: bool, value: u64) -> NewTemplateOwned {
    NewTemplateOwned {
        coinbase_tx_value_remaining: value,
        ..template(id, future)
    }
}

fn tip(template_id: u64, prev_hash: u8) -> SetNewPrevHashOwned {
    SetNewPrevHashOwned {
        template_id,
        prev_hash: [prev_hash; 32].into(),
        header_timestamp: 1_700_000_000,
        n_bits: 0x1b00_ffff,
        target: [0; 32].into(),
    }
}

fn solution(template_id: u64) -> SubmitSolutionOwned {
    SubmitSolutionOwned {
        template_id,
        version: 0,
        header_timestamp: 0,
        header_nonce: 0,
        coinbase_tx: vec![1].try_into().unwrap(),
    }
}

fn board() -> Board {
    let mut board = Board::new(Arc::new(Shared::new(Source::Embedded)));
    board.connected();
    board
}

impl Board {
    fn now(&self) -> Arc<Work> {
        self.shared.work.borrow().clone().expect("there is work")
    }
}

#[tokio::test]
async fn a_future_template_is_mined_once_its_tip_has_come() {
    let mut board = board();
    board.template(template(70, true)).unwrap();
    assert!(board.shared.work.borrow().is_none(), "no tip yet");
    board.tip(tip(70, 1)).unwrap();
    let work = board.now();
    assert_eq!(work.current.template_id, 1);
    assert_eq!(work.tip.template_id, 1);
    assert!(work.future.is_none());

    board.template(paying(71, false, 1)).unwrap();
    let work = board.now();
    assert_eq!((work.current.template_id, work.tip.template_id), (2, 1));

    board.template(template(72, true)).unwrap();
    let joiner = board.now();
    assert_eq!(joiner.current.template_id, 2, "a joiner gets the last current one");
    assert_eq!(joiner.future.as_ref().unwrap().template_id, 3);
    let (opening, opening_tip) = joiner.opening();
    assert!(opening.future_template);
    assert_eq!((opening.template_id, opening_tip.template_id), (2, 2));
    assert_eq!(opening_tip.prev_hash, work.tip.prev_hash);

    board.tip(tip(72, 2)).unwrap();
    let work = board.now();
    assert_eq!((work.current.template_id, work.tip.template_id), (3, 3));
    assert_eq!(work.tip.prev_hash.to_array(), [2; 32]);
}

#[tokio::test]
async fn a_solution_goes_back_under_the_sources_number_until_the_tip_moves_on() {
    let mut board = board();
    board.template(template(70, true)).unwrap();
    board.tip(tip(70, 1)).unwrap();
    board.template(paying(71, false, 1)).unwrap();
    assert_eq!(board.resolve(solution(1)).unwrap().template_id, 70);
    assert_eq!(board.resolve(solution(2)).unwrap().template_id, 71);
    assert_eq!(
        board.resolve(solution(71)),
        Err(Stale),
        "the source's number is none of ours"
    );
    board.template(template(72, true)).unwrap();
    assert_eq!(board.resolve(solution(3)), Err(Stale), "not to be mined yet");
    board.tip(tip(72, 2)).unwrap();
    assert_eq!(board.resolve(solution(2)), Err(Stale));
    assert_eq!(board.resolve(solution(3)).unwrap().template_id, 72);
}

#[tokio::test]
async fn a_reconnect_within_a_tip_disturbs_no_miner() {
    let mut board = board();
    board.template(template(70, true)).unwrap();
    board.tip(tip(70, 1)).unwrap();
    board.connected();
    assert_eq!(board.now().current.template_id, 1, "served on meanwhile");

    // The same again, from a source that has begun to count anew.
    board.template(template(1, true)).unwrap();
    assert_eq!(board.now().current.template_id, 1);
    board.tip(tip(1, 1)).unwrap();
    let work = board.now();
    assert_eq!(work.current.template_id, 1, "the same job goes on");
    assert!(work.future.is_none());
    assert_eq!(board.resolve(solution(1)).unwrap().template_id, 1);

    // Another template for the same tip is news, and no new tip.
    board.connected();
    board.template(paying(1, true, 9)).unwrap();
    board.tip(tip(1, 1)).unwrap();
    let work = board.now();
    assert_eq!((work.current.template_id, work.tip.template_id), (3, 1));
    assert!(!work.current.future_template);
    assert_eq!(board.resolve(solution(3)).unwrap().template_id, 1);
    assert_eq!(board.shared.status().tips, 1);
    assert_eq!(board.shared.status().reconnects, 2);
}

#[tokio::test]
async fn what_no_source_may_say_is_refused_and_changes_nothing() {
    let mut board = board();
    assert!(matches!(board.template(template(1, false)), Err(Violation::NoTip)));
    assert!(matches!(board.tip(tip(1, 1)), Err(Violation::UnknownTemplate(1))));
    board.template(template(1, true)).unwrap();
    let no_bits = SetNewPrevHashOwned { n_bits: 0, ..tip(1, 1) };
    assert!(matches!(board.tip(no_bits), Err(Violation::Bits(0))));
    board.tip(tip(1, 1)).unwrap();
    assert!(matches!(board.tip(tip(1, 2)), Err(Violation::UnknownTemplate(1))));

    let outputs = |count, bytes: Vec<u8>| NewTemplateOwned {
        coinbase_tx_outputs_count: count,
        coinbase_tx_outputs: bytes.try_into().unwrap(),
        ..template(2, false)
    };
    for bad in [
        outputs(1, vec![]),
        outputs(0, vec![0; 9]),
        outputs(u32::MAX, vec![0; 9]),
        outputs(3000, vec![0; 27_000]),
        paying(2, false, Amount::MAX_MONEY.to_sat() + 1),
        NewTemplateOwned {
            coinbase_prefix: vec![0; 9].try_into().unwrap(),
            ..template(2, false)
        },
    ] {
        let refused = board.template(bad).unwrap_err();
        assert!(!matches!(refused, Violation::NoTip), "{refused}");
    }
    assert_eq!(board.now().current.template_id, 1);
    board.template(outputs(1, vec![0; 9])).unwrap();

    // After a reconnect the tip must be told first.
    board.connected();
    assert!(matches!(board.template(template(3, false)), Err(Violation::NoTip)));
}

#[tokio::test]
async fn what_is_remembered_of_a_tip_is_bounded() {
    let mut board = board();
    board.template(template(1, true)).unwrap();
    board.tip(tip(1, 1)).unwrap();
    for id in 2..2000 {
        board.template(paying(id, false, id)).unwrap();
    }
    assert_eq!(board.known.len(), KNOWN);
    assert!(board.resolve(solution(1999)).is_ok());
    assert_eq!(board.resolve(solution(1)), Err(Stale));
}
