//! A wallet as far as the mint can tell: blinded outputs (NUT-00), a signature for the locked quote (NUT-20), the request
//! over HTTP (NUT-04), and the proofs that come of the answer, checked (NUT-12). It keeps no ecash: what a wallet does with
//! its own disk is not measured here.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use cdk_common::{
    Amount,
    amount::{FeeAndAmounts, SplitTarget},
    dhke,
    nuts::{CurrencyUnit, KeySet, KeysResponse, MintRequest, MintResponse, PreMintSecrets, SecretKey},
};
use reqwest::{Client, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::Value;

/// Longer than any stop that is injected takes.
const ANSWER: Duration = Duration::from_secs(10);
/// NUT error codes: the outputs are signed already, the quote is issued already.
const SIGNED_BEFORE: u64 = 11_003;
const ISSUED_BEFORE: u64 = 20_002;

/// Mints quotes that are locked to its key.
pub(crate) struct Wallet {
    http: Client,
    url: String,
    keys: KeySet,
    key: SecretKey,
}

/// A request that can be sent again and again.
pub(crate) struct Request {
    body: String,
    outputs: PreMintSecrets,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Minted {
    /// Signed, and the signatures are good.
    Confirmed,
    /// By an earlier try, whose answer was lost.
    Before,
    /// Nobody knows: try again.
    Unanswered,
}

impl Wallet {
    /// Asks the mint for its keys.
    pub(crate) async fn open(mint: SocketAddr, key: SecretKey) -> anyhow::Result<Self> {
        let http = Client::builder().timeout(ANSWER).build()?;
        let answer = http.get(format!("http://{mint}/v1/keys")).send().await?.bytes().await?;
        let keysets = serde_json::from_slice::<KeysResponse>(&answer)
            .context("the mint's keys")?
            .keysets;
        let hash = CurrencyUnit::Custom("hash".into());
        let keys = keysets
            .into_iter()
            .find(|keys| keys.unit == hash)
            .context("the mint has no keys of unit hash")?;
        Ok(Self {
            http,
            url: format!("http://{mint}/v1/mint/{}", mint::METHOD),
            keys,
            key,
        })
    }

    /// Makes blinded outputs for a quote and signs for them.
    pub(crate) fn request(&self, quote_id: &str, amount: u64) -> anyhow::Result<Request> {
        let amounts: Vec<u64> = self.keys.keys.iter().map(|(amount, _)| amount.to_u64()).collect();
        let outputs = PreMintSecrets::random(
            self.keys.id,
            Amount::from(amount),
            &SplitTarget::None,
            &FeeAndAmounts::from((0, amounts)),
        )?;
        let mut request = MintRequest {
            quote: quote_id.to_owned(),
            outputs: outputs.blinded_messages(),
            signature: None,
        };
        request.sign(&self.key)?;
        Ok(Request {
            body: serde_json::to_string(&request)?,
            outputs,
        })
    }

    /// Sends it. `again` says that an earlier try got no answer.
    ///
    /// # Errors
    /// If the mint refuses, or its signatures are not good.
    pub(crate) async fn mint(&self, request: &Request, again: bool) -> anyhow::Result<Minted> {
        let post = self
            .http
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .body(request.body.clone());
        let Ok((status, answer)) = answer(post.send().await).await else {
            return Ok(Minted::Unanswered);
        };
        if status.is_success() {
            let answer: MintResponse = serde_json::from_slice(&answer).context("the mint's answer")?;
            self.check(request, answer)?;
            return Ok(Minted::Confirmed);
        }
        let refusal: Value = serde_json::from_slice(&answer).unwrap_or_default();
        match refusal.get("code").and_then(Value::as_u64) {
            Some(SIGNED_BEFORE | ISSUED_BEFORE) if again => Ok(Minted::Before),
            _ if status.is_server_error() => Ok(Minted::Unanswered),
            _ => bail!("the mint refuses: {status} {}", String::from_utf8_lossy(&answer)),
        }
    }

    fn check(&self, request: &Request, answer: MintResponse) -> anyhow::Result<()> {
        let outputs = &request.outputs;
        ensure!(
            answer.signatures.len() == outputs.secrets.len(),
            "not one signature for each output"
        );
        for (signature, output) in answer.signatures.iter().zip(&outputs.secrets) {
            let key = self
                .keys
                .keys
                .amount_key(signature.amount)
                .context("a signature of an amount without a key")?;
            signature.verify_dleq(key, output.blinded_message.blinded_secret)?;
        }
        let proofs = dhke::construct_proofs(answer.signatures, outputs.rs(), outputs.secrets(), &self.keys.keys)?;
        ensure!(proofs.len() == outputs.secrets.len(), "not one proof for each output");
        Ok(())
    }
}

async fn answer(sent: reqwest::Result<Response>) -> reqwest::Result<(StatusCode, bytes::Bytes)> {
    let response = sent?;
    Ok((response.status(), response.bytes().await?))
}
