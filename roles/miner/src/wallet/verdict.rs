//! What an error from the mint means for the one quote that was asked about.

use cdk::Error;

/// Whether it is the quote's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The mint will never mint this quote for us: asking again is pointless.
    Refused,
    /// The quote is fine or will be; it is for the next round to see.
    Later,
    /// Nothing is known about the quote: the mint is away, overloaded, closed, or the answer got lost.
    Trouble,
}

impl Verdict {
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::UnpaidQuote | Error::PendingQuote | Error::IssuedQuote | Error::TokenPending => Self::Later,
            // The mint as a whole, not the quote.
            Error::MintingDisabled
            | Error::InactiveKeyset
            | Error::UnknownKeySet
            | Error::ExpiredKeyset
            | Error::NoActiveKeyset
            | Error::ClearAuthRequired
            | Error::ClearAuthFailed
            | Error::BlindAuthRequired
            | Error::BlindAuthFailed => Self::Trouble,
            // Anything else that a server says without NUT-00's error object comes from something in front of the mint.
            Error::HttpError(Some(400 | 422), _) | Error::InvalidMintResponse(_) => Self::Refused,
            Error::HttpError(..) => Self::Trouble,
            // There is no error code for it: CDK mints say so in words.
            Error::UnknownErrorResponse(text) if text.contains(&Error::UnknownQuote.to_string()) => Self::Refused,
            other if other.is_definitive_failure() => Self::Refused,
            _ => Self::Trouble,
        }
    }
}

#[cfg(test)]
mod tests {
    use cdk::error::{ErrorCode, ErrorResponse};

    use super::*;

    /// As it comes out of the wallet's HTTP client.
    fn over_http(error: Error) -> Error {
        let response: ErrorResponse = error.into();
        let code = response.code.to_code();
        ErrorResponse {
            code: ErrorCode::from_code(code),
            ..response
        }
        .into()
    }

    #[test]
    fn a_quote_that_the_mint_does_not_know_or_that_has_another_key_is_refused() {
        for error in [
            Error::UnknownQuote,
            Error::SignatureMissingOrInvalid,
            Error::UnitMismatch,
        ] {
            assert_eq!(Verdict::of(&over_http(error)), Verdict::Refused);
        }
        assert_eq!(
            Verdict::of(&Error::HttpError(Some(400), "no such path".to_owned())),
            Verdict::Refused
        );
    }

    #[test]
    fn a_quote_that_is_unpaid_pending_or_issued_is_looked_at_again() {
        for error in [Error::UnpaidQuote, Error::PendingQuote, Error::IssuedQuote] {
            assert_eq!(Verdict::of(&over_http(error)), Verdict::Later);
        }
    }

    #[test]
    fn trouble_of_the_mint_is_not_the_quotes_fault() {
        for error in [
            Error::MintingDisabled,
            Error::Internal,
            Error::InactiveKeyset,
            Error::ClearAuthRequired,
        ] {
            assert_eq!(Verdict::of(&over_http(error)), Verdict::Trouble);
        }
        for status in [None, Some(401), Some(404), Some(429), Some(500), Some(503)] {
            assert_eq!(
                Verdict::of(&Error::HttpError(status, String::new())),
                Verdict::Trouble,
                "{status:?}"
            );
        }
    }
}
