//! Why the wallet can't be opened or used. Trouble with the mint is no error here: it is waited out.

use std::path::PathBuf;

use cdk::mint_url::MintUrl;
use service::secret_file::SecretFileError;
use service::{ConfigError, Misconfigured};

/// What went wrong on this side of the wallet.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The configuration is out of bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory or the seed's file can't be used.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// The seed's file holds something else.
    #[error("{}: not the 12 to 24 words of a wallet's seed; restore it from a backup", .path.display())]
    Seed {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("{}: another process uses this wallet, and one at a time can; stop the miner first", .path.display())]
    InUse {
        /// The wallet's directory.
        path: PathBuf,
    },
    /// The directory can't be written.
    #[error("{}: {action} failed", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The wallet holds ehash of another mint.
    #[error(
        "this wallet belongs to the mint at {known}, not {configured}: name the former with --mint or wallet.mint_url, or neither, or take another --data-dir; if that mint has moved, set wallet.mint_has_moved = true"
    )]
    OtherMint {
        /// The mint it was used with.
        known: MintUrl,
        /// The mint it was opened for.
        configured: MintUrl,
        /// It is the configuration's fault.
        #[source]
        mark: Misconfigured,
    },
    /// The mint can't be asked for what the wallet held before its database was lost.
    #[error(
        "this wallet has yet to ask the mint at {mint} what its seed has earned there, and can't; is it the right mint (--mint, wallet.mint_url), and does it run? the next start asks again"
    )]
    Restore {
        /// The mint.
        mint: MintUrl,
        /// What went wrong.
        #[source]
        source: Box<cdk::Error>,
    },
    /// An id that is none; ids become part of a URL, so not every text may be one.
    #[error("a quote id has 1 to 128 letters, digits, '-' or '_'")]
    QuoteId,
    /// As many quotes wait as the wallet is prepared to remember.
    #[error("{0} quotes wait to be minted, no more are taken")]
    Full(usize),
    /// What was to be received is something else.
    #[error("this is no Cashu token; one begins with cashuA or cashuB")]
    NoToken,
    /// It is another mint's.
    #[error(
        "this token is of the mint at {theirs}; this wallet belongs to the mint at {ours}: receive it with another --data-dir and --mint {theirs}"
    )]
    TokenOfOtherMint {
        /// The token's mint.
        theirs: MintUrl,
        /// The wallet's mint.
        ours: MintUrl,
    },
    /// The mint takes in less at once.
    #[error(
        "this token has more pieces than its mint takes in one request; nothing is lost: ask its sender for several smaller tokens"
    )]
    TokenTooLong(#[source] cdk::Error),
    /// It is worth nothing any more.
    #[error("this token has been received already; if it was by this wallet, it is in its balance")]
    TokenSpent,
    /// The mint is at it, for somebody.
    #[error("this token is being received at this moment; try again in a minute")]
    TokenPending,
    /// The token could not be handed over.
    #[error("the token could not be handed over, and is back in the wallet")]
    NotHandedOver(#[source] std::io::Error),
    /// The token could not be handed over, and the mint not be asked to take it back.
    #[error("the token could not be handed over ({lost}); the wallet still has it: `miner reclaim` takes it back")]
    NotTakenBack {
        /// Why it could not be handed over.
        lost: std::io::Error,
        /// What the mint said.
        #[source]
        source: cdk::Error,
    },
    /// There is less in it than was to be taken out.
    #[error("insufficient funds: the wallet holds {balance}")]
    Funds {
        /// What it holds.
        balance: u64,
    },
    /// The mint's address leads nowhere, or to somebody else.
    #[error(
        "the mint at {mint} can't be reached, or is none: is it the right one (--mint, wallet.mint_url), and does it run? nothing is lost: try again then"
    )]
    Unreachable {
        /// The mint.
        mint: MintUrl,
        /// What went wrong.
        #[source]
        source: Box<cdk::Error>,
    },
    /// The mint knows more of this seed than the database: the next [restore](super::Redeemer::restore) mends that.
    #[error(
        "the mint has signed or taken in before what is new here: wallet.sqlite is an older copy, or another machine uses this seed, which only one may; try again: the mint is asked for what is missing then"
    )]
    Behind,
    /// Something in CDK, or what the mint made of it.
    #[error(
        "the wallet failed; its seed alone brings its ehash back: if this goes on, move wallet.sqlite away and start again with --mint (docs/OPERATIONS.md)"
    )]
    Wallet(#[from] cdk::Error),
    /// The wallet's database.
    #[error(
        "the wallet's database failed (is the disk full?); its seed alone brings its ehash back: if this goes on, move wallet.sqlite away and start again with --mint (docs/OPERATIONS.md)"
    )]
    Database(#[from] cdk_common::database::Error),
}
