//! The reading half, and `begin_transaction`.

use std::collections::HashMap;

use async_trait::async_trait;
use cdk_common::{
    Amount,
    database::{
        DynMintTransaction, Error, KVStoreDatabase, MintDatabase, MintProofsDatabase, MintQuotesDatabase,
        MintSignaturesDatabase,
        mint::{CompletedOperationsDatabase, SagaDatabase},
    },
    mint::{MeltQuote, MintQuote, Operation, OperationKind, Saga},
    nuts::{BlindSignature, Id, Proof, Proofs, PublicKey, State},
    payment::PaymentIdentifier,
    quote_id::QuoteId,
};

use super::delegate_to_database;
use crate::Ledger;

#[async_trait]
impl MintDatabase<Error> for Ledger {
    async fn begin_transaction(&self) -> Result<DynMintTransaction, Error> {
        Ok(Box::new(self.begin().await?))
    }
}

#[async_trait]
impl MintQuotesDatabase for Ledger {
    type Err = Error;

    async fn try_update_mint_quote_last_checked(
        &self,
        quote_id: &QuoteId,
        last_checked: u64,
        min_interval: u64,
    ) -> Result<bool, Error> {
        if self.paid_at_birth() {
            return Ok(false);
        }
        // The one write outside of a transaction. It changes nothing that is counted, but it is a writer.
        let _permit = self.writer().await?;
        self.inner()
            .try_update_mint_quote_last_checked(quote_id, last_checked, min_interval)
            .await
    }

    async fn get_mint_quote(&self, quote_id: &QuoteId) -> Result<Option<MintQuote>, Error> {
        self.inner().get_mint_quote(quote_id).await
    }

    async fn get_mint_quotes_by_ids(&self, quote_ids: &[QuoteId]) -> Result<Vec<Option<MintQuote>>, Error> {
        self.inner().get_mint_quotes_by_ids(quote_ids).await
    }

    async fn get_mint_quote_by_request(&self, request: &str) -> Result<Option<MintQuote>, Error> {
        self.inner().get_mint_quote_by_request(request).await
    }

    async fn get_mint_quote_by_request_lookup_id(&self, id: &PaymentIdentifier) -> Result<Option<MintQuote>, Error> {
        self.inner().get_mint_quote_by_request_lookup_id(id).await
    }

    async fn get_mint_quotes(&self) -> Result<Vec<MintQuote>, Error> {
        self.inner().get_mint_quotes().await
    }

    async fn get_melt_quote(&self, quote_id: &QuoteId) -> Result<Option<MeltQuote>, Error> {
        self.inner().get_melt_quote(quote_id).await
    }

    async fn get_melt_quotes(&self) -> Result<Vec<MeltQuote>, Error> {
        self.inner().get_melt_quotes().await
    }
}

delegate_to_database! {
    MintProofsDatabase {
        fn get_proofs_by_ys(&self, ys: &[PublicKey]) -> Vec<Option<Proof>>;
        fn get_proof_ys_by_quote_id(&self, quote_id: &QuoteId) -> Vec<PublicKey>;
        fn get_proofs_states(&self, ys: &[PublicKey]) -> Vec<Option<State>>;
        fn get_proofs_by_keyset_id(&self, keyset_id: &Id) -> (Proofs, Vec<Option<State>>);
        fn get_total_redeemed(&self) -> HashMap<Id, Amount>;
        fn get_proof_ys_by_operation_id(&self, operation_id: &uuid::Uuid) -> Vec<PublicKey>;
    }
}

delegate_to_database! {
    MintSignaturesDatabase {
        fn get_blind_signatures(&self, blinded_messages: &[PublicKey]) -> Vec<Option<BlindSignature>>;
        fn get_blind_signatures_for_keyset(&self, keyset_id: &Id) -> Vec<BlindSignature>;
        fn get_blind_signatures_for_quote(&self, quote_id: &QuoteId) -> Vec<BlindSignature>;
        fn get_total_issued(&self) -> HashMap<Id, Amount>;
        fn get_blinded_secrets_by_operation_id(&self, operation_id: &uuid::Uuid) -> Vec<PublicKey>;
    }
}

delegate_to_database! {
    SagaDatabase {
        fn get_melt_saga_by_quote_id(&self, quote_id: &QuoteId) -> Option<Saga>;
        fn get_incomplete_sagas(&self, operation_kind: OperationKind) -> Vec<Saga>;
    }
}

delegate_to_database! {
    CompletedOperationsDatabase {
        fn get_completed_operation(&self, operation_id: &uuid::Uuid) -> Option<Operation>;
        fn get_completed_operations_by_kind(&self, operation_kind: OperationKind) -> Vec<Operation>;
        fn get_completed_operations(&self) -> Vec<Operation>;
    }
}

delegate_to_database! {
    KVStoreDatabase {
        fn kv_read(&self, primary: &str, secondary: &str, key: &str) -> Option<Vec<u8>>;
        fn kv_list(&self, primary: &str, secondary: &str) -> Vec<String>;
    }
}
