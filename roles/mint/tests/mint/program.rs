//! The `mint` program: what it prints, how it stops, how it refuses.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use super::*;

fn program(folder: &Path, text: &str) -> (Command, PathBuf) {
    let file = folder.join("mint.toml");
    let data_dir = folder.join("mint");
    let ports = "[http]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&file, format!("data_dir = {data_dir:?}\n{ports}{text}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mint"));
    command.arg("--config").arg(&file).env_remove("RUST_LOG");
    (command, file)
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn it_says_where_it_serves_and_stops_in_order_on_a_signal() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let (mut command, _) = program(folder.path(), "");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |name: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='))
                .unwrap_or_else(|| panic!("{line}"))
                .to_owned()
        };
        let (http, page) = (address("mint-http"), address("mint-dashboard"));
        for address in [http, page] {
            std::net::TcpStream::connect(address).unwrap();
        }
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", child.id())])
            .status()
            .unwrap();
        assert!(kill.success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn it_serves_on_and_stops_in_order_when_nobody_reads_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let (mut command, _) = program(folder.path(), "");
    let (reader, nobody_reads) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command.stdout(nobody_reads).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("the mint serves")));
    let kill = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
    let rest: Vec<_> = log.collect();
    assert!(
        rest.iter().any(|line| line.contains("the mint has stopped")),
        "{rest:?}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn its_key_is_shown_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let shown: Vec<_> = (0..2)
        .map(|_| said(&program(folder.path(), "").0.arg("--print-public-key").output().unwrap()))
        .collect();
    assert_eq!(shown[0], shown[1]);
    assert_eq!((shown[0].0, shown[0].1.trim().len()), (Some(0), 64));
}

#[tokio::test]
async fn an_audit_tells_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let audit = |argument: &str| said(&program(folder.path(), "").0.arg(argument).output().unwrap());
    for argument in ["--audit", "--rebase"] {
        let (code, _, complaint) = audit(argument);
        assert!(
            code == Some(2) && complaint.lines().count() == 1 && complaint.contains("there is no mint.sqlite in it"),
            "{code:?} {complaint}"
        );
        assert!(
            !config(folder.path()).data_dir.exists(),
            "nothing is made: a mint can start there"
        );
    }

    let running = start(folder.path()).await;
    quote(&running, 1, 8, &SecretKey::generate()).await;
    let (code, said, _) = audit("--audit");
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("the ledger agrees with the database at version 2: 0 quotes redeemed"),
        "{said}"
    );
    let (code, _, complaint) = audit("--rebase");
    assert!(
        code == Some(2) && complaint.contains("another mint is using it"),
        "{code:?} {complaint}"
    );
    running.stop().await;

    let file = config(folder.path()).data_dir.join(mint::DATABASE);
    rusqlite::Connection::open(file)
        .unwrap()
        .execute("DELETE FROM mint_quote_payments", [])
        .unwrap();
    assert_eq!(audit("--audit").0, Some(0));
    let file = config(folder.path()).data_dir.join(mint::DATABASE);
    rusqlite::Connection::open(file)
        .unwrap()
        .execute("UPDATE mint_quote SET amount_paid = 0", [])
        .unwrap();
    let (code, _, complaint) = audit("--audit");
    assert!(
        code == Some(1) && complaint.contains("hash: unpaid quotes: ledger 0, database 1"),
        "{code:?} {complaint}"
    );
    assert_eq!(audit("--rebase").0, Some(0));
    assert_eq!(audit("--audit").0, Some(0));
}

#[test]
fn bad_configuration_is_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    for (text, says) in [
        ("[push]\ninterval_ms = 50", "allowed are 100 (100 ms) to 3600000 (1 h)"),
        ("[quotes]\nmax_batch = 0", "quotes.max_batch = 0: expected 1 to 1000"),
        ("[quotes]\nbatch = 1", "quotes.batch"),
        (
            "[[pools]]\naddress = \"localhost\"\nauthority_key = \"x\"",
            "authority_key",
        ),
    ] {
        let (mut command, file) = program(folder.path(), text);
        let (code, _, complaint) = said(&command.output().unwrap());
        assert_eq!((code, complaint.lines().count()), (Some(2), 1), "{complaint}");
        assert!(
            complaint.contains(says) && complaint.contains(&file.display().to_string()),
            "{complaint}"
        );
    }
    // A port in use.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let file = folder.path().join("taken.toml");
    let text = format!(
        "data_dir = {:?}\n[http]\nlisten = \"{}\"",
        folder.path(),
        taken.local_addr().unwrap()
    );
    std::fs::write(&file, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mint"))
        .arg("--config")
        .arg(&file)
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(
        complaint.contains("http.listen = ") && complaint.contains("in use"),
        "{complaint}"
    );
}
