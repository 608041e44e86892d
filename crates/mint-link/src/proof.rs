//! MintProof (extension 0x4D50): Noise tells the mint who its pool is, this tells the pool who its mint is.
//!
//! The mint signs the hash of both handshake messages. They hold fresh keys of both ends, so a signature is worth nothing
//! on another connection: neither replayed nor relayed, not even between two pools of one authority key.

use binary_sv2::{Deserialize, PubKey, Serialize, Signature, from_bytes, to_bytes};
use bitcoin::{
    hashes::{Hash, HashEngine, sha256},
    secp256k1::{Message, schnorr},
};

use crate::{
    extensions::ExtensionIds,
    keys::{MintKey, MintPublicKey, SECP},
    messages::MINT_PROOF,
};
use sv2_transport::{Frame, Transcript};

const TAG: &[u8] = b"ehash/mint-proof/v1";

/// What is signed: the tagged hash (BIP 340) of the connection's transcript.
fn challenge(transcript: &Transcript) -> Message {
    let tag = sha256::Hash::hash(TAG);
    let mut engine = sha256::Hash::engine();
    engine.input(tag.as_byte_array());
    engine.input(tag.as_byte_array());
    engine.input(transcript.as_bytes());
    Message::from_digest(sha256::Hash::from_engine(engine).to_byte_array())
}

/// Message 0x85: a mint's claim to a key, bound to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MintProof {
    /// The x-only key that is claimed.
    pub public_key: [u8; 32],
    /// BIP 340, over the tagged hash of the [`Transcript`].
    pub signature: [u8; 64],
}

/// A proof that proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The payload ends before its last field.
    #[error("the message is cut short")]
    Truncated,
    /// The claimed key is not on the curve.
    #[error("the key is no secp256k1 key")]
    Key,
    /// The signature is not this key's over this connection's handshake.
    #[error("the signature does not belong to this key and this connection")]
    Signature,
}

#[derive(Serialize, Deserialize)]
struct ProofFields<'decoder> {
    public_key: PubKey<'decoder>,
    signature: Signature<'decoder>,
}

impl MintProof {
    /// Signs the transcript of one connection.
    pub fn new(key: &MintKey, transcript: &Transcript) -> Self {
        Self {
            public_key: key.public().to_bytes(),
            signature: SECP.sign_schnorr(&challenge(transcript), key.pair()).serialize(),
        }
    }

    /// The key, if the signature is its own over this connection's transcript.
    pub fn verify(&self, transcript: &Transcript) -> Result<MintPublicKey, ProofError> {
        let key = MintPublicKey::from_bytes(&self.public_key).map_err(|_| ProofError::Key)?;
        let signature = schnorr::Signature::from_slice(&self.signature).map_err(|_| ProofError::Signature)?;
        SECP.verify_schnorr(&signature, &challenge(transcript), key.as_x_only())
            .map_err(|_| ProofError::Signature)?;
        Ok(key)
    }

    /// The frame that carries it.
    pub fn to_frame(&self, extensions: &ExtensionIds) -> Frame {
        let fields = ProofFields {
            public_key: (&self.public_key).into(),
            signature: (&self.signature).into(),
        };
        // Both fields are fixed in size: there is nothing in them that could fail to encode.
        let payload = to_bytes(fields).unwrap_or_default();
        Frame::new(extensions.proof, MINT_PROOF, payload)
    }

    /// Reads a payload; ignores what follows the fields known here.
    pub fn decode(mut payload: Vec<u8>) -> Result<Self, ProofError> {
        let fields: ProofFields<'_> = from_bytes(&mut payload).map_err(|_| ProofError::Truncated)?;
        Ok(Self {
            public_key: *fields.public_key.as_array(),
            signature: *fields.signature.as_array(),
        })
    }
}

#[cfg(test)]
mod tests {
    use sv2_transport::AuthorityKeypair;
    use tokio::io::duplex;

    use super::*;
    use crate::testkit::{RawPeer, vector};

    #[test]
    fn a_proof_holds_on_its_own_connection_only() {
        let key = MintKey::generate();
        let here = Transcript::new(b"first", b"second");
        let proof = MintProof::new(&key, &here);
        assert_eq!(proof.verify(&here), Ok(key.public()));
        for elsewhere in [
            Transcript::new(b"first", b"another"),
            Transcript::new(b"another", b"second"),
        ] {
            assert_eq!(proof.verify(&elsewhere), Err(ProofError::Signature));
        }
        let other = MintKey::generate().public().to_bytes();
        let stolen = MintProof {
            public_key: other,
            ..proof
        };
        assert_eq!(stolen.verify(&here), Err(ProofError::Signature));
        let off_curve = MintProof {
            public_key: [0xff; 32],
            ..proof
        };
        assert_eq!(off_curve.verify(&here), Err(ProofError::Key));
    }

    #[tokio::test]
    async fn a_proof_is_worth_nothing_on_another_connection_even_of_the_same_authority() {
        let authority = AuthorityKeypair::generate();
        let key = MintKey::generate();
        let mut transcripts = Vec::new();
        for _ in 0..2 {
            let (mint, pool) = duplex(1024);
            let (_mint, pool) = tokio::join!(
                RawPeer::as_mint(mint, authority.public()),
                RawPeer::as_pool(pool, &authority)
            );
            transcripts.push(pool.transcript);
        }
        // Replayed on the next connection, or relayed by a pool to another one.
        let proof = MintProof::new(&key, &transcripts[0]);
        assert_eq!(proof.verify(&transcripts[0]), Ok(key.public()));
        assert_eq!(proof.verify(&transcripts[1]), Err(ProofError::Signature));
    }

    #[test]
    fn vector_of_a_mint_proof() {
        // Secret key 1, transcript of the messages "a" and "b": signed once, without auxiliary randomness.
        let mut secret = [0; 32];
        secret[31] = 1;
        let key = MintKey::from_secret_bytes(&secret).unwrap();
        let transcript = Transcript::new(b"a", b"b");
        let signature = SECP.sign_schnorr_no_aux_rand(&challenge(&transcript), key.pair());
        let proof = MintProof {
            public_key: key.public().to_bytes(),
            signature: signature.serialize(),
        };
        let frame = proof.to_frame(&ExtensionIds::default());
        assert_eq!(frame, vector("mint-proof"));
        assert_eq!(MintProof::decode(frame.payload.clone()), Ok(proof));
        assert_eq!(proof.verify(&transcript), Ok(key.public()));
        assert_eq!(
            MintProof::decode(frame.payload[..95].to_vec()),
            Err(ProofError::Truncated)
        );
        let longer = [&frame.payload[..], b"later fields"].concat();
        assert_eq!(MintProof::decode(longer), Ok(proof));
    }
}
