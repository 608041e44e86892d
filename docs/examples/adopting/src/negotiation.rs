//! SV2's extension negotiation (extension 0x0001), which the crates 5.x do not have.

use binary_sv2::{Deserialize, Seq064K, Serialize};

/// The extension of these messages.
pub(crate) const NEGOTIATION: u16 = 0x0001;
/// `RequestExtensions`, mint to pool.
pub(crate) const REQUEST: u8 = 0x00;
/// `RequestExtensions.Success`, pool to mint.
pub(crate) const SUCCESS: u8 = 0x01;
/// `RequestExtensions.Error`, pool to mint.
pub(crate) const ERROR: u8 = 0x02;

/// `RequestExtensions` and `RequestExtensions.Success`, which have the same fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Extensions<'decoder> {
    /// The mint's number for the question; the answer repeats it.
    pub request_id: u16,
    /// What is asked for; what is on.
    pub extensions: Seq064K<'decoder, u16>,
}

/// `RequestExtensions.Error`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused<'decoder> {
    /// The mint's number for the question.
    pub request_id: u16,
    /// What the pool does not have.
    pub unsupported: Seq064K<'decoder, u16>,
    /// What it insists on.
    pub required: Seq064K<'decoder, u16>,
}
