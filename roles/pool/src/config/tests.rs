//! The keys of the file, their bounds, and what is said of what is not allowed.

use std::path::Path;

use super::*;

const FILE: &str = include_str!("../../../../config/pool.toml");

fn load(text: &str) -> Result<PoolConfig, ConfigError> {
    let config: PoolConfig = service::parse(Path::new("pool.toml"), text)?;
    config.check()?;
    Ok(config)
}

fn complaint(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

#[test]
fn the_file_in_config_says_the_defaults() {
    assert_eq!(
        format!("{:?}", load(FILE).unwrap()),
        format!("{:?}", PoolConfig::default())
    );
    assert_eq!(
        format!("{:?}", load("").unwrap()),
        format!("{:?}", PoolConfig::default())
    );
}

#[test]
fn the_file_in_config_names_every_key() {
    // The unknown key's error lists those that are known.
    for section in [
        "",
        "[mint_link]",
        "[mining]",
        "[templates]",
        "[templates.embedded]",
        "[templates.sv2_tp]",
        "[templates.bitcoin_core]",
        "[quotes]",
        "[outbox]",
        "[dashboard]",
        "[refresh]",
    ] {
        let known = complaint(&format!("{section}\nx = 1"));
        let mut names = known.split('`').skip(1).step_by(2).peekable();
        assert!(names.peek().is_some(), "{known}");
        for name in names {
            let named = |line: &str| {
                let line = line.trim_start_matches(['#', ' ', '[']);
                let line = line.strip_prefix("mint_link.").unwrap_or(line);
                let line = line.strip_prefix("templates.").unwrap_or(line);
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', ']']))
            };
            assert!(FILE.lines().any(named), "{section} {name}");
        }
    }
}

#[test]
fn an_open_listener_without_a_list_of_mints_is_refused() {
    let refusal = complaint("[mint_link]\nlisten = \"0.0.0.0:34260\"");
    assert!(
        refusal.starts_with("mint_link.mint_public_keys = []: expected the keys of the mints"),
        "{refusal}"
    );
    let legacy = complaint("[mint_link]\nlisten = \"[::]:34260\"\nallow_legacy_mint = true");
    assert!(legacy.contains("mint_public_keys"), "{legacy}");
    let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    load(&format!(
        "[mint_link]\nlisten = \"0.0.0.0:34260\"\nmint_public_keys = [\"{key}\"]"
    ))
    .unwrap();
    load("[mint_link]\nlisten = \"[::1]:0\"").unwrap();
}

#[test]
fn bits_that_fit_no_u32_are_refused_with_the_range_of_the_key() {
    for (section, key, value, most) in [
        ("mining", "minimum_difficulty", "-1", 96),
        ("mining", "start_difficulty", "4294967296", 96),
        ("quotes", "minimum_difficulty", "-1", 255),
    ] {
        let error = complaint(&format!("[{section}]\n{key} = {value}"));
        let expected = format!("{section}.{key} = {value}: expected 0 to {most}");
        assert!(error.ends_with(&expected), "{error}");
    }
}

#[test]
fn values_out_of_bounds_are_refused_with_key_and_range() {
    for (section, key, value, allowed) in [
        ("mint_link", "max_connections", "0", "expected 1 to 1024"),
        ("mint_link", "step_timeout_ms", "60001", "expected 100 to 60000"),
        ("mint_link", "negotiation_timeout_ms", "0", "expected 100 to 60000"),
        ("mint_link", "answer_timeout_ms", "99", "expected 100 to 600000"),
        ("mint_link", "window", "0", "expected 1 to 10000"),
        (
            "mining",
            "pool_tag",
            "\"\"",
            "expected 1 to 20 printable ASCII characters",
        ),
        ("mining", "shares_per_minute", "0.05", "expected 0.1 to 60000"),
        ("mining", "minimum_difficulty", "97", "expected 0 to 96"),
        ("mining", "start_difficulty", "15", "expected 16 to 96"),
        ("mining", "max_connections", "0", "expected 1 to 100000"),
        ("mining", "max_channels", "0", "expected 1 to 1000000"),
        ("mining", "max_channels_per_connection", "0", "expected 1 to 1000000"),
        ("mining", "step_timeout_ms", "99", "expected 100 to 60000"),
        ("mining", "idle_timeout_ms", "999", "expected 1000 to 86400000"),
        (
            "templates.embedded",
            "block_interval_ms",
            "99",
            "expected 100 to 86400000",
        ),
        (
            "templates.embedded",
            "template_interval_ms",
            "0",
            "expected 100 to 86400000",
        ),
        ("templates.sv2_tp", "step_timeout_ms", "99", "expected 100 to 60000"),
        (
            "templates.sv2_tp",
            "silence_timeout_ms",
            "999",
            "expected 1000 to 86400000",
        ),
        ("templates.bitcoin_core", "version", "29", "expected 30 to 31"),
        (
            "templates.bitcoin_core",
            "socket",
            "\"/\"",
            "expected the path of a socket",
        ),
        (
            "templates.bitcoin_core",
            "fee_threshold_sat",
            "100000001",
            "expected 0 to 100000000",
        ),
        (
            "templates.bitcoin_core",
            "min_interval_ms",
            "999",
            "expected 1000 to 60000",
        ),
        ("quotes", "minimum_difficulty", "256", "expected 0 to 255"),
        ("quotes", "unit", "\"SAT\"", "expected \"HASH\""),
        ("outbox", "max_waiting", "0", "expected 1 to 100000000"),
        ("outbox", "keep_answered_days", "0", "expected 1 to 3650"),
        ("outbox", "max_answered", "0", "expected 1 to 1000000000"),
        ("dashboard", "max_streams", "1025", "expected 0 to 1024"),
        ("dashboard", "header_timeout_ms", "1", "expected 100 to 600000"),
    ] {
        let line = complaint(&format!("[{section}]\n{key} = {value}"));
        assert!(
            line.starts_with(&format!("{section}.{key} = {value}: {allowed}")),
            "{line}"
        );
    }
}

