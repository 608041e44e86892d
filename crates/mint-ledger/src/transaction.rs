//! One write transaction: notes what it does to mint quotes, and hands the notes to the books when it commits.
//!
//! The notes are exact by construction: `before` is what the database held when the transaction first met the quote
//! (read in this very transaction), `after` what it was last told to hold.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use async_trait::async_trait;
use cdk_common::{
    database::{DbTransactionFinalizer, DynMintTransaction, Error, mint::Acquired},
    mint::MintQuote,
    quote_id::QuoteId,
};

use crate::{
    ledger::{Shared, Writer, in_own_task},
    tally::{Change, QuoteAmounts},
};

/// A CDK mint transaction that holds the writer's permit.
pub(crate) struct LedgerTransaction {
    /// `None` once it was committed, rolled back or dropped.
    open: Option<Open>,
}

/// An open transaction. The order of the fields matters where one is dropped outside of any runtime: the database's
/// half goes first, the permit after it.
struct Open {
    inner: DynMintTransaction,
    writer: Writer,
    shared: Arc<Shared>,
    notes: Notes,
    /// Quotes whose update failed half way: what the database holds now must be read again.
    unsure: HashSet<QuoteId>,
}

/// What the transaction did to each quote that it met, in the order in which it met them: units come up in the order of
/// their first quote.
#[derive(Default)]
struct Notes {
    changes: Vec<Change>,
    positions: HashMap<QuoteId, usize>,
}

impl Notes {
    /// Takes a note of a quote, unless there is one.
    fn start(&mut self, id: &QuoteId, change: impl FnOnce() -> Change) {
        if let Entry::Vacant(vacant) = self.positions.entry(id.clone()) {
            vacant.insert(self.changes.len());
            self.changes.push(change());
        }
    }

    fn get_mut(&mut self, id: &QuoteId) -> Option<&mut Change> {
        self.positions
            .get(id)
            .and_then(|&position| self.changes.get_mut(position))
    }
}

impl LedgerTransaction {
    pub(crate) fn new(inner: DynMintTransaction, writer: Writer, shared: Arc<Shared>) -> Self {
        let open = Open {
            inner,
            writer,
            shared,
            notes: Notes::default(),
            unsure: HashSet::new(),
        };
        Self { open: Some(open) }
    }

    /// The decorated transaction, for all calls that only pass through.
    pub(crate) fn inner(&mut self) -> Result<&mut DynMintTransaction, Error> {
        self.open().map(|open| &mut open.inner)
    }

    fn open(&mut self) -> Result<&mut Open, Error> {
        self.open.as_mut().ok_or_else(finished)
    }

    /// Notes what the database holds of a quote that it was just asked for.
    pub(crate) fn note_read(&mut self, quote: Option<&Acquired<MintQuote>>) -> Result<(), Error> {
        let open = self.open()?;
        if let Some(quote) = quote {
            open.notes.start(&quote.id, || {
                let held = Some(QuoteAmounts::of(quote));
                Change {
                    unit: quote.unit.to_string().into(),
                    request: quote.request.as_str().into(),
                    before: held,
                    after: held,
                }
            });
        }
        Ok(())
    }

    /// Adds a quote, and notes it.
    pub(crate) async fn add(&mut self, quote: MintQuote) -> Result<Acquired<MintQuote>, Error> {
        let open = self.open()?;
        let quote = open.inner.add_mint_quote(quote).await?;
        open.notes.start(&quote.id, || Change {
            unit: quote.unit.to_string().into(),
            request: quote.request.as_str().into(),
            before: None,
            after: Some(QuoteAmounts::of_new(&quote)),
        });
        Ok(quote)
    }

    /// Persists a quote's payments and issuances, and notes its new amounts.
    pub(crate) async fn update(&mut self, quote: &mut Acquired<MintQuote>) -> Result<(), Error> {
        let open = self.open()?;
        // CDK writes nothing if nothing was added to the quote, whatever its amounts in memory. The only way to ask is
        // to take the changes from a copy.
        let Some(changes) = (**quote).clone().take_changes() else {
            return open.inner.update_mint_quote(quote).await;
        };
        let payments = changes.payments.map_or(0, |payments| payments.len());
        if payments == 0 && changes.issuances.is_none() {
            return open.inner.update_mint_quote(quote).await;
        }
        if open.notes.get_mut(&quote.id).is_none() {
            // Not read in this transaction: what it held before must come from the database, not from the caller.
            let held = open.inner.get_mint_quote(&quote.id).await?;
            self.note_read(held.as_ref())?;
        }
        let open = self.open()?;
        let note = open.notes.get_mut(&quote.id).ok_or(Error::UnknownQuote)?;
        let paid_before = note.after.map_or(0, |held| held.paid);
        if open.shared.pay_once && (payments > 1 || (payments == 1 && paid_before > 0)) {
            tracing::warn!(quote = %quote.id, "refused a second payment");
            return Err(Error::Duplicate);
        }
        if let Err(error) = open.inner.update_mint_quote(quote).await {
            open.unsure.insert(quote.id.clone());
            return Err(error);
        }
        note.after = Some(QuoteAmounts {
            asked: note.after.map_or(0, |held| held.asked),
            ..QuoteAmounts::of(quote)
        });
        Ok(())
    }
}

impl Open {
    async fn commit(mut self) -> Result<(), Error> {
        if let Err(error) = self.settle_doubts().await {
            self.roll_back().await?;
            return Err(error);
        }
        let Self {
            inner,
            writer,
            shared,
            notes,
            unsure: _,
        } = self;
        shared.commit(inner, writer, &notes.changes).await
    }

    /// Reads again what updates that failed half way left behind, for a caller who commits all the same.
    async fn settle_doubts(&mut self) -> Result<(), Error> {
        for id in std::mem::take(&mut self.unsure) {
            let held = self.inner.get_mint_quote(&id).await?;
            if let Some(note) = self.notes.get_mut(&id) {
                note.after = held.as_deref().map(QuoteAmounts::of);
            }
        }
        Ok(())
    }

    /// Rolls back and only then gives the permit away: CDK's own clean-up of a dropped transaction is a task that
    /// nobody can wait for, and the next writer would run into its lock.
    async fn roll_back(self) -> Result<(), Error> {
        let Self { inner, writer, .. } = self;
        let result = inner.rollback().await;
        drop(writer);
        result
    }
}

#[async_trait]
impl DbTransactionFinalizer for LedgerTransaction {
    type Err = Error;

    async fn commit(mut self: Box<Self>) -> Result<(), Error> {
        let open = self.open.take().ok_or_else(finished)?;
        in_own_task(open.commit()).await
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), Error> {
        let open = self.open.take().ok_or_else(finished)?;
        in_own_task(open.roll_back()).await
    }
}

impl Drop for LedgerTransaction {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        // Outside of a runtime there is nobody to roll back; CDK then closes the connection, which does it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = open.roll_back().await {
                    tracing::warn!("could not roll a dropped transaction back: {error}");
                }
            });
        }
    }
}

fn finished() -> Error {
    Error::Internal("the transaction is finished".to_owned())
}
