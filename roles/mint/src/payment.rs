//! The payment method `ehash` as CDK sees it: a backend that nobody can ask for anything.
//!
//! Quotes are made by the quote engine, for hashes that arrived over a link, and are paid when they are made. What CDK
//! would ask a payment backend for, a quote over HTTP or a payment out, is refused here.

use std::{collections::HashMap, pin::Pin};

use async_trait::async_trait;
use cdk::nuts::CurrencyUnit;
use cdk_common::payment::{
    CreateIncomingPaymentResponse, Error, Event, IncomingPaymentOptions, MakePaymentResponse, MintPayment,
    OutgoingPaymentOptions, PaymentIdentifier, PaymentQuoteResponse, SettingsResponse, WaitPaymentResponse,
};
use futures::{Stream, stream};

use crate::METHOD;

/// The `ehash` backend of one unit.
#[derive(Debug)]
pub(crate) struct EhashPayments {
    pub(crate) unit: String,
}

#[async_trait]
impl MintPayment for EhashPayments {
    type Err = Error;

    async fn get_settings(&self) -> Result<SettingsResponse, Error> {
        Ok(SettingsResponse {
            unit: self.unit.clone(),
            bolt11: None,
            bolt12: None,
            onchain: None,
            custom: HashMap::from([(METHOD.to_owned(), String::new())]),
        })
    }

    /// Quotes are for shares, and shares arrive over a link.
    async fn create_incoming_payment_request(
        &self,
        _options: IncomingPaymentOptions,
    ) -> Result<CreateIncomingPaymentResponse, Error> {
        Err(Error::UnsupportedPaymentOption)
    }

    async fn get_payment_quote(
        &self,
        _unit: &CurrencyUnit,
        _options: OutgoingPaymentOptions,
    ) -> Result<PaymentQuoteResponse, Error> {
        Err(Error::UnsupportedPaymentOption)
    }

    async fn make_payment(
        &self,
        _unit: &CurrencyUnit,
        _options: OutgoingPaymentOptions,
    ) -> Result<MakePaymentResponse, Error> {
        Err(Error::UnsupportedPaymentOption)
    }

    /// No payment ever arrives from outside: the stream stays open and silent.
    async fn wait_payment_event(&self) -> Result<Pin<Box<dyn Stream<Item = Event> + Send>>, Error> {
        Ok(Box::pin(stream::pending()))
    }

    fn is_payment_event_stream_active(&self) -> bool {
        false
    }

    fn cancel_payment_event_stream(&self) {}

    /// There is nothing that a quote does not say itself; nor does the ledger let CDK ask (`paid_at_birth`).
    async fn check_incoming_payment_status(
        &self,
        _payment_identifier: &PaymentIdentifier,
    ) -> Result<Vec<WaitPaymentResponse>, Error> {
        Ok(Vec::new())
    }

    async fn check_outgoing_payment(
        &self,
        _payment_identifier: &PaymentIdentifier,
    ) -> Result<MakePaymentResponse, Error> {
        Err(Error::UnknownPaymentState)
    }
}
