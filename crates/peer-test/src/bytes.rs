//! The few messages that older peers know, byte by byte.

use sv2_transport::Frame;

/// Type of SetupConnection; of extension 0x0001's `RequestExtensions`, too.
pub const SETUP_CONNECTION: u8 = 0x00;
/// Type of MintQuoteRequest.
pub const MINT_QUOTE_REQUEST: u8 = 0x80;
/// Type of MintQuoteResponse.
pub const MINT_QUOTE_RESPONSE: u8 = 0x81;
/// Type of MintQuoteError.
pub const MINT_QUOTE_ERROR: u8 = 0x82;

/// What a mint says first, as hashpool's does.
pub fn setup_connection() -> Frame {
    // Protocol 0, versions 2 to 2, flags 0.
    let mut payload = vec![0, 2, 0, 2, 0, 0, 0, 0, 0];
    payload.extend(text("127.0.0.1"));
    payload.extend(34260_u16.to_le_bytes());
    for part in ["HashPool Mint", "", "", "mint-01"] {
        payload.extend(text(part));
    }
    Frame::new(0, SETUP_CONNECTION, payload)
}

/// SetupConnection.Success: version 2, flags 0.
pub fn setup_success() -> Frame {
    Frame::new(0, 0x01, vec![2, 0, 0, 0, 0, 0])
}

/// SetupConnection.Error: flags 0 and this code.
pub fn setup_error(code: &str) -> Frame {
    Frame::new(0, 0x02, [vec![0; 4], text(code)].concat())
}

/// MintQuoteRequest, as far as the two ends care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteRequest {
    /// The share.
    pub header_hash: [u8; 32],
    /// What it is worth.
    pub amount: u64,
    /// Whose it is: 33 bytes, if it is to be answered.
    pub locking_key: Vec<u8>,
}

impl QuoteRequest {
    /// The frame, in the unit `HASH` and without a description.
    pub fn to_frame(&self) -> Frame {
        let mut payload = self.amount.to_le_bytes().to_vec();
        payload.extend(text("HASH"));
        payload.extend(self.header_hash);
        payload.push(0);
        payload.push(u8::try_from(self.locking_key.len()).unwrap());
        payload.extend(&self.locking_key);
        quote_frame(MINT_QUOTE_REQUEST, payload)
    }

    /// Reads the payload; `None` for one that is cut short.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let (amount, rest) = payload.split_first_chunk::<8>()?;
        let (_unit, rest) = counted(rest)?;
        let (header_hash, rest) = rest.split_first_chunk::<32>()?;
        let rest = match rest.split_first()? {
            (0, rest) => rest,
            (_, rest) => counted(rest)?.1,
        };
        let (locking_key, _) = counted(rest)?;
        Some(Self {
            header_hash: *header_hash,
            amount: u64::from_le_bytes(*amount),
            locking_key: locking_key.to_vec(),
        })
    }
}

pub(crate) fn quote_response(quote_id: &str, header_hash: &[u8; 32]) -> Frame {
    quote_frame(MINT_QUOTE_RESPONSE, [text(quote_id), header_hash.to_vec()].concat())
}

/// Its code is always 1, and it names no share.
pub(crate) fn quote_error(message: &str) -> Frame {
    quote_frame(MINT_QUOTE_ERROR, [vec![1, 0, 0, 0], text(message)].concat())
}

/// Extension type 0x0003 with the channel bit, although no channel id follows.
fn quote_frame(msg_type: u8, payload: Vec<u8>) -> Frame {
    Frame {
        channel_msg: true,
        ..Frame::new(0x0003, msg_type, payload)
    }
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len()).unwrap()];
    bytes.extend(text.as_bytes());
    bytes
}

/// What has its length in one byte in front, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As seen on the wire between hashpool's roles.
    const REQUEST: &str = "03808050000008000000000000000448415348000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
                           002103387b8527d7528f2e2f76899f41a0c6a87c87be83d3ff57c2dbec1a176b805c70";
    const RESPONSE: &str = "0380814500002430316132303237652d613662362d376665312d613735372d666636666136633063323335\
                            000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const ERROR: &str = "038082140000010000000f4475706c696361746520656e747279";

    fn hex(frame: &Frame) -> String {
        frame
            .to_bytes()
            .unwrap()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[test]
    fn the_messages_are_those_that_were_seen() {
        let header_hash = std::array::from_fn(|at| at as u8);
        let key = &REQUEST[REQUEST.len() - 66..];
        let request = QuoteRequest {
            header_hash,
            amount: 8,
            locking_key: (0..66)
                .step_by(2)
                .map(|at| u8::from_str_radix(&key[at..at + 2], 16).unwrap())
                .collect(),
        };
        assert_eq!(hex(&request.to_frame()), REQUEST);
        assert_eq!(QuoteRequest::decode(&request.to_frame().payload), Some(request.clone()));
        assert_eq!(QuoteRequest::decode(&request.to_frame().payload[..60]), None);
        let response = quote_response("01a2027e-a6b6-7fe1-a757-ff6fa6c0c235", &header_hash);
        assert_eq!(hex(&response), RESPONSE);
        assert_eq!(hex(&quote_error("Duplicate entry")), ERROR);
    }
}
