//! A small SV1 CPU miner, to mine behind a stock translator: `scripts/interop` runs it.
//!
//! It mines until SIGINT or SIGTERM, waits for the answers that are still due, and prints how many of its shares were
//! accepted, late or refused, one `name=number` a line. A share is late if jobs were declared worthless by the time of
//! its refusal. It exits with 1 if the server goes away.

use std::{collections::HashMap, io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use bitcoin::Target;
use clap::Parser;
use miner::hashing::{Hasher, HashingConfig, Job, Share};
use serde_json::{Value, json};
use system_tests::sv1::{Notify, target_of_difficulty};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time,
};
use tokio_util::sync::CancellationToken;

/// A share's time runs ahead of its job's by this much at most.
const ROLLED_SECONDS: u32 = 60;

/// How long the last answers are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Jobs whose shares may still be accepted or refused.
const REMEMBERED_JOBS: usize = 64;

/// Mines by Stratum V1 on the CPU until it is told to stop
#[derive(Debug, Parser)]
struct Args {
    /// The server, as host:port
    #[arg(long)]
    server: String,
    /// The name to authorize with
    #[arg(long, default_value = "sv1-miner")]
    user: String,
    /// Hashes a second at most; 0 for no limit
    #[arg(long, default_value_t = 200_000)]
    max_hashrate: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let socket = TcpStream::connect(&args.server)
        .await
        .with_context(|| format!("no connection to {}", args.server))?;
    let (reader, writer) = socket.into_split();
    let mut miner = Miner::start(&args, BufReader::new(reader).lines(), writer).await?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mined = tokio::select! {
        mined = miner.mine() => mined,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    miner.search.cancel();
    if mined.is_ok() {
        miner.last_answers().await?;
    }
    let Counts {
        accepted,
        late,
        refused,
    } = miner.counts;
    let unanswered = miner.submitted.len();
    writeln!(
        std::io::stdout(),
        "accepted={accepted}\nlate={late}\nrefused={refused}\nunanswered={unanswered}"
    )?;
    match mined {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

#[derive(Debug, Default)]
struct Counts {
    accepted: u64,
    /// Refused when its job was worthless.
    late: u64,
    refused: u64,
}

/// A job that is or was searched.
struct Searched {
    number: u64,
    job_id: String,
    extranonce_2: Vec<u8>,
}

struct Miner {
    user: String,
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    extranonce_1: Vec<u8>,
    extranonce_2_size: usize,
    target: Option<Target>,
    jobs: watch::Sender<Option<Arc<Job>>>,
    shares: mpsc::Receiver<Share>,
    search: CancellationToken,
    searched: Vec<Searched>,
    /// The number of the next job, which makes its extranonce too.
    next_job: u64,
    /// The first job that is worth anything.
    first_valid: u64,
    next_request: u64,
    /// The jobs' numbers of the shares without an answer, by the number of the request.
    submitted: HashMap<u64, u64>,
    counts: Counts,
}

impl Miner {
    /// Subscribes and authorizes; the search begins with the first job.
    async fn start(
        args: &Args,
        lines: Lines<BufReader<OwnedReadHalf>>,
        writer: OwnedWriteHalf,
    ) -> anyhow::Result<Self> {
        let (jobs, search_jobs) = watch::channel(None);
        let (found, shares) = mpsc::channel(64);
        let search = CancellationToken::new();
        let hashing = HashingConfig {
            threads: 1,
            max_hashrate: args.max_hashrate,
        };
        Hasher::start(&hashing, &search_jobs, &found, &search)?;
        let mut miner = Self {
            user: args.user.clone(),
            lines,
            writer,
            extranonce_1: Vec::new(),
            extranonce_2_size: 0,
            target: None,
            jobs,
            shares,
            search,
            searched: Vec::new(),
            next_job: 0,
            first_valid: 0,
            next_request: 1,
            submitted: HashMap::new(),
            counts: Counts::default(),
        };
        let subscribe = miner.request("mining.subscribe", json!(["sv1-miner/0.1"])).await?;
        // Until the answer is there a job would have no extranonce; a server sends none before.
        let subscribed = miner.answer_to(subscribe).await?;
        let extranonce_1 = subscribed.get(1).and_then(Value::as_str).context("no extranonce1")?;
        miner.extranonce_1 = hex::decode(extranonce_1).context("extranonce1 is not hex")?;
        let size = subscribed
            .get(2)
            .and_then(Value::as_u64)
            .context("no extranonce2_size")?;
        if !(1..=32).contains(&size) {
            bail!("extranonce2_size = {size}: expected 1 to 32");
        }
        miner.extranonce_2_size = usize::try_from(size)?;
        let authorize = miner.request("mining.authorize", json!([args.user, "x"])).await?;
        if miner.answer_to(authorize).await? != Value::Bool(true) {
            bail!("{} is not authorized", args.user);
        }
        Ok(miner)
    }

    /// Searches and submits. Ends only when the server is gone.
    async fn mine(&mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                line = self.lines.next_line() => {
                    let line = line?.context("the server closed the connection")?;
                    self.hear(&line)?;
                }
                share = self.shares.recv() => match share {
                    Some(share) => self.submit(&share).await?,
                    None => bail!("the search has ended"),
                },
            }
        }
    }

    /// Reads on until every share has its answer, for a while.
    async fn last_answers(&mut self) -> anyhow::Result<()> {
        let answers = async {
            while !self.submitted.is_empty() {
                let line = self
                    .lines
                    .next_line()
                    .await?
                    .context("the server closed the connection")?;
                self.hear(&line)?;
            }
            Ok(())
        };
        time::timeout(LAST_ANSWERS, answers).await.unwrap_or(Ok(()))
    }

    async fn request(&mut self, method: &str, params: Value) -> anyhow::Result<u64> {
        let id = self.next_request;
        self.next_request += 1;
        let line = format!("{}\n", json!({"id": id, "method": method, "params": params}));
        self.writer.write_all(line.as_bytes()).await?;
        Ok(id)
    }

    /// The result of a request. Notifications before it count.
    async fn answer_to(&mut self, request: u64) -> anyhow::Result<Value> {
        loop {
            let line = self
                .lines
                .next_line()
                .await?
                .context("the server closed the connection")?;
            let message: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
            if message.get("id").and_then(Value::as_u64) == Some(request) {
                let result = message.get("result").filter(|result| !result.is_null());
                return result.cloned().with_context(|| format!("refused: {line}"));
            }
            self.notified(&message)?;
        }
    }

    fn hear(&mut self, line: &str) -> anyhow::Result<()> {
        let message: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        let id = message.get("id").and_then(Value::as_u64);
        let Some(job) = id.and_then(|id| self.submitted.remove(&id)) else {
            return self.notified(&message);
        };
        if message.get("result") == Some(&Value::Bool(true)) {
            self.counts.accepted += 1;
        } else if job < self.first_valid {
            self.counts.late += 1;
        } else {
            self.counts.refused += 1;
            eprintln!("a share of a valid job is refused: {line}");
        }
        Ok(())
    }

    fn notified(&mut self, message: &Value) -> anyhow::Result<()> {
        let params = message.get("params").unwrap_or(&Value::Null);
        match message.get("method").and_then(Value::as_str) {
            Some("mining.set_difficulty") => {
                let difficulty = params.get(0).and_then(Value::as_f64).context("no difficulty")?;
                self.target = Some(target_of_difficulty(difficulty).context("no such difficulty")?);
            }
            Some("mining.notify") => {
                let notify = Notify::read(params).with_context(|| format!("no job: {message}"))?;
                self.search(&notify);
            }
            _ => eprintln!("not understood: {message}"),
        }
        Ok(())
    }

    /// Searches this job from now on.
    fn search(&mut self, notify: &Notify) {
        let number = self.next_job;
        self.next_job += 1;
        if notify.clean {
            self.first_valid = number;
        }
        let extranonce_2: Vec<u8> = number
            .to_le_bytes()
            .into_iter()
            .chain([0; 32])
            .take(self.extranonce_2_size)
            .collect();
        let header = notify.header(&self.extranonce_1, &extranonce_2);
        self.searched.push(Searched {
            number,
            job_id: notify.job_id.clone(),
            extranonce_2,
        });
        if self.searched.len() > REMEMBERED_JOBS {
            self.searched.remove(0);
        }
        // A server tells the difficulty before the first job.
        self.jobs.send_replace(self.target.map(|target| {
            Arc::new(Job {
                id: number,
                header,
                last_time: header.time.saturating_add(ROLLED_SECONDS),
                target,
            })
        }));
    }

    async fn submit(&mut self, share: &Share) -> anyhow::Result<()> {
        let Some(of) = self.searched.iter().find(|searched| searched.number == share.job) else {
            return Ok(());
        };
        let (time, nonce) = (share.header.time, share.header.nonce);
        let params = json!([
            self.user,
            of.job_id,
            hex::encode(&of.extranonce_2),
            format!("{time:08x}"),
            format!("{nonce:08x}")
        ]);
        let id = self.request("mining.submit", params).await?;
        self.submitted.insert(id, share.job);
        Ok(())
    }
}