#[test]
fn a_template_provider_elsewhere_must_be_known_by_its_key() {
    let dialling = |address: &str, rest: &str| {
        load(&format!(
            "[mining]\nreward_address = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\n\
             [templates]\nsource = \"sv2-tp\"\n[templates.sv2_tp]\naddress = \"{address}\"\n{rest}"
        ))
    };
    for here in ["127.0.0.1:8442", "[::1]:8442", "localhost:8442"] {
        dialling(here, "").unwrap();
    }
    for elsewhere in ["10.0.0.7:8442", "node.example:8442", "127.0.0.1.example:8442"] {
        let refusal = dialling(elsewhere, "").unwrap_err().to_string();
        let begin = format!("templates.sv2_tp.address = \"{elsewhere}\": set templates.sv2_tp.authority_key");
        assert!(refusal.starts_with(&begin), "{refusal}");
        let key = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";
        dialling(elsewhere, &format!("authority_key = \"{key}\"")).unwrap();
    }
    for no_address in ["node", ":8442", "127.0.0.1:", "127.0.0.1:70000"] {
        let refusal = dialling(no_address, "").unwrap_err().to_string();
        assert!(refusal.contains("expected host:port"), "{refusal}");
    }
    // Not dialled, not judged.
    load("[templates.sv2_tp]\naddress = \"node.example:8442\"").unwrap();
}

#[test]
fn the_embedded_chains_target_must_be_one() {
    let with = |bits: &str| load(&format!("[templates.embedded]\nn_bits = {bits}"));
    for bits in ["0x207FFFFF", "0x1D00FFFF", "0x1B00FFFF", "0x01010000"] {
        with(bits).unwrap();
    }
    // Zero, negative, above the easiest, not in the shortest form.
    for bits in [
        "0",
        "0x1D80FFFF",
        "0x2100FFFF",
        "0xFF123456",
        "0x1D000000",
        "0x1E0000FF",
    ] {
        let refusal = with(bits).unwrap_err().to_string();
        assert!(
            refusal.contains("expected a target in compact form"),
            "{bits}: {refusal}"
        );
    }
}

#[test]
#[cfg(not(feature = "bitcoin-core"))]
fn a_pool_without_bitcoin_core_says_how_to_get_it() {
    let refusal = complaint("[templates]\nsource = \"bitcoin-core\"");
    assert!(
        refusal.starts_with("templates.source = \"bitcoin-core\": this pool is built without it")
            && refusal.contains("--features bitcoin-core"),
        "{refusal}"
    );
}

#[test]
fn the_reward_goes_to_an_address_which_must_be_named_where_blocks_are_real() {
    load("[mining]\nreward_address = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"").unwrap();
    assert_eq!(
        complaint("[mining]\nreward_address = \"x\""),
        "pool.toml: mining.reward_address = \"x\": expected a bitcoin address"
    );
    let nobody = complaint("[templates]\nsource = \"sv2-tp\"");
    assert!(
        nobody.starts_with("mining.reward_address = none: expected the bitcoin address"),
        "{nobody}"
    );
}

#[test]
fn keys_are_read_and_never_told() {
    let secret = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
    let config = load(&format!("[mint_link]\nauthority_secret_key = \"{secret}\"")).unwrap();
    assert!(!format!("{config:?}").contains(secret));
    let line = complaint(&format!("[mint_link]\nauthority_secret_key = \"{secret}x\""));
    assert!(
        line.contains("mint_link.authority_secret_key") && !line.contains(secret),
        "{line}"
    );

    let token = "fifteen-letters";
    let line = complaint(&format!("[refresh]\ntoken = \"{token}\""));
    assert!(
        line.contains("refresh.token") && line.contains("16 to 256") && !line.contains(token),
        "{line}"
    );
    let token = "correct-horse-battery";
    let config = load(&format!("[refresh]\ntoken = \"{token}\"")).unwrap();
    assert!(config.refresh.token.is_some() && !format!("{config:?}").contains(token));

    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let config = load(&format!("[quotes]\ndefault_locking_key = \"{key}\"")).unwrap();
    assert_eq!(
        config
            .quotes
            .default_locking_key
            .map(|key| key.to_bytes()[..2].to_vec()),
        Some(vec![2, 0x79])
    );
    let off_the_curve = format!("[quotes]\ndefault_locking_key = \"02{}\"", "ff".repeat(32));
    assert!(
        complaint(&off_the_curve).contains("66 hex digits"),
        "{}",
        complaint(&off_the_curve)
    );
}
