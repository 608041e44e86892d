//! One of our programs as a process: started on its configuration, heard, killed.

use std::{
    collections::HashMap,
    net::TcpListener,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

/// How long a program may take to say something, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. Killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    lines: watch::Receiver<Vec<String>>,
    collecting: [JoinHandle<()>; 2],
}

impl Process {
    /// Starts one of this workspace's programs. What it prints is kept, and passed on to the test's own output.
    pub fn start(program: &str, args: &[&str]) -> Self {
        let mut child = Command::new(path_of(program))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} can't be started: {error}"));
        let (sender, lines) = watch::channel(Vec::new());
        let collecting = [
            collect(program, child.stdout.take().unwrap(), sender.clone()),
            collect(program, child.stderr.take().unwrap(), sender),
        ];
        Self {
            name: program.to_owned(),
            child,
            lines,
            collecting,
        }
    }

    /// The addresses that the program has announced as `name=address` lines, once all of `names` are there.
    pub async fn announces<const N: usize>(&mut self, names: [&str; N]) -> [String; N] {
        self.hears(&format!("the addresses of {names:?}"), |lines| {
            let said: HashMap<_, _> = lines.iter().filter_map(|line| line.split_once('=')).collect();
            let found = names.map(|name| said.get(name).map(|address| (*address).to_owned()));
            found.iter().all(Option::is_some).then(|| found.map(Option::unwrap))
        })
        .await
    }

    /// Waits until `find` makes something of all lines printed so far, on either stream.
    pub async fn hears<T>(&mut self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let heard = async {
            loop {
                if let Some(found) = find(&self.lines.borrow_and_update()) {
                    return Some(found);
                }
                if self.lines.changed().await.is_err() {
                    return None;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, heard).await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("{} ended and never said {what}", self.name),
            Err(_) => panic!("{} has not said {what} in {PATIENCE:?}", self.name),
        }
    }

    /// All that it has printed, once it has ended.
    pub async fn finished(&mut self) -> Vec<String> {
        for collecting in &mut self.collecting {
            // At the end of the stream, or aborted before.
            let _ = collecting.await;
        }
        self.lines()
    }

    /// All that was printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// Closes this end of what the program prints to: from now on its writes fail.
    pub async fn stop_listening(&mut self) {
        for collecting in &mut self.collecting {
            collecting.abort();
            // Cancelled, as asked for, or at the end already.
            let _ = collecting.await;
        }
    }

    /// The process id.
    ///
    /// # Panics
    /// If it has ended.
    pub fn id(&self) -> u32 {
        self.child.id().expect("still running")
    }

    /// Sends a signal by its name.
    pub async fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args(["-s", signal, &self.id().to_string()])
            .status()
            .await
            .unwrap();
        assert!(status.success(), "kill -s {signal}");
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends")
            .unwrap()
    }
}

fn collect(
    program: &str,
    stream: impl AsyncRead + Unpin + Send + 'static,
    lines: watch::Sender<Vec<String>>,
) -> JoinHandle<()> {
    let program = program.to_owned();
    tokio::spawn(async move {
        let mut stream = BufReader::new(stream).lines();
        while let Ok(Some(line)) = stream.next_line().await {
            println!("{program}: {line}");
            lines.send_modify(|lines| lines.push(line));
        }
    })
}

/// Where cargo puts the programs: beside the folder of the test that runs.
pub fn path_of(program: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(|deps| deps.parent()).unwrap().join(program);
    assert!(
        path.exists(),
        "{} is missing: build the whole workspace (cargo build --workspace)",
        path.display()
    );
    path
}

/// A port of 127.0.0.1 that was free a moment ago, for a program that must come back on the same one after a kill.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
