//! The writing half: quotes are noted on their way through, all else is handed on.

use std::collections::HashMap;

use async_trait::async_trait;
use cdk_common::{
    Amount,
    database::{
        Error, KVStoreTransaction, MintProofsTransaction, MintQuotesTransaction, MintSignatureTransaction,
        MintTransaction,
        mint::{Acquired, CompletedOperationsTransaction, LockedMeltQuotes, MeltRequestInfo, SagaTransaction},
    },
    mint::{MeltFinalizationData, MeltQuote, MintQuote, Operation, ProofsWithState, Saga, SagaStateEnum},
    nuts::{BlindSignature, BlindedMessage, CurrencyUnit, Id, MeltQuoteState, Proofs, PublicKey, State},
    payment::PaymentIdentifier,
    quote_id::QuoteId,
};

use super::delegate_to_transaction;
use crate::transaction::LedgerTransaction;

#[async_trait]
impl MintQuotesTransaction for LedgerTransaction {
    type Err = Error;

    async fn add_mint_quote(&mut self, quote: MintQuote) -> Result<Acquired<MintQuote>, Error> {
        self.add(quote).await
    }

    async fn update_mint_quote(&mut self, quote: &mut Acquired<MintQuote>) -> Result<(), Error> {
        self.update(quote).await
    }

    async fn get_mint_quote(&mut self, quote_id: &QuoteId) -> Result<Option<Acquired<MintQuote>>, Error> {
        let quote = self.inner()?.get_mint_quote(quote_id).await?;
        self.note_read(quote.as_ref())?;
        Ok(quote)
    }

    async fn get_mint_quotes_by_ids(
        &mut self,
        quote_ids: &[QuoteId],
    ) -> Result<Vec<Option<Acquired<MintQuote>>>, Error> {
        let quotes = self.inner()?.get_mint_quotes_by_ids(quote_ids).await?;
        for quote in &quotes {
            self.note_read(quote.as_ref())?;
        }
        Ok(quotes)
    }

    async fn get_mint_quote_by_request(&mut self, request: &str) -> Result<Option<Acquired<MintQuote>>, Error> {
        let quote = self.inner()?.get_mint_quote_by_request(request).await?;
        self.note_read(quote.as_ref())?;
        Ok(quote)
    }

    async fn get_mint_quote_by_request_lookup_id(
        &mut self,
        id: &PaymentIdentifier,
    ) -> Result<Option<Acquired<MintQuote>>, Error> {
        let quote = self.inner()?.get_mint_quote_by_request_lookup_id(id).await?;
        self.note_read(quote.as_ref())?;
        Ok(quote)
    }

    async fn add_melt_request(
        &mut self,
        quote_id: &QuoteId,
        inputs_amount: Amount<CurrencyUnit>,
        inputs_fee: Amount<CurrencyUnit>,
    ) -> Result<(), Error> {
        self.inner()?
            .add_melt_request(quote_id, inputs_amount, inputs_fee)
            .await
    }

    async fn add_blinded_messages(
        &mut self,
        quote_id: Option<&QuoteId>,
        blinded_messages: &[BlindedMessage],
        operation: &Operation,
    ) -> Result<(), Error> {
        self.inner()?
            .add_blinded_messages(quote_id, blinded_messages, operation)
            .await
    }

    async fn delete_blinded_messages(&mut self, blinded_secrets: &[PublicKey]) -> Result<(), Error> {
        self.inner()?.delete_blinded_messages(blinded_secrets).await
    }

    async fn get_melt_request_and_blinded_messages(
        &mut self,
        quote_id: &QuoteId,
    ) -> Result<Option<MeltRequestInfo>, Error> {
        self.inner()?.get_melt_request_and_blinded_messages(quote_id).await
    }

    async fn delete_melt_request(&mut self, quote_id: &QuoteId) -> Result<(), Error> {
        self.inner()?.delete_melt_request(quote_id).await
    }

    async fn get_melt_quote(&mut self, quote_id: &QuoteId) -> Result<Option<Acquired<MeltQuote>>, Error> {
        self.inner()?.get_melt_quote(quote_id).await
    }

    async fn add_melt_quote(&mut self, quote: MeltQuote) -> Result<(), Error> {
        self.inner()?.add_melt_quote(quote).await
    }

