//! The seeds that `docs/vectors.json` gives are there, as they are today; and every seed is replayed.

use serde_json::Value;
use sv2_transport::Frame;

use super::*;

/// Set, the files are written instead of compared.
const UPDATE: &str = "UPDATE_SEEDS";

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../../docs/vectors.json")).unwrap()
}

fn bytes_of(vector: &Value) -> Vec<u8> {
    hex::decode(vector["frame"].as_str().unwrap()).unwrap()
}

/// Which decoder reads this vector.
fn decoder_of(vector: &Value, frame: &Frame) -> u8 {
    match (frame.extension_type, frame.msg_type) {
        (_, 0x83) => 0,
        (_, 0x84) => 1,
        (_, 0x80) => 2,
        (_, 0x81) => 3,
        (_, 0x82) if vector["legacy"] == true => 4,
        (_, 0x82) => 5,
        (1, msg_type) => 6 + msg_type,
        (_, 0x85) => 9,
        (_, 0x86) => 10,
        (_, 0xC0) => 11,
        (0, msg_type @ 0..=2) => 13 + msg_type,
        _ => 12,
    }
}

/// Every vector for its decoder, and whole.
fn decoder_seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for vector in vectors() {
        let (name, bytes) = (vector["name"].as_str().unwrap(), bytes_of(&vector));
        let frame = Frame::from_bytes(&bytes).unwrap();
        let selected = [&[decoder_of(&vector, &frame)], frame.payload.as_slice()].concat();
        seeds.push((format!("vector-{name}"), selected));
        if name == "quote-request" {
            seeds.push((format!("vector-{name}-whole"), [&[12], bytes.as_slice()].concat()));
        }
    }
    seeds
}

/// A conversation of all that goes in this direction, after moves of the target's own, one that the other end breaks off,
/// and raw bytes.
fn end_seeds(direction: &str, manners: [u8; 2], own: &[u8], broken_off: &[u8]) -> Vec<(String, Vec<u8>)> {
    let said: Vec<Vec<u8>> = vectors()
        .iter()
        .filter(|vector| vector["direction"] == direction)
        .map(|vector| [&[0xFF], bytes_of(vector).as_slice()].concat())
        .collect();
    let conversation = said.concat();
    let raw: Vec<u8> = (0..=255).cycle().skip(7).take(300).collect();
    vec![
        ("vectors".to_owned(), [&manners[..1], own, &conversation].concat()),
        (
            "vectors-otherwise".to_owned(),
            [&manners[1..], &conversation, own, &conversation].concat(),
        ),
        ("broken-off".to_owned(), broken_off.to_vec()),
        ("without-setup".to_owned(), [&[4], conversation.as_slice()].concat()),
        ("raw-handshake".to_owned(), [&[2], raw.as_slice()].concat()),
        ("raw-ciphertext".to_owned(), [&[3], raw.as_slice()].concat()),
    ]
}

fn seeds() -> Vec<(PathBuf, Vec<u8>)> {
    // Everything is granted, the ledger changes, wallets mint, statistics are asked for, and time passes.
    let mint_moves = [3, 7, 1, 0, 0, 1, 1, 0, 2, 9, 4, 1, 0, 60, 4, 0, 4, 3, 1, 0];
    // Everything is asked for and proven; a snapshot, an answer, requests, redeemed quotes, an older snapshot, time.
    let pool_moves = [1, 7, 2, 0, 4, 9, 5, 1, 6, 33, 6, 200, 7, 0, 9, 3, 0, 40, 4, 8, 4, 70];
    // The mint stops while it works; the pool lists another mint than the one that works.
    let broken_off = (
        [0, 3, 7, 1, 0, 0, 1, 1, 0, 5, 0, 1, 0],
        [0, 1, 7, 3, 0, 4, 9, 6, 33, 8, 1, 4, 10],
    );
    let targets = [
        ("decoders", decoder_seeds()),
        (
            "mint_end",
            end_seeds("pool to mint", [0, 8], &mint_moves, &broken_off.0),
        ),
        (
            "pool_end",
            end_seeds("mint to pool", [8, 16], &pool_moves, &broken_off.1),
        ),
    ];
    let files = targets.into_iter().flat_map(|(target, seeds)| {
        let directory = seeds_of(target);
        seeds
            .into_iter()
            .map(move |(name, bytes)| (directory.join(name), bytes))
    });
    files.collect()
}

#[test]
fn the_seeds_are_the_vectors_of_today() {
    for (file, bytes) in seeds() {
        if std::env::var_os(UPDATE).is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, bytes).unwrap();
        } else {
            let found = std::fs::read(&file).ok();
            assert_eq!(found, Some(bytes), "{}: run this test with {UPDATE}=1", file.display());
        }
    }
}

#[test]
fn no_seed_breaks_a_decoder() {
    replay("decoders", crate::decoders);
}

#[test]
fn no_seed_breaks_the_mints_end() {
    replay("mint_end", crate::mint_end);
}

#[test]
fn no_seed_breaks_the_pools_end() {
    replay("pool_end", crate::pool_end);
}