    async fn get_melt_quotes_by_request_lookup_id(
        &mut self,
        id: &PaymentIdentifier,
    ) -> Result<Vec<Acquired<MeltQuote>>, Error> {
        self.inner()?.get_melt_quotes_by_request_lookup_id(id).await
    }

    async fn lock_melt_quote_and_related(&mut self, quote_id: &QuoteId) -> Result<LockedMeltQuotes, Error> {
        self.inner()?.lock_melt_quote_and_related(quote_id).await
    }

    async fn update_melt_quote_request_lookup_id(
        &mut self,
        quote: &mut Acquired<MeltQuote>,
        id: &PaymentIdentifier,
    ) -> Result<(), Error> {
        self.inner()?.update_melt_quote_request_lookup_id(quote, id).await
    }

    async fn update_melt_quote_state(
        &mut self,
        quote: &mut Acquired<MeltQuote>,
        new_state: MeltQuoteState,
        payment_proof: Option<String>,
    ) -> Result<MeltQuoteState, Error> {
        self.inner()?
            .update_melt_quote_state(quote, new_state, payment_proof)
            .await
    }
}

delegate_to_transaction! {
    MintProofsTransaction, Err {
        fn add_proofs(
            &mut self,
            proofs: Proofs,
            quote_id: Option<QuoteId>,
            operation: &Operation
        ) -> Acquired<ProofsWithState>;
        fn update_proofs_state(&mut self, proofs: &mut Acquired<ProofsWithState>, new_state: State) -> ();
        fn get_proofs(&mut self, ys: &[PublicKey]) -> Acquired<ProofsWithState>;
        fn remove_proofs(&mut self, ys: &[PublicKey], quote_id: Option<QuoteId>) -> ();
        fn get_proof_ys_by_quote_id(&mut self, quote_id: &QuoteId) -> Vec<PublicKey>;
        fn get_proof_ys_by_operation_id(&mut self, operation_id: &uuid::Uuid) -> Vec<PublicKey>;
    }
}

delegate_to_transaction! {
    MintSignatureTransaction, Err {
        fn add_blind_signatures(
            &mut self,
            blinded_messages: &[PublicKey],
            blind_signatures: &[BlindSignature],
            quote_id: Option<QuoteId>
        ) -> ();
        fn get_blind_signatures(&mut self, blinded_messages: &[PublicKey]) -> Vec<Option<BlindSignature>>;
    }
}

delegate_to_transaction! {
    SagaTransaction, Err {
        fn get_saga(&mut self, operation_id: &uuid::Uuid) -> Option<Saga>;
        fn get_saga_for_update(&mut self, operation_id: &uuid::Uuid) -> Option<Acquired<Saga>>;
        fn add_saga(&mut self, saga: &Saga) -> ();
        fn update_acquired_saga(&mut self, saga: &mut Acquired<Saga>, new_state: SagaStateEnum) -> ();
        fn update_acquired_saga_with_finalization_data(
            &mut self,
            saga: &mut Acquired<Saga>,
            new_state: SagaStateEnum,
            finalization_data: Option<&MeltFinalizationData>
        ) -> ();
        fn delete_saga(&mut self, operation_id: &uuid::Uuid) -> ();
    }
}

delegate_to_transaction! {
    CompletedOperationsTransaction, Err {
        fn add_completed_operation(&mut self, operation: &Operation, fee_by_keyset: &HashMap<Id, Amount>) -> ();
    }
}

delegate_to_transaction! {
    KVStoreTransaction<Error>, {
        fn kv_read(&mut self, primary: &str, secondary: &str, key: &str) -> Option<Vec<u8>>;
        fn kv_write(&mut self, primary: &str, secondary: &str, key: &str, value: &[u8]) -> ();
        fn kv_write_if_absent(&mut self, primary: &str, secondary: &str, key: &str, value: &[u8]) -> bool;
        fn kv_remove(&mut self, primary: &str, secondary: &str, key: &str) -> ();
        fn kv_write_if_equals(
            &mut self,
            primary: &str,
            secondary: &str,
            key: &str,
            expected: &[u8],
            replacement: &[u8]
        ) -> bool;
        fn kv_list(&mut self, primary: &str, secondary: &str) -> Vec<String>;
    }
}

delegate_to_transaction! {
    MintTransaction<Error>, {
        fn lock_quotes(&mut self, quote_ids: &[QuoteId]) -> bool;
    }
}
